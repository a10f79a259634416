import type { Files } from '../../io/files.js';
import type { SegmentFiles } from './segment-files.js';

/**
 * After a failed fdatasync the page cache may hold, as clean, what the disk does not; the kernel has told only the
 * process that is gone. So a start reads the disk: what it replays and syncs is really there.
 */
export class FreshPages {
  readonly #files: Files;
  readonly #segmentFiles: SegmentFiles;
  readonly #dropped = new Map<number, Promise<void>>();

  constructor(dependencies: { files: Files; segmentFiles: SegmentFiles }) {
    this.#files = dependencies.files;
    this.#segmentFiles = dependencies.segmentFiles;
  }

  /** Resolves when nothing that was cached of a segment before the first call is left. Throws FileError. */
  of(slot: number): Promise<void> {
    let dropped = this.#dropped.get(slot);
    if (dropped === undefined) {
      dropped = this.#drop(slot);
      this.#dropped.set(slot, dropped);
    }
    return dropped;
  }

  async #drop(slot: number): Promise<void> {
    const file = await this.#segmentFiles.openIfThere(slot);
    if (file === null) return;
    this.#segmentFiles.pin(slot);
    try {
      await this.#files.dropCache(file, 0, 0);
    } finally {
      this.#segmentFiles.unpin(slot);
    }
  }
}
