/**
 * Journal record header, little endian. A record starts at a multiple of 64 bytes of its segment.
 *
 *   offset size
 *        0    4  magic "GREC"
 *        4    2  version, 1
 *        6    2  kind
 *        8    8  stamp of the segment generation
 *       16    4  headerBytes: what the header CRC covers (96 + 16 * extents)
 *       20    4  recordBytes: the whole record, alignment and payload included
 *       24    8  journal sequence
 *       32    8  layer (0: PAD)
 *       40    8  layer ordinal: 1, 2, 3, ... per layer, so that a gap in the journal shows which layers it touched
 *       48    8  durable up to: the journal sequence known durable when this record was built
 *       56    4  epoch of the writer
 *       60    4  extent count
 *       64    4  payload offset from the start of the record (a multiple of blockBytes/64 of the segment)
 *       68    4  log2 of the layer's blockBytes
 *       72    4  CRC32C of the payload
 *       76    4  CRC32C of the header with this field zero
 *       80   16  by kind
 *       96  16n  extents: first block (8), block count (4), flags (4; bit 0: zeros, no payload)
 *
 * By kind:
 *   WRITE  extents in order; those without the zeros flag own `count` sealed blocks of the payload, one after another
 *   HOLE   the same with zeros extents only
 *   OPEN   80: parent layer (0: none); extent 0: `first` is the size of the layer in blocks. Of a layer that is
 *          already open: it has grown to that size
 *   DROP   the layer and everything in it is gone
 *   PAD    nothing; closes a page before an fdatasync
 *   BARRIER  of layer 0; heads freeze, and each gets a child that is the head from here on. Two extents a head: first =
 *          the head, count = the child; first = the head's ordinal of this record
 *   MERGE  by kind: the only child of the layer, which takes over what the layer still shows
 *   RELOCATE  in segments of moved blocks alone, which no start replays: sequences count within the segment, and ordinals
 *          are 0. As WRITE, but behind each extent another (flags bit 1) says where its first block lay: first = the
 *          location, count = the low half of that segment's generation
 *
 * The sealing kernel fills in both checksums. Valid: every field in range and the header CRC right; the payload is
 * judged apart, because damage inside it leaves the header's word good.
 */
import { assert } from '../../base/assert.js';
import { getU64, putU64, viewOf } from '../../base/bytes.js';
import { RECORD, storedBytesOf } from '../../io/record-layout.js';
import { RECORD_ALIGN_BYTES, RECORD_BYTES_MAX, RECORD_EXTENTS_MAX } from '../limits.js';

export const RecordKind = {
  WRITE: 1,
  HOLE: 2,
  RELOCATE: 3,
  BARRIER: 4,
  OPEN: 5,
  MERGE: 6,
  DROP: 7,
  PAD: 8,
} as const;
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind];

// The kernels fill in and check parts of the header, so its numbers are theirs (native/record-format.h).
const {
  MAGIC,
  VERSION,
  MAGIC_AT,
  VERSION_AT,
  KIND_AT,
  STAMP_AT,
  HEADER_BYTES_AT,
  RECORD_BYTES_AT,
  SEQUENCE_AT,
  LAYER_AT,
  LAYER_ORDINAL_AT,
  DURABLE_UP_TO_AT,
  EPOCH_AT,
  EXTENT_COUNT_AT,
  PAYLOAD_OFFSET_AT,
  BLOCK_LOG2_AT,
  PAYLOAD_CRC_AT,
  HEADER_CRC_AT,
  BY_KIND_AT,
  EXTENTS_AT,
  EXTENT_BYTES,
} = RECORD;

/** Bytes of a header without extents. */
export const RECORD_HEADER_BYTES = EXTENTS_AT;
/** Extent flag: reads as zeros, owns no payload. */
export const EXTENT_ZEROS = 1;
/** Extent flag: says where the extent before it lay, owns no payload. */
const EXTENT_ORIGIN = 2;

/** What a record says, apart from its extents. */
export interface RecordFields {
  kind: RecordKind;
  stampLow: number;
  stampHigh: number;
  recordBytes: number;
  sequence: number;
  layer: number;
  ordinal: number;
  durableUpTo: number;
  epoch: number;
  extentCount: number;
  payloadOffset: number;
  blockBytes: number;
  payloadCrc: number;
  /** OPEN: the parent layer; MERGE: the heir. */
  parent: number;
}

