import type { Clock } from '../../base/clock.js';
import type { Checkpointer } from '../checkpointer.js';
import type { SegmentFiles } from '../journal/segment-files.js';
import type { SegmentPool } from '../journal/segment-pool.js';
import type { SegmentTable } from '../journal/segment-table.js';
import { PACE_RATE_LEAST } from '../limits.js';

export interface EmptiedSegmentsDependencies {
  readonly segmentFiles: SegmentFiles;
  readonly table: SegmentTable;
  readonly pool: SegmentPool;
  readonly checkpointer: Checkpointer;
  readonly clock: Clock;
}

interface Emptied {
  readonly generation: number;
  /** What the copies of its blocks took. */
  readonly copiedBytes: number;
}

/** Segments of which nothing is live in the map in memory: each is freed once a checkpoint has made that durable. */
export class EmptiedSegments {
  readonly #segmentBytes: number;
  readonly #io: EmptiedSegmentsDependencies;
  /** By slot. */
  readonly #emptied = new Map<number, Emptied>();
  #freeing: Promise<void> | null = null;
  #closed = false;
  /** What freeing has gained lately, bytes a second; 0: not known. The time before `#fromMs` does not count. */
  #gain = 0;
  #fromMs = 0;

  constructor(options: { segmentBytes: number }, dependencies: EmptiedSegmentsDependencies) {
    this.#segmentBytes = options.segmentBytes;
    this.#io = dependencies;
  }

  get size(): number {
    return this.#emptied.size;
  }

  /** What freeing has gained lately, bytes a second; 0: not known. */
  get gainBytesPerSecond(): number {
    return this.#gain;
  }

  /** The gain is measured from here on. */
  startGain(): void {
    this.#fromMs = this.#io.clock.monotonicMs();
  }

  add(slot: number, emptied: Emptied): void {
    this.#emptied.set(slot, emptied);
  }

  /** Slots of what is there; the table may have given one to another segment since. */
  slots(): number[] {
    const { generations } = this.#io.table;
    return [...this.#emptied].flatMap(([slot, { generation }]) => (generations[slot] === generation ? [slot] : []));
  }

  /** Begins to free what is there, unless some is being freed. What fails stays, and fails again for who waits for it. */
  begin(): void {
    if (this.#freeing !== null || this.#closed || this.#emptied.size === 0) return;
    const freeing = this.#free().finally(() => {
      this.#freeing = null;
    });
    freeing.catch(() => undefined);
    this.#freeing = freeing;
  }

  /** Resolves when everything that is there now is freed. Throws StoreError and FileError. */
  async free(): Promise<void> {
    await this.#freeing;
    this.begin();
    await this.#freeing;
  }

  /** Resolves when the segments that are being freed are. Throws StoreError and FileError. */
  async freed(): Promise<void> {
    await this.#freeing;
  }

  async #free(): Promise<void> {
    const { checkpointer, segmentFiles, pool, table } = this.#io;
    const emptied = [...this.#emptied];
    await checkpointer.run();
    const free: number[] = [];
    let gained = 0;
    for (const [slot, { generation, copiedBytes }] of emptied) {
      // Reads that were under way when their block moved.
      await segmentFiles.whenUnpinned(slot);
      if (table.generations[slot] !== generation || !table.has(slot) || table.state(slot) === 'free') continue;
      free.push(slot);
      gained += this.#segmentBytes - copiedBytes;
    }
    if (this.#closed) return;
    await pool.release(free);
    // Not before: until the table has them as free they would be victims again.
    for (const [slot] of emptied) this.#emptied.delete(slot);
    pool.refill();
    if (free.length > 0) this.#measure(gained);
  }

  #measure(gained: number): void {
    const nowMs = this.#io.clock.monotonicMs();
    const rate = Math.max(PACE_RATE_LEAST, (gained * 1000) / Math.max(1, nowMs - this.#fromMs));
    this.#gain = this.#gain === 0 ? rate : (this.#gain + rate) / 2;
    this.#fromMs = nowMs;
  }

  /** Frees no more. Resolves when nothing is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#freeing?.catch(() => undefined);
  }
}
