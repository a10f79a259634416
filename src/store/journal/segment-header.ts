/**
 * The first page of a segment, little endian. Written when the segment joins the chain, before any record of it.
 *
 *   offset size
 *        0    8  magic "GALSEG01"
 *        8    4  version, 1
 *       12    4  slot
 *       16    8  generation: grows with every use of any slot, never repeats
 *       24    8  stamp: random per generation, never shown to clients, repeated in each record
 *       32    4  predecessor's slot (0xffffffff: none, this is the first segment)
 *       36    4  segmentBytes
 *       40    8  predecessor's generation
 *       48    8  predecessor's cut: the offset at which replay leaves it
 *       56    8  sequence of the first record here
 *       64   16  node id
 *       80    8  durable up to: the journal sequence known durable when this header was written
 *       88    4  tier: 0 in the chain; else it holds moved blocks and has no predecessor
 *     4092    4  CRC32C of bytes 0..4091
 */
import { getU64, putU64, viewOf } from '../../base/bytes.js';
import { SEGMENT_BYTES_MAX, SEGMENT_HEADER_BYTES } from '../limits.js';

export interface SegmentHeader {
  readonly slot: number;
  readonly generation: number;
  readonly stampLow: number;
  readonly stampHigh: number;
  readonly segmentBytes: number;
  /** null: the first segment of the store. */
  readonly predecessor: { readonly slot: number; readonly generation: number; readonly cut: number } | null;
  readonly nextSequence: number;
  readonly durableUpTo: number;
  /** 0: in the chain. */
  readonly tier: number;
  /** 16 bytes. */
  readonly nodeId: Uint8Array;
}

const MAGIC_LOW = 0x534c4147; // "GALS"
const MAGIC_HIGH = 0x31304745; // "EG01"
const NO_SLOT = 0xffffffff;
const CRC_AT = SEGMENT_HEADER_BYTES - 4;

export const SEGMENT_VERSION = 1;

type Crc32c = (bytes: Uint8Array, offset: number, length: number, seed: number) => number;

export function encodeSegmentHeader(header: SegmentHeader, crc32c: Crc32c): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const view = viewOf(bytes);
  view.setUint32(0, MAGIC_LOW, true);
  view.setUint32(4, MAGIC_HIGH, true);
  view.setUint32(8, SEGMENT_VERSION, true);
  view.setUint32(12, header.slot, true);
  putU64(view, 16, header.generation);
  view.setUint32(24, header.stampLow, true);
  view.setUint32(28, header.stampHigh, true);
  view.setUint32(32, header.predecessor === null ? NO_SLOT : header.predecessor.slot, true);
  view.setUint32(36, header.segmentBytes, true);
  putU64(view, 40, header.predecessor?.generation ?? 0);
  putU64(view, 48, header.predecessor?.cut ?? 0);
  putU64(view, 56, header.nextSequence);
  bytes.set(header.nodeId, 64);
  putU64(view, 80, header.durableUpTo);
  view.setUint32(88, header.tier, true);
  view.setUint32(CRC_AT, crc32c(bytes, 0, CRC_AT, 0), true);
  return bytes;
}

/** The header in a page, 'newer' for a valid one of a later version, or null. */
export function decodeSegmentHeader(bytes: Uint8Array, crc32c: Crc32c): SegmentHeader | 'newer' | null {
  if (bytes.length < SEGMENT_HEADER_BYTES) return null;
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== MAGIC_LOW || view.getUint32(4, true) !== MAGIC_HIGH) return null;
  if (crc32c(bytes, 0, CRC_AT, 0) !== view.getUint32(CRC_AT, true)) return null;
  if (view.getUint32(8, true) > SEGMENT_VERSION) return 'newer';
  const segmentBytes = view.getUint32(36, true);
  if (segmentBytes > SEGMENT_BYTES_MAX || segmentBytes < SEGMENT_HEADER_BYTES) return null;
  const predecessorSlot = view.getUint32(32, true);
  return {
    slot: view.getUint32(12, true),
    generation: getU64(view, 16),
    stampLow: view.getUint32(24, true),
    stampHigh: view.getUint32(28, true),
    segmentBytes,
    predecessor:
      predecessorSlot === NO_SLOT
        ? null
        : { slot: predecessorSlot, generation: getU64(view, 40), cut: getU64(view, 48) },
    nextSequence: getU64(view, 56),
    durableUpTo: getU64(view, 80),
    tier: view.getUint32(88, true),
    nodeId: bytes.slice(64, 80),
  };
}
