import {
  encodeExtent,
  encodeOrigin,
  encodeRecordHeader,
  headerBytesOf,
  RECORD_HEADER_BYTES,
  RecordKind,
  type RecordFields,
} from '../journal/record.js';
import type { SegmentTable } from '../journal/segment-table.js';
import { BLOCK_BYTES_MIN, MOVED_RECORD_BYTES, RECORD_ALIGN_BYTES } from '../limits.js';
import { offsetUnitsOf, slotOf } from '../location.js';
import type { MovedBlocks } from '../map/moved-blocks.js';

/** Blocks of one record of the smallest: each may be a run of its own, with two extents. */
export const RECORD_BLOCKS_MAX = MOVED_RECORD_BYTES / BLOCK_BYTES_MIN;
/** The longest header of such a record, with what aligns its payload. */
export const HEADER_ROOM_BYTES = 16 * 1024;

/** Blocks of one record of this size. */
export function recordBlocksMax(blockBytes: number): number {
  return MOVED_RECORD_BYTES / blockBytes;
}

/** Blocks that follow each other, and lay behind each other. */
export interface MovedRun {
  readonly first: number;
  count: number;
  readonly from: number;
}

/** Runs of the blocks at `places` of the list; `step` is how many units one of them takes. */
export function runsOf(moved: MovedBlocks, places: Int32Array, step: number): MovedRun[] {
  const runs: MovedRun[] = [];
  let last: MovedRun | undefined;
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

/** Where the payload of a record begins, from its start at `offset` of the segment. */
export function payloadOffsetOf(runs: readonly MovedRun[], offset: number, blockBytes: number): number {
  const align = Math.max(blockBytes / 64, RECORD_ALIGN_BYTES);
  return Math.ceil((offset + headerBytesOf(2 * runs.length)) / align) * align - offset;
}

export interface RelocateShape {
  /** The segment that it goes to. */
  readonly slot: number;
  readonly sequence: number;
  readonly layer: number;
  readonly blockBytes: number;
  readonly payloadOffset: number;
  readonly recordBytes: number;
}

/** Writes the header of a RELOCATE and its extents at `at`; the bytes must be zeroed. Its checksums are left to others. */
export function encodeRelocate(
  bytes: Uint8Array,
  at: number,
  shape: RelocateShape,
  runs: readonly MovedRun[],
  table: SegmentTable,
): RecordFields {
  const { slot, sequence, layer, blockBytes, payloadOffset, recordBytes } = shape;
  const { stampLow, stampHigh } = table.row(slot);
  const fields: RecordFields = {
    ...{ kind: RecordKind.RELOCATE, stampLow, stampHigh, recordBytes, sequence, layer, ordinal: 0 },
    ...{ durableUpTo: 0, epoch: 0, extentCount: 2 * runs.length, payloadOffset, blockBytes, payloadCrc: 0, parent: 0 },
  };
  encodeRecordHeader(bytes, at, fields);
  let row = at + RECORD_HEADER_BYTES;
  for (const run of runs) {
    encodeExtent(bytes, row, run.first, run.count, false);
    encodeOrigin(bytes, row + 16, run.from, table.generations[slotOf(run.from)]);
    row += 32;
  }
  return fields;
}