/** A decoded header with its extents as rows of (first, count, zeros). */
export interface RecordHeader extends RecordFields {
  readonly extents: readonly RecordExtent[];
}

export interface RecordExtent {
  readonly first: number;
  readonly count: number;
  readonly zeros: boolean;
  /** RELOCATE: not blocks, but where those before it lay. */
  readonly origin: boolean;
}

export function headerBytesOf(extentCount: number): number {
  return RECORD_HEADER_BYTES + EXTENT_BYTES * extentCount;
}

/** The sealed blocks of a WRITE or RELOCATE, and where each lies when the record starts at `offset`. */
export function blocksIn(header: RecordHeader, offset: number): { block: number; at: number }[] {
  const found: { block: number; at: number }[] = [];
  let at = offset + header.payloadOffset;
  for (const { first, count, zeros, origin } of header.extents) {
    if (zeros || origin) continue;
    for (let n = 0; n < count; n += 1) {
      found.push({ block: first + n, at });
      at += storedBytesOf(header.blockBytes);
    }
  }
  return found;
}

/** Writes the header at `at`; the bytes must be zeroed. Checksums are left to the sealing kernel. */
export function encodeRecordHeader(bytes: Uint8Array, at: number, fields: RecordFields): void {
  assert(fields.extentCount <= RECORD_EXTENTS_MAX, 'a record has a bounded number of extents');
  assert(fields.recordBytes % RECORD_ALIGN_BYTES === 0, 'a record ends at its alignment');
  const view = viewOf(bytes);
  view.setUint32(at + MAGIC_AT, MAGIC, true);
  view.setUint16(at + VERSION_AT, VERSION, true);
  view.setUint16(at + KIND_AT, fields.kind, true);
  view.setUint32(at + STAMP_AT, fields.stampLow, true);
  view.setUint32(at + STAMP_AT + 4, fields.stampHigh, true);
  view.setUint32(at + HEADER_BYTES_AT, headerBytesOf(fields.extentCount), true);
  view.setUint32(at + RECORD_BYTES_AT, fields.recordBytes, true);
  putU64(view, at + SEQUENCE_AT, fields.sequence);
  putU64(view, at + LAYER_AT, fields.layer);
  putU64(view, at + LAYER_ORDINAL_AT, fields.ordinal);
  putU64(view, at + DURABLE_UP_TO_AT, fields.durableUpTo);
  view.setUint32(at + EPOCH_AT, fields.epoch, true);
  view.setUint32(at + EXTENT_COUNT_AT, fields.extentCount, true);
  view.setUint32(at + PAYLOAD_OFFSET_AT, fields.payloadOffset, true);
  view.setUint32(at + BLOCK_LOG2_AT, fields.blockBytes === 0 ? 0 : Math.log2(fields.blockBytes), true);
  putU64(view, at + BY_KIND_AT, fields.parent);
}

export function encodeExtent(bytes: Uint8Array, at: number, first: number, count: number, zeros: boolean): void {
  const view = viewOf(bytes);
  putU64(view, at, first);
  view.setUint32(at + 8, count, true);
  view.setUint32(at + 12, zeros ? EXTENT_ZEROS : 0, true);
}

/** As `encodeExtent`, for a row that says where the blocks of the row before it lay. */
export function encodeOrigin(bytes: Uint8Array, at: number, location: number, generation: number): void {
  const view = viewOf(bytes);
  putU64(view, at, location);
  view.setUint32(at + 8, generation % 2 ** 32, true);
  view.setUint32(at + 12, EXTENT_ORIGIN, true);
}

/** Fills in both checksums of a record that was laid out without the sealing kernel; `at` is where it starts. */
export function sumRecord(bytes: Uint8Array, at: number, fields: RecordFields, crc32c: RecordCheck['crc32c']): void {
  const payloadBytes = fields.recordBytes - fields.payloadOffset;
  const view = viewOf(bytes);
  view.setUint32(at + PAYLOAD_CRC_AT, crc32c(bytes, at + fields.payloadOffset, payloadBytes, 0), true);
  const sum = headerCrc(bytes, at, headerBytesOf(fields.extentCount), { ...fields, crc32c });
  view.setUint32(at + HEADER_CRC_AT, sum, true);
}

