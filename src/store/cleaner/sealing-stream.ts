import { storedBytesOf } from '../../io/record-layout.js';
import { SealBatch } from '../../io/seal-batch.js';
import { encodeRecordHeader, RECORD_HEADER_BYTES, RecordKind } from '../journal/record.js';
import { PAGE_BYTES, RECORD_ALIGN_BYTES } from '../limits.js';
import { packLocation, WHOLE_STORED_UNITS } from '../location.js';
import type { MovedBlocks } from '../map/moved-blocks.js';
import type { SealingKey } from '../sealing-keys.js';
import { StoreError } from '../store-error.js';
import { ColdSegment, type ColdSegmentDependencies } from './cold-segment.js';
import { encodeRelocate, HEADER_ROOM_BYTES, payloadOffsetOf, recordBlocksMax, runsOf } from './relocate-record.js';

/** Shortest PAD: a header without extents, aligned. */
const PAD_BYTES_MIN = Math.ceil(RECORD_HEADER_BYTES / RECORD_ALIGN_BYTES) * RECORD_ALIGN_BYTES;

/** Blocks of one layer that are to be sealed. */
export interface OpenedBlocks {
  readonly moved: MovedBlocks;
  readonly layer: number;
  readonly blockBytes: number;
  readonly plain: Uint8Array;
  /** Where in `plain` the block at a place of the list is. */
  readonly plainAt: Int32Array;
  /** Asked in the turn in which the blocks go to the kernel. Throws when the keys may not be used any more. */
  readonly keys: () => { readonly sealing: SealingKey; readonly epoch: number };
}

/** Segments of blocks that were opened and are sealed anew. Each append is a record and ends with its page. */
export class SealingStream {
  readonly #io: ColdSegmentDependencies;
  readonly #segment: ColdSegment;
  readonly #batch = new SealBatch();
  appendedBytes = 0;

  constructor(options: { segmentBytes: number; nodeId: Uint8Array }, dependencies: ColdSegmentDependencies) {
    this.#io = dependencies;
    // As data: what is held back is for cleaning, which gives back what this leaves dead.
    this.#segment = new ColdSegment({ ...options, tier: 1, use: 'data' }, dependencies);
  }

  /** The slot that is open for appends, -1: none. */
  get slot(): number {
    return this.#segment.slot;
  }

  /** Whether a slot is open for appends, or was until the last `sync`. */
  holds(slot: number): boolean {
    return this.#segment.holds(slot);
  }

  /**
   * Seals blocks from place `from` of the list on, as many as one append takes, and says where they will be. Returns how many:
   * none when there is no segment for them. Throws StoreError, FileError and what `keys` throws; then it must be closed.
   */
  async append(blocks: OpenedBlocks, from: number): Promise<number> {
    const stored = storedBytesOf(blocks.blockBytes);
    const fitting = (): number => Math.floor((this.#segment.room - HEADER_ROOM_BYTES - 2 * PAGE_BYTES) / stored);
    if (fitting() <= 0) {
      await this.#segment.seal();
      if (!(await this.#segment.open())) return 0;
    }
    const count = Math.min(fitting(), recordBlocksMax(blocks.blockBytes), blocks.moved.count - from);
    const { bytes, records } = this.#layOut(blocks, from, count);
    const { file, offset } = this.#segment;
    const status = await new Promise<number>((resolve) => {
      this.#io.files.appendLater(file, offset, this.#batch, resolve);
    });
    this.#batch.sources.length = 0;
    if (status !== 0) {
      const detail = `sealing blocks anew failed with errno ${-status}`;
      throw new StoreError(detail, { code: 'IO', detail });
    }
    this.#segment.appended(bytes, records);
    this.appendedBytes += bytes;
    return count;
  }

  #layOut(blocks: OpenedBlocks, from: number, count: number): { bytes: number; records: number } {
    const { moved, layer, blockBytes, plain, plainAt } = blocks;
    const { table } = this.#io;
    const { slot, offset, sequence } = this.#segment;
    const batch = this.#batch;
    const unit = blockBytes / 64;
    const stored = storedBytesOf(blockBytes);
    const places = Int32Array.from({ length: count }, (_, n) => from + n);
    const runs = runsOf(moved, places, stored / unit);
    const payloadOffset = payloadOffsetOf(runs, offset, blockBytes);
    const recordBytes = payloadOffset + count * stored;
    batch.clear();
    batch.generation = table.generations[slot];
    const at = batch.reserveHeader(payloadOffset);
    encodeRelocate(batch.headers, at, { slot, sequence, layer, blockBytes, payloadOffset, recordBytes }, runs, table);
    const { sealing, epoch } = blocks.keys();
    const source = batch.sources.push(plain) - 1;
    for (const [n, place] of places.entries()) {
      // In this turn it is used up, whatever becomes of the append: no nonce is ever used twice.
      batch.addBlock(source, plainAt[place], sealing.id, epoch, moved.blocks[place], sealing.counter);
      sealing.counter += 1;
      moved.to[place] = packLocation(slot, (offset + payloadOffset + n * stored) / unit, WHOLE_STORED_UNITS);
    }
    batch.addRecord(at, payloadOffset, 0, count, blockBytes);
    const pad = this.#addPad(offset + recordBytes, sequence + 1, count);
    return { bytes: recordBytes + pad, records: pad === 0 ? 1 : 2 };
  }

  /** Closes the page, so that durable bytes are never rewritten. Returns its length. */
  #addPad(position: number, sequence: number, blocks: number): number {
    let padBytes = Math.ceil(position / PAGE_BYTES) * PAGE_BYTES - position;
    if (padBytes === 0) return 0;
    if (padBytes < PAD_BYTES_MIN) padBytes += PAGE_BYTES;
    const batch = this.#batch;
    const { stampLow, stampHigh } = this.#io.table.row(this.#segment.slot);
    const at = batch.reserveHeader(padBytes);
    encodeRecordHeader(batch.headers, at, {
      ...{ kind: RecordKind.PAD, stampLow, stampHigh, recordBytes: padBytes, sequence, layer: 0, ordinal: 0 },
      ...{ durableUpTo: 0, epoch: 0, extentCount: 0, payloadOffset: padBytes, blockBytes: 0, payloadCrc: 0, parent: 0 },
    });
    batch.addRecord(at, padBytes, blocks, 0, 0);
    return padBytes;
  }

  /** Everything appended is durable, and the segments' rows say how far they are used. */
  sync(): Promise<void> {
    return this.#segment.sync();
  }

  /** Nothing more goes into the open segment. */
  seal(): Promise<void> {
    return this.#segment.seal();
  }

  /** Lets go of the open segment; what was not synced counts for nothing. */
  async close(): Promise<void> {
    await this.#segment.settled();
    this.#segment.close();
  }
}
