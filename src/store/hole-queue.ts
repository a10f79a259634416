import type { Engine } from './engine.js';
import type { AppendBatch } from './journal/append-batch.js';
import { BATCH_HOLE_LEAVES_MAX, BATCH_VOID_STEPS_MAX, LEAF_BLOCKS } from './limits.js';
import type { Layer } from './map/layer.js';
import { isData, type QueuedChange, type QueuedFence, type WriteSource } from './queued-change.js';

/**
 * Trims and zeroes on their way into a batch: a slice of so many leaves at most. Those that take more than a slice wait here, in
 * the order in which they were accepted, with what must not overtake them, and a slice of them goes into each batch: nobody
 * else's requests wait until a whole device has been trimmed.
 */
export class HoleQueue {
  readonly #batch: AppendBatch<Layer>;
  #items: (QueuedChange | QueuedFence)[] = [];
  /** What is left of the slice that is gathered. */
  #leavesLeft = 0;
  #voidStepsLeft = 0;

  constructor(batch: AppendBatch<Layer>) {
    this.#batch = batch;
  }

  get length(): number {
    return this.#items.length;
  }

  /** Whether something of this source, or with null of anybody, waits. */
  has(source: WriteSource | null): boolean {
    return source === null ? this.#items.length > 0 : this.#items.some((item) => item.source === source);
  }

  /** Whether a change overlaps one that waits: it comes behind it, for all of that is done anew when the store reopens. */
  overlaps({ source, request: { offsetBytes, lengthBytes } }: QueuedChange): boolean {
    return this.#items.some((item) => {
      if (item.kind !== 'request' || item.source !== source) return false;
      const { request } = item;
      return request.offsetBytes < offsetBytes + lengthBytes && offsetBytes < request.offsetBytes + request.lengthBytes;
    });
  }

  push(item: QueuedChange | QueuedFence): void {
    this.#items.push(item);
  }

  /** The first item, if it is data: what it waited for has been taken. */
  get data(): QueuedChange | null {
    if (this.#items.length === 0) return null;
    const [item] = this.#items;
    return isData(item) ? item : null;
  }

  /** The first item waits no more. */
  shift(): void {
    this.#items.shift();
  }

  /** All data that waits, and waits here no more. */
  takeData(): QueuedChange[] {
    const data = this.#items.filter(isData);
    this.#items = this.#items.filter((item) => !isData(item));
    return data;
  }

  /** Everything that waits, and waits here no more. */
  takeAll(): (QueuedChange | QueuedFence)[] {
    const items = this.#items;
    this.#items = [];
    return items;
  }

  /** A new batch: half of its slice is for what waits here. */
  begin(): void {
    this.#leavesLeft = BATCH_HOLE_LEAVES_MAX / 2;
    this.#voidStepsLeft = BATCH_VOID_STEPS_MAX / 2;
  }

  /** The other half, and what is left of the first, is for holes that have just come: small ones pass. */
  beginNew(): void {
    this.#leavesLeft += BATCH_HOLE_LEAVES_MAX / 2;
    this.#voidStepsLeft += BATCH_VOID_STEPS_MAX / 2;
  }

  /** What waits first would make leaves dirty. */
  get wantsLeaves(): boolean {
    return this.#items.length > 0 && this.#items[0].kind === 'request' && !isData(this.#items[0]);
  }

  /** The slice is used up; what is left of a hole is for the next batch. */
  get isSliced(): boolean {
    return this.#leavesLeft === 0 || this.#voidStepsLeft === 0;
  }

  /**
   * Adds a slice of what waits to the batch, in which nothing is yet while nothing is in flight; what is complete with it is
   * added to `finishing`. True when the end of the batch or of the segment cut it short.
   */
  gather(engine: Engine, finishing: object[]): boolean {
    let taken = 0;
    let isFull = false;
    for (; taken < this.#items.length; taken += 1) {
      const item = this.#items[taken];
      if (item.kind === 'fence') {
        // What it waits for must be published.
        if (finishing.length > 0 || !this.#batch.empty) break;
        item.done();
        continue;
      }
      if (isData(item)) break;
      if (item.source.layer.gone) {
        item.request.done({ code: 'CLOSED' });
        continue;
      }
      if (!this.add(engine, item)) {
        isFull = !this.isSliced;
        break;
      }
      finishing.push(item);
    }
    this.#items.splice(0, taken);
    return isFull;
  }

  /** Adds the parts of a hole that hide something, as far as the slice, the batch and the segment take them; whether all of it is in. */
  add({ map }: Engine, item: QueuedChange): boolean {
    const batch = this.#batch;
    const { request, source } = item;
    const { layer, epoch } = source;
    const first = request.offsetBytes / layer.blockBytes;
    const end = first + request.lengthBytes / layer.blockBytes;
    // Data of this batch is not in the map yet, so beside it a leaf that looks void may not be.
    const isCertain = batch.payloadBytes === 0;
    let block = first + item.progressBlocks;
    while (block < end) {
      const leaf = Math.floor(block / LEAF_BLOCKS);
      if (isCertain && map.isVoid(layer, leaf)) {
        if (this.#voidStepsLeft === 0) break;
        this.#voidStepsLeft -= 1;
        block = map.skipVoid(layer, block, end);
        continue;
      }
      if (this.#leavesLeft === 0) break;
      batch.openRecord(layer, epoch);
      if (batch.extentsLeft === 0 || !batch.roomForZeros()) break;
      const stop = Math.min(end, (leaf + 1) * LEAF_BLOCKS);
      batch.addZeros(block, stop - block);
      block = stop;
      this.#leavesLeft -= 1;
    }
    item.progressBlocks = block - first;
    return block >= end;
  }
}
