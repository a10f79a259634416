import { join } from 'node:path';
import { FileError } from '../../io/file-error.js';
import type { FileId, Files } from '../../io/files.js';

/** The name of a slot's file in the journal folder. */
export function segmentName(slot: number): string {
  return `segment-${slot.toString().padStart(8, '0')}`;
}

/** The slot of a file name, or -1 for a stranger. */
export function slotOfName(name: string): number {
  const match = /^segment-(\d{8})$/.exec(name);
  return match === null ? -1 : Number(match[1]);
}

/**
 * The open files of segments: at most `openMax`, least recently used closed first. A pinned one (a read or an append in
 * flight, the head) is never closed.
 */
export class SegmentFiles {
  readonly #directory: string;
  readonly #openMax: number;
  readonly #files: Files;
  /** Insertion order is use order. */
  readonly #open = new Map<number, FileId>();
  /** Files that are going: nobody may open one. */
  readonly #removing = new Map<number, Promise<void>>();
  readonly #pins = new Map<number, number>();
  readonly #opening = new Map<number, Promise<FileId>>();
  /** Told when a slot is pinned no more. */
  readonly #waiting = new Map<number, (() => void)[]>();

  constructor(options: { directory: string; openMax: number }, dependencies: { files: Files }) {
    this.#directory = options.directory;
    this.#openMax = options.openMax;
    this.#files = dependencies.files;
  }

  path(slot: number): string {
    return join(this.#directory, segmentName(slot));
  }

  /** The file of a slot if it is open, else undefined: then await `open`. */
  opened(slot: number): FileId | undefined {
    return this.#open.get(slot);
  }

  async open(slot: number, mode: 'write' | 'create' = 'write'): Promise<FileId> {
    const removing = this.#removing.get(slot);
    if (removing !== undefined) await removing.catch(() => undefined);
    const file = this.#open.get(slot);
    if (file !== undefined) {
      this.#open.delete(slot);
      this.#open.set(slot, file);
      return file;
    }
    let opening = this.#opening.get(slot);
    if (opening !== undefined && mode === 'create') {
      // Whoever opens it now may find no file, and that is no answer to this.
      await opening.catch(() => undefined);
      return this.open(slot, mode);
    }
    if (opening === undefined) {
      opening = this.#openNow(slot, mode).finally(() => this.#opening.delete(slot));
      this.#opening.set(slot, opening);
    }
    return opening;
  }

  /** As `open`, null when the file is gone. */
  async openIfThere(slot: number): Promise<FileId | null> {
    try {
      return await this.open(slot);
    } catch (thrown) {
      if (thrown instanceof FileError && thrown.code === 'NOT_FOUND') return null;
      throw thrown;
    }
  }

  async #openNow(slot: number, mode: 'write' | 'create'): Promise<FileId> {
    const file = await this.#files.open(this.path(slot), mode);
    this.#open.set(slot, file);
    await this.#trim();
    return file;
  }

  /** Closes a file, so that its next use opens it anew: one whose sync has failed goes on failing until then. */
  async forget(slot: number): Promise<void> {
    const file = this.#open.get(slot);
    if (file === undefined || this.#pins.has(slot)) return;
    this.#open.delete(slot);
    await this.#files.close(file);
  }

  /**
   * Removes the file of a slot once nobody reads or writes it. Whoever opens it meanwhile waits, and finds it gone: a
   * descriptor that was kept would be that of a file without a name, and the next segment of this slot would be lost with it.
   * Throws FileError.
   */
  async remove(slot: number): Promise<void> {
    const removing = this.#removeNow(slot);
    this.#removing.set(slot, removing);
    try {
      await removing;
    } finally {
      this.#removing.delete(slot);
    }
  }

  async #removeNow(slot: number): Promise<void> {
    await this.#opening.get(slot)?.catch(() => undefined);
    // Asked again: somebody may pin it in the turn in which the wait ends.
    while (this.#pins.has(slot)) await this.whenUnpinned(slot);
    await this.forget(slot);
    await this.#files.remove(this.path(slot));
  }

  pin(slot: number): void {
    this.#pins.set(slot, (this.#pins.get(slot) ?? 0) + 1);
  }

  unpin(slot: number): void {
    const pins = (this.#pins.get(slot) ?? 0) - 1;
    if (pins > 0) this.#pins.set(slot, pins);
    else this.#unpinned(slot);
  }

  #unpinned(slot: number): void {
    this.#pins.delete(slot);
    const waiting = this.#waiting.get(slot) ?? [];
    this.#waiting.delete(slot);
    for (const resolve of waiting) resolve();
  }

  /** Resolves when nobody reads or writes the file of a slot. */
  async whenUnpinned(slot: number): Promise<void> {
    while (this.#pins.has(slot)) {
      await new Promise<void>((resolve) => {
        const waiting = this.#waiting.get(slot) ?? [];
        this.#waiting.set(slot, [...waiting, resolve]);
      });
    }
  }

  async #trim(): Promise<void> {
    if (this.#open.size <= this.#openMax) return;
    for (const [slot, file] of this.#open) {
      if (this.#open.size <= this.#openMax) return;
      if (this.#pins.has(slot)) continue;
      this.#open.delete(slot);
      await this.#files.close(file);
    }
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#opening.values());
    const files = [...this.#open.values()];
    this.#open.clear();
    for (const file of files) await this.#files.close(file);
  }
}
