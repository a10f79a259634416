import { storedBytesOf } from '../../io/record-layout.js';
import { sumRecord } from '../journal/record.js';
import { isHeaderOf, putGeneration } from '../journal/block-header.js';
import { BLOCK_BYTES_MIN, MOVED_WRITES_MAX, PAGE_BYTES } from '../limits.js';
import { packLocation, slotOf, WHOLE_STORED_UNITS } from '../location.js';
import type { MovedBlocks } from '../map/moved-blocks.js';
import { ColdSegment, type ColdSegmentDependencies } from './cold-segment.js';
import {
  encodeRelocate,
  HEADER_ROOM_BYTES,
  payloadOffsetOf,
  RECORD_BLOCKS_MAX,
  recordBlocksMax,
  runsOf,
} from './relocate-record.js';

/** For a record, whatever the size of its blocks. */
const BUFFER_BYTES = HEADER_ROOM_BYTES + RECORD_BLOCKS_MAX * storedBytesOf(BLOCK_BYTES_MIN) + PAGE_BYTES;

/** Segments of blocks that the cleaner moved, sealed as they are. */
export class ColdStream {
  readonly #io: ColdSegmentDependencies;
  readonly #segment: ColdSegment;
  /** Of the record that is being gathered, and of those that are being written. */
  readonly #buffers = Array.from({ length: MOVED_WRITES_MAX + 1 }, () => ({
    bytes: new Uint8Array(0),
    written: Promise.resolve(),
  }));
  #gathering = 0;
  /** What is gathered: places in the list of moved blocks. */
  readonly #places = new Int32Array(RECORD_BLOCKS_MAX);
  #count = 0;
  #moved: MovedBlocks | null = null;
  #layer = 0;
  #blockBytes = 0;
  /** All bytes appended, headers and padding included. */
  appendedBytes = 0;

  constructor(
    options: { tier: number; segmentBytes: number; nodeId: Uint8Array },
    dependencies: ColdSegmentDependencies,
  ) {
    this.#io = dependencies;
    // What is cleaned comes back.
    this.#segment = new ColdSegment({ ...options, use: 'moving' }, dependencies);
  }

  /** The slot that is open for appends, -1: none. */
  get slot(): number {
    return this.#segment.slot;
  }

  /** Whether a slot is open for appends, or was until the last `sync`. */
  holds(slot: number): boolean {
    return this.#segment.holds(slot);
  }

  /** Whether a block of this layer can be added as things are. */
  fits(layer: number, blockBytes: number): boolean {
    if (this.slot < 0 || this.#count === recordBlocksMax(blockBytes)) return false;
    if (this.#count > 0 && (this.#layer !== layer || this.#blockBytes !== blockBytes)) return false;
    return (this.#count + 1) * storedBytesOf(blockBytes) <= this.#segment.room - HEADER_ROOM_BYTES;
  }

  /** Makes a block of this layer fit; false when there is no segment for it. Throws StoreError and FileError. */
  async makeFit(layer: number, blockBytes: number): Promise<boolean> {
    await this.#flush(false);
    if (!this.fits(layer, blockBytes)) this.#segment.leave();
    return this.slot >= 0 || (await this.#segment.open());
  }

  /**
   * Copies the sealed block at `place` of the list, whose stored bytes are at `at` of `bytes`, once it fits. Its new location
   * is known after the next `sync`. false: its header is damaged or of another generation, and it must stay where it is.
   */
  add(moved: MovedBlocks, place: number, blockBytes: number, bytes: Uint8Array, at: number): boolean {
    const { table, checksums } = this.#io;
    if (!isHeaderOf(table.generations[slotOf(moved.from[place])], bytes, at, checksums)) return false;
    const stored = storedBytesOf(blockBytes);
    const buffer = this.#buffers[this.#gathering];
    if (buffer.bytes.length === 0) buffer.bytes = new Uint8Array(BUFFER_BYTES);
    const to = HEADER_ROOM_BYTES + this.#count * stored;
    buffer.bytes.set(bytes.subarray(at, at + stored), to);
    putGeneration(table.generations[this.slot], buffer.bytes, to, checksums);
    this.#moved = moved;
    this.#layer = moved.layers[place];
    this.#blockBytes = blockBytes;
    this.#places[this.#count] = place;
    this.#count += 1;
    return true;
  }

  /** Lays the gathered record out and begins to write it; `toPage` makes it end with its page. Resolves when another can be gathered. */
  async #flush(toPage: boolean): Promise<void> {
    const moved = this.#moved;
    if (moved === null || this.#count === 0) return;
    const { table, checksums } = this.#io;
    const { slot, offset, sequence } = this.#segment;
    const buffer = this.#buffers[this.#gathering];
    const { bytes } = buffer;
    const places = this.#places.subarray(0, this.#count);
    const blockBytes = this.#blockBytes;
    const unit = blockBytes / 64;
    const stored = storedBytesOf(blockBytes);
    const runs = runsOf(moved, places, stored / unit);
    const payloadOffset = payloadOffsetOf(runs, offset, blockBytes);
    let recordBytes = payloadOffset + places.length * stored;
    const over = (offset + recordBytes) % PAGE_BYTES;
    const start = HEADER_ROOM_BYTES - payloadOffset;
    if (toPage && over > 0) {
      bytes.fill(0, start + recordBytes, start + recordBytes + PAGE_BYTES - over);
      recordBytes += PAGE_BYTES - over;
    }
    bytes.fill(0, start, HEADER_ROOM_BYTES);
    const shape = { slot, sequence, layer: this.#layer, blockBytes, payloadOffset, recordBytes };
    const fields = encodeRelocate(bytes, start, shape, runs, table);
    sumRecord(bytes, start, fields, checksums.crc32c.bind(checksums));
    for (const [n, place] of places.entries()) {
      moved.to[place] = packLocation(slot, (offset + payloadOffset + n * stored) / unit, WHOLE_STORED_UNITS);
    }
    buffer.written = this.#segment.write(bytes.subarray(start, start + recordBytes));
    this.appendedBytes += recordBytes;
    this.#count = 0;
    this.#gathering = (this.#gathering + 1) % this.#buffers.length;
    await this.#buffers[this.#gathering].written;
  }

  /** Everything added is durable, and the segments' rows say how far they are used. */
  async sync(): Promise<void> {
    await this.#flush(true);
    await this.#segment.sync();
  }

  /** Nothing more goes into the open segment; nothing may be gathered. */
  async seal(): Promise<void> {
    await this.#segment.seal();
  }

  /** Lets go of the open segment; what was not synced counts for nothing. Resolves when nothing is being written. */
  async close(): Promise<void> {
    this.#count = 0;
    await this.#segment.settled();
    this.#segment.close();
  }
}
