import type { Files } from '../../io/files.js';
import type { FreshPages } from './fresh-pages.js';
import type { SegmentFiles } from './segment-files.js';

/** Of one call, which wakes a thread; `end` waits for it. */
const STEP_BYTES = 16 * 1024 * 1024;

/**
 * Has segments read into the page cache before the scan gets there, so that the disk works while records are checked. Only
 * advice: a page that cannot be read is found by the read that wants it.
 */
export class ReadAhead {
  readonly #files: Files;
  readonly #segmentFiles: SegmentFiles;
  readonly #fresh: FreshPages | undefined;
  readonly #begun = new Set<number>();
  #ended = false;
  /** One segment after the other. */
  #last: Promise<void> = Promise.resolve();

  constructor(dependencies: { files: Files; segmentFiles: SegmentFiles; fresh?: FreshPages | undefined }) {
    this.#files = dependencies.files;
    this.#segmentFiles = dependencies.segmentFiles;
    this.#fresh = dependencies.fresh;
  }

  /** Begins with a segment behind those that were begun before, once. */
  begin(slot: number, from: number, to: number): void {
    if (this.#begun.has(slot)) return;
    this.#begun.add(slot);
    this.#last = this.#last.then(() => this.#read(slot, from, to)).catch(() => undefined);
  }

  /** Stops, and resolves when nothing is with the addon's threads: files may be closed then. */
  async end(): Promise<void> {
    this.#ended = true;
    await this.#last;
  }

  async #read(slot: number, from: number, to: number): Promise<void> {
    await this.#fresh?.of(slot);
    const file = await this.#segmentFiles.openIfThere(slot);
    if (file === null) return;
    this.#segmentFiles.pin(slot);
    try {
      const end = Math.min(to, await this.#files.sizeBytes(file));
      for (let at = from; at < end && !this.#ended; at += STEP_BYTES) {
        await this.#files.readAhead(file, at, Math.min(STEP_BYTES, end - at));
      }
    } finally {
      this.#segmentFiles.unpin(slot);
    }
  }
}