export interface RecordCheck {
  readonly stampLow: number;
  readonly stampHigh: number;
  /** CRC32C of a byte range. */
  crc32c(bytes: Uint8Array, offset: number, length: number, seed: number): number;
}

/** Whether a header of the segment with this stamp might start at `at`: the cheap part of the check. */
export function looksLikeRecord(view: DataView, at: number, check: RecordCheck): boolean {
  return (
    view.getUint32(at + MAGIC_AT, true) === MAGIC &&
    view.getUint32(at + STAMP_AT, true) === check.stampLow &&
    view.getUint32(at + STAMP_AT + 4, true) === check.stampHigh
  );
}

/**
 * Decodes the header at `at`, or null when it is not a valid one. `room` is the number of bytes from `at` to the end
 * of the segment; `bytes` must hold at least the header (or what the segment has of it).
 */
export function decodeRecordHeader(
  bytes: Uint8Array,
  at: number,
  room: number,
  check: RecordCheck,
): RecordHeader | null {
  if (at + RECORD_HEADER_BYTES > bytes.length || room < RECORD_HEADER_BYTES) return null;
  const view = viewOf(bytes);
  if (!looksLikeRecord(view, at, check)) return null;
  if (view.getUint16(at + VERSION_AT, true) !== VERSION) return null;
  const kind = view.getUint16(at + KIND_AT, true);
  if (kind < RecordKind.WRITE || kind > RecordKind.PAD) return null;
  const headerBytes = view.getUint32(at + HEADER_BYTES_AT, true);
  const recordBytes = view.getUint32(at + RECORD_BYTES_AT, true);
  const extentCount = view.getUint32(at + EXTENT_COUNT_AT, true);
  if (extentCount > RECORD_EXTENTS_MAX || headerBytes !== headerBytesOf(extentCount)) return null;
  if (recordBytes > Math.min(room, RECORD_BYTES_MAX) || recordBytes < headerBytes) return null;
  if (recordBytes % RECORD_ALIGN_BYTES !== 0 || at + headerBytes > bytes.length) return null;
  const storedCrc = view.getUint32(at + HEADER_CRC_AT, true);
  if (headerCrc(bytes, at, headerBytes, check) !== storedCrc) return null;
  const payloadOffset = view.getUint32(at + PAYLOAD_OFFSET_AT, true);
  if (payloadOffset > recordBytes) return null;
  const log2 = view.getUint32(at + BLOCK_LOG2_AT, true);
  if (log2 > 16) return null;
  const extents: RecordExtent[] = [];
  for (let n = 0; n < extentCount; n += 1) {
    const row = at + RECORD_HEADER_BYTES + n * EXTENT_BYTES;
    extents.push({
      first: getU64(view, row),
      count: view.getUint32(row + 8, true),
      zeros: (view.getUint32(row + 12, true) & EXTENT_ZEROS) !== 0,
      origin: (view.getUint32(row + 12, true) & EXTENT_ORIGIN) !== 0,
    });
  }
  return {
    kind: kind as RecordKind,
    stampLow: check.stampLow,
    stampHigh: check.stampHigh,
    recordBytes,
    sequence: getU64(view, at + SEQUENCE_AT),
    layer: getU64(view, at + LAYER_AT),
    ordinal: getU64(view, at + LAYER_ORDINAL_AT),
    durableUpTo: getU64(view, at + DURABLE_UP_TO_AT),
    epoch: view.getUint32(at + EPOCH_AT, true),
    extentCount,
    payloadOffset,
    blockBytes: log2 === 0 ? 0 : 2 ** log2,
    payloadCrc: view.getUint32(at + PAYLOAD_CRC_AT, true),
    parent: getU64(view, at + BY_KIND_AT),
    extents,
  };
}

const ZERO_CRC_FIELD = new Uint8Array(4);

function headerCrc(bytes: Uint8Array, at: number, headerBytes: number, check: RecordCheck): number {
  let crc = check.crc32c(bytes, at, HEADER_CRC_AT, 0);
  crc = check.crc32c(ZERO_CRC_FIELD, 0, 4, crc);
  return check.crc32c(bytes, at + HEADER_CRC_AT + 4, headerBytes - HEADER_CRC_AT - 4, crc);
}
