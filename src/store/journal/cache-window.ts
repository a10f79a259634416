import type { Files } from '../../io/files.js';
import { PAGE_BYTES } from '../limits.js';
import type { SegmentFiles } from './segment-files.js';

interface WrittenRange {
  readonly slot: number;
  /** On a page border. */
  readonly offset: number;
  readonly length: number;
}

/**
 * The newest bytes of the journal stay in the page cache, what lies behind them is dropped: an append always takes new
 * pages, and where a machine's free memory has to be fetched first (a virtual one that gives it back to its host) a new
 * page costs several times what sealing a block into it does. The pages that are dropped are the next that are taken. It
 * also keeps a bulk load from driving everything else out of memory. What is read comes back, and then stays.
 */
export class CacheWindow {
  readonly #bytesMax: number;
  readonly #io: { readonly files: Files; readonly segmentFiles: SegmentFiles };
  readonly #ranges: WrittenRange[] = [];
  #bytes = 0;
  #dropping: Promise<void> | null = null;

  constructor(options: { bytesMax: number }, dependencies: { files: Files; segmentFiles: SegmentFiles }) {
    this.#bytesMax = options.bytesMax;
    this.#io = dependencies;
  }

  /** A range whose writeback has ended. Drops the oldest ranges in the background when there are too many. */
  written(slot: number, offset: number, length: number): void {
    // A page that two ranges share goes with the later one.
    const from = offset - (offset % PAGE_BYTES);
    this.#ranges.push({ slot, offset: from, length: offset + length - from });
    this.#bytes += offset + length - from;
    this.#dropSome();
  }

  #dropSome(): void {
    if (this.#dropping !== null || this.#bytes <= this.#bytesMax) return;
    this.#dropping = this.#drop().finally(() => {
      this.#dropping = null;
      // What was written between the last range and this turn.
      this.#dropSome();
    });
  }

  /** Resolves when nothing is with the addon's threads: files may be closed then. */
  async settled(): Promise<void> {
    while (this.#dropping !== null) await this.#dropping;
  }

  async #drop(): Promise<void> {
    const { files, segmentFiles } = this.#io;
    while (this.#bytes > this.#bytesMax) {
      const { slot, offset, length } = this.#ranges.shift() as WrittenRange;
      this.#bytes -= length;
      // A segment whose file is closed is not opened for this: it was not read for a long time, and goes by itself.
      const file = segmentFiles.opened(slot);
      if (file === undefined) continue;
      segmentFiles.pin(slot);
      // Advice: when it is not taken, the kernel's own reclaim does it later. Nothing depends on it.
      await files.dropCache(file, offset, length).catch(() => undefined);
      segmentFiles.unpin(slot);
    }
  }
}
