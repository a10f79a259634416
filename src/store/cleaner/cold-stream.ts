import type { Checksums } from '../../io/block-keys.js';
import type { FileId, Files } from '../../io/files.js';
import { storedBytesOf } from '../../io/record-layout.js';
import {
  encodeExtent,
  encodeOrigin,
  encodeRecordHeader,
  headerBytesOf,
  RECORD_HEADER_BYTES,
  RecordKind,
  sumRecord,
  type RecordFields,
} from '../journal/record.js';
import { isHeaderOf, putGeneration } from '../journal/block-header.js';
import type { SegmentFiles } from '../journal/segment-files.js';
import { encodeSegmentHeader } from '../journal/segment-header.js';
import type { SegmentPool } from '../journal/segment-pool.js';
import type { SegmentRow, SegmentTable } from '../journal/segment-table.js';
import { PAGE_BYTES, RECORD_ALIGN_BYTES, SEGMENT_HEADER_BYTES, SEGMENT_TAIL_BYTES } from '../limits.js';
import { offsetUnitsOf, packLocation, slotOf, WHOLE_STORED_UNITS } from '../location.js';
import type { MovedBlocks } from '../map/moved-blocks.js';

/** Blocks of one record: each may be a run of its own, with two extents. */
const RECORD_BLOCKS_MAX = 256;
/** Room before the payload for the longest header and its alignment. */
const HEADER_ROOM_BYTES = 16 * 1024;

export interface ColdStreamDependencies {
  readonly files: Files;
  readonly segmentFiles: SegmentFiles;
  readonly table: SegmentTable;
  readonly pool: SegmentPool;
  readonly checksums: Checksums;
  /** Makes a segment's row durable. */
  readonly register: (row: SegmentRow) => Promise<void>;
}

/**
 * Segments of blocks that the cleaner moved, sealed as they are. They stand beside the chain: nothing is replayed from
 * them, because a block is published at its new place only once it is durable there, and its old place is given up only
 * once a checkpoint says where it is. So the stream has no order to keep with the journal.
 */
export class ColdStream {
  readonly #tier: number;
  readonly #segmentBytes: number;
  readonly #nodeId: Uint8Array;
  readonly #io: ColdStreamDependencies;
  #slot = -1;
  #file = -1 as FileId;
  #offset = 0;
  #sequence = 1;
  /** The record that is being gathered, and the one that is being written. */
  #staging = new Uint8Array(0);
  #outgoing = new Uint8Array(0);
  #writing: Promise<void> = Promise.resolve();
  /** What is gathered: places in the list of moved blocks. */
  readonly #places = new Int32Array(RECORD_BLOCKS_MAX);
  #count = 0;
  #moved: MovedBlocks | null = null;
  #layer = 0;
  #blockBytes = 0;
  #unsynced: { slot: number; from: number; to: number }[] = [];
  /** All bytes appended, headers and padding included. */
  appendedBytes = 0;

  constructor(
    options: { tier: number; segmentBytes: number; nodeId: Uint8Array },
    dependencies: ColdStreamDependencies,
  ) {
    this.#tier = options.tier;
    this.#segmentBytes = options.segmentBytes;
    this.#nodeId = options.nodeId;
    this.#io = dependencies;
  }

  /** The slot that is open for appends, -1: none. */
  get slot(): number {
    return this.#slot;
  }

