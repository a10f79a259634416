import type { FileId, Files } from '../../io/files.js';
import { PAGE_BYTES, READ_ATTEMPTS_MAX } from '../limits.js';
import { StoreError } from '../store-error.js';

/** Reads as `files.read` does; a failure is tried again a few times, since a cable or a controller may have had a fit. */
export async function readPatiently(
  files: Files,
  ...[file, offset, into, intoOffset, length]: [FileId, number, Uint8Array, number, number]
): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await files.read(file, offset, into, intoOffset, length);
    } catch (thrown) {
      if (attempt === READ_ATTEMPTS_MAX) throw thrown;
    }
  }
}

/**
 * Pages of segments that one start could not read, however often it tried. Such a page is not zeros: it may hold what was
 * acknowledged, and the next start may be able to read it. So nothing final follows from it.
 */
export class UnreadPages {
  readonly #pathOf: (slot: number) => string;
  /** Offsets of pages, by slot. One that was read after all stays: what it seemed to say has been used. */
  readonly #pages = new Map<number, Set<number>>();

  constructor(options: { pathOf: (slot: number) => string }) {
    this.#pathOf = options.pathOf;
  }

  add(slot: number, offset: number): void {
    let pages = this.#pages.get(slot);
    if (pages === undefined) this.#pages.set(slot, (pages = new Set()));
    pages.add(Math.floor(offset / PAGE_BYTES) * PAGE_BYTES);
  }

  /** '' or which page of [from, end) of a segment it is. */
  within(slot: number, from: number, end: number): string {
    for (const page of this.#pages.get(slot) ?? []) {
      if (page + PAGE_BYTES > from && page < end) return `${this.#pathOf(slot)} at offset ${page}`;
    }
    return '';
  }

  /** As `within`, for all segments but these. */
  elsewhere(slots: ReadonlySet<number>): string {
    for (const slot of this.#pages.keys()) if (!slots.has(slot)) return this.within(slot, 0, Number.POSITIVE_INFINITY);
    return '';
  }
}

/** The refusal to go on without a page; `page` as `UnreadPages` names it, '' for none. */
export function demandRead(page: string): void {
  if (page === '') return;
  const detail =
    `${page} cannot be read, and may hold what was acknowledged: start again when the disk can read it; ` +
    'if it never can, put a copy of what can be read (ddrescue) in its place: what is lost then counts as damage';
  throw new StoreError(`the journal: ${detail}`, { code: 'IO', detail });
}
