import type { Files } from '../../io/files.js';
import { PAGE_BYTES, WRITEBACK_STEP_BYTES } from '../limits.js';
import type { SegmentFiles } from './segment-files.js';

interface WrittenRange {
  readonly slot: number;
  /** On a page border. */
  offset: number;
  length: number;
}

/**
 * The newest bytes of the journal stay in the page cache, what lies behind them is dropped: an append always takes new
 * pages, and where a machine's free memory has to be fetched first (a virtual one that gives it back to its host) a new
 * page costs several times what sealing a block into it does. The pages that are dropped are the next that are taken, so
 * they are dropped in small steps as others are written: what lies free for a while goes back to the host. It also keeps a
 * bulk load from driving everything else out of memory. What is read comes back, and then stays.
 */
export class CacheWindow {
  readonly #bytesMax: number;
  readonly #io: { readonly files: Files; readonly segmentFiles: SegmentFiles };
  /** Oldest first; those before `#head` are dropped. */
  #ranges: WrittenRange[] = [];
  #head = 0;
  #bytes = 0;
  #dropping: Promise<void> | null = null;

  constructor(options: { bytesMax: number }, dependencies: { files: Files; segmentFiles: SegmentFiles }) {
    this.#bytesMax = options.bytesMax;
    this.#io = dependencies;
  }

  /**
   * Whole segments that were written before this start, in the order of the chain: the newest of them are what the window
   * held. Without them it would take a window's worth of new pages before it gives any back.
   */
  found(slots: readonly number[], segmentBytes: number): void {
    const count = Math.min(slots.length, Math.floor(this.#bytesMax / segmentBytes));
    for (const slot of slots.slice(slots.length - count)) this.#push(slot, 0, segmentBytes);
  }

  /** A range whose writeback has ended. Drops the oldest ranges in the background when there are too many. */
  written(slot: number, offset: number, length: number): void {
    this.#push(slot, offset, length);
    this.#dropSome();
  }

  #push(slot: number, offset: number, length: number): void {
    // A page that two ranges share goes with the later one.
    const from = offset - (offset % PAGE_BYTES);
    this.#ranges.push({ slot, offset: from, length: offset + length - from });
    this.#bytes += offset + length - from;
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
      const { slot, offset, length } = this.#takeOldest();
      this.#bytes -= length;
      // After a start every segment is closed, and its pages are still there.
      const file = await segmentFiles.openIfThere(slot).catch(() => null);
      if (file === null) continue;
      segmentFiles.pin(slot);
      // Advice: when it is not taken, the kernel's own reclaim does it later. Nothing depends on it.
      await files.dropCache(file, offset, length).catch(() => undefined);
      segmentFiles.unpin(slot);
    }
  }

  /** A piece of the oldest range, of at most one step. */
  #takeOldest(): WrittenRange {
    const range = this.#ranges[this.#head];
    const length = Math.min(range.length, WRITEBACK_STEP_BYTES);
    const piece = { slot: range.slot, offset: range.offset, length };
    range.offset += length;
    range.length -= length;
    if (range.length === 0) this.#head += 1;
    if (this.#head > 1024) {
      this.#ranges = this.#ranges.slice(this.#head);
      this.#head = 0;
    }
    return piece;
  }
}