  /** Whether a block of this layer can be added as things are. */
  fits(layer: number, blockBytes: number): boolean {
    if (this.#slot < 0 || this.#count === RECORD_BLOCKS_MAX) return false;
    if (this.#count > 0 && (this.#layer !== layer || this.#blockBytes !== blockBytes)) return false;
    const room = this.#segmentBytes - SEGMENT_TAIL_BYTES - this.#offset - HEADER_ROOM_BYTES;
    return (this.#count + 1) * storedBytesOf(blockBytes) <= room;
  }

  /** Makes a block of this layer fit; false when there is no segment for it. Throws StoreError and FileError. */
  async makeFit(layer: number, blockBytes: number): Promise<boolean> {
    await this.#flush(false);
    if (!this.fits(layer, blockBytes)) await this.#seal();
    return this.#slot >= 0 || (await this.#open());
  }

  /**
   * Copies the sealed block at `place` of the list, whose stored bytes are at `at` of `bytes`, once it fits. Its new location
   * is known after the next `sync`. false: its header is damaged or of another generation, and it must stay where it is.
   */
  add(moved: MovedBlocks, place: number, blockBytes: number, bytes: Uint8Array, at: number): boolean {
    const { table, checksums } = this.#io;
    if (!isHeaderOf(table.generations[slotOf(moved.from[place])], bytes, at, checksums)) return false;
    const stored = storedBytesOf(blockBytes);
    const need = HEADER_ROOM_BYTES + RECORD_BLOCKS_MAX * stored + PAGE_BYTES;
    if (this.#staging.length < need) this.#staging = new Uint8Array(need);
    const to = HEADER_ROOM_BYTES + this.#count * stored;
    this.#staging.set(bytes.subarray(at, at + stored), to);
    putGeneration(table.generations[this.#slot], this.#staging, to, checksums);
    this.#moved = moved;
    this.#layer = moved.layers[place];
    this.#blockBytes = blockBytes;
    this.#places[this.#count] = place;
    this.#count += 1;
    return true;
  }

  /** Takes a segment; false when there is none for this. Its row is durable before a block lies in it. */
  async #open(): Promise<boolean> {
    const { files, segmentFiles, table, pool, checksums, register } = this.#io;
    const slot = await pool.take('moving');
    if (slot === null) return false;
    table.chill(slot, this.#tier);
    const row = table.row(slot);
    await register(row);
    const file = await segmentFiles.open(slot);
    const header = encodeSegmentHeader(
      {
        ...{ slot, generation: row.generation, stampLow: row.stampLow, stampHigh: row.stampHigh },
        ...{ segmentBytes: this.#segmentBytes, predecessor: null, nextSequence: 1, durableUpTo: 0 },
        ...{ tier: this.#tier, nodeId: this.#nodeId },
      },
      checksums.crc32c.bind(checksums),
    );
    segmentFiles.pin(slot);
    this.#slot = slot;
    this.#file = file;
    this.#offset = SEGMENT_HEADER_BYTES;
    this.#sequence = 1;
    await files.write(file, 0, header);
    this.#unsynced.push({ slot, from: 0, to: SEGMENT_HEADER_BYTES });
    return true;
  }

  /** Nothing more goes into the open segment. */
  async #seal(): Promise<void> {
    const slot = this.#slot;
    if (slot < 0) return;
    await this.#syncNow();
    this.#slot = -1;
    this.#io.segmentFiles.unpin(slot);
  }

  /** Lays the gathered record out and begins to write it; `toPage` makes it end with its page. */
  async #flush(toPage: boolean): Promise<void> {
    const moved = this.#moved;
    if (moved === null || this.#count === 0) return;
    await this.#writing;
    const { table, checksums, files } = this.#io;
    const places = this.#places.subarray(0, this.#count);
    const blockBytes = this.#blockBytes;
    const unit = blockBytes / 64;
    const stored = storedBytesOf(blockBytes);
    const runs = runsOf(moved, places, stored / unit);
    const align = Math.max(unit, RECORD_ALIGN_BYTES);
    const headerBytes = headerBytesOf(2 * runs.length);
    const payloadOffset = Math.ceil((this.#offset + headerBytes) / align) * align - this.#offset;
    let recordBytes = payloadOffset + places.length * stored;
    const over = (this.#offset + recordBytes) % PAGE_BYTES;
    const start = HEADER_ROOM_BYTES - payloadOffset;
    if (toPage && over > 0) {
      this.#staging.fill(0, start + recordBytes, start + recordBytes + PAGE_BYTES - over);
      recordBytes += PAGE_BYTES - over;
    }
    this.#staging.fill(0, start, HEADER_ROOM_BYTES);
    const { stampLow, stampHigh } = table.row(this.#slot);
    const fields: RecordFields = {
      ...{ kind: RecordKind.RELOCATE, stampLow, stampHigh, recordBytes, sequence: this.#sequence, layer: this.#layer },
      ...{ ordinal: 0, durableUpTo: 0, epoch: 0, extentCount: 2 * runs.length, payloadOffset, blockBytes },
      ...{ payloadCrc: 0, parent: 0 },
    };
    encodeRecordHeader(this.#staging, start, fields);
    let at = start + RECORD_HEADER_BYTES;
    for (const run of runs) {
      encodeExtent(this.#staging, at, run.first, run.count, false);
      encodeOrigin(this.#staging, at + 16, run.from, table.generations[slotOf(run.from)]);
      at += 32;
    }
    sumRecord(this.#staging, start, fields, checksums.crc32c.bind(checksums));
    for (const [n, place] of places.entries()) {
      moved.to[place] = packLocation(
        this.#slot,
        (this.#offset + payloadOffset + n * stored) / unit,
        WHOLE_STORED_UNITS,
      );
    }
    const record = this.#staging.subarray(start, start + recordBytes);
    this.#writing = files.write(this.#file, this.#offset, record);
    // Told to whoever waits for it next.
    this.#writing.catch(() => undefined);
    [this.#staging, this.#outgoing] = [this.#outgoing, this.#staging];
    this.#unsynced.push({ slot: this.#slot, from: this.#offset, to: this.#offset + recordBytes });
    this.#offset += recordBytes;
    this.#sequence += 1;
    this.appendedBytes += recordBytes;
    this.#count = 0;
  }

  /** Everything added is durable, and the segments' rows say how far they are used. */
  async sync(): Promise<void> {
    await this.#flush(true);
    await this.#syncNow();
  }

  async #syncNow(): Promise<void> {
    const { files, segmentFiles, table, register } = this.#io;
    await this.#writing;
    const unsynced = this.#unsynced;
    this.#unsynced = [];
    const ends = new Map<number, { from: number; to: number }>();
    for (const { slot, from, to } of unsynced)
      ends.set(slot, { from: Math.min(from, ends.get(slot)?.from ?? from), to });
    for (const [slot, { from, to }] of ends) {
      const file = await segmentFiles.open(slot);
      // Off the sync thread: a client's flush waits there.
      await files.writeback(file, from, to - from);
      await files.sync(file);
      table.setUsed(slot, to);
      await register(table.row(slot));
    }
  }

  /** Lets go of the open segment; what was not synced counts for nothing. Resolves when nothing is being written. */
  async close(): Promise<void> {
    await this.#writing.catch(() => undefined);
    this.#writing = Promise.resolve();
    this.#unsynced = [];
    this.#count = 0;
    if (this.#slot >= 0) this.#io.segmentFiles.unpin(this.#slot);
    this.#slot = -1;
  }
}

interface Run {
  readonly first: number;
  count: number;
  readonly from: number;
}

/** Blocks that follow each other, and lay behind each other. */
function runsOf(moved: MovedBlocks, places: Int32Array, step: number): Run[] {
  const runs: Run[] = [];
  let last: Run | undefined;
  for (const place of places) {
    const block = moved.blocks[place];
    const from = moved.from[place];
    const follows =
      last !== undefined &&
      last.first + last.count === block &&
      slotOf(last.from) === slotOf(from) &&
      offsetUnitsOf(last.from) + last.count * step === offsetUnitsOf(from);
    if (follows && last !== undefined) last.count += 1;
    else runs.push((last = { first: block, count: 1, from }));
  }
  return runs;
}
