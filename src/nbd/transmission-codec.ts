/**
 * Messages of the transmission phase. Big-endian.
 *
 *   request (client)                      simple reply (server)
 *   0   4  magic 0x25609513               0   4  magic 0x67446698
 *   4   2  command flags                  4   4  error, 0: none
 *   6   2  type                           8   8  cookie
 *   8   8  cookie, any bytes              16     data of a READ that succeeded
 *   16  8  offset in bytes
 *   24  4  length in bytes                structured reply chunk (server)
 *   28     payload of a WRITE             0   4  magic 0x668e33ef
 *                                         4   2  flags (bit 0: last chunk)
 *                                         6   2  type
 *                                         8   8  cookie
 *                                         16  4  length of what follows
 *                                         20     OFFSET_DATA: offset (8), data
 *                                                ERROR: error (4), message length (2), message
 *                                                ERROR_OFFSET: as ERROR, then offset (8)
 *                                                BLOCK_STATUS: context id (4), then (length (4), flags (4))...
 *
 * The text calls the cookie "handle" in older versions. It is kept as two 32-bit halves; an offset is kept as a
 * double, which is exact below 2^53 and, above it, still larger than any device.
 */
import {
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_BLOCK_STATUS,
  NBD_REPLY_TYPE_ERROR,
  NBD_REPLY_TYPE_ERROR_OFFSET,
  NBD_REPLY_TYPE_OFFSET_DATA,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
} from './constants.js';
import type { StatusRun } from './meta-contexts.js';

export const REQUEST_BYTES = 28;
export const SIMPLE_REPLY_BYTES = 16;
export const CHUNK_HEADER_BYTES = 20;
/** Header of an OFFSET_DATA chunk up to its data. */
export const DATA_CHUNK_HEADER_BYTES = CHUNK_HEADER_BYTES + 8;

const TWO_POW_32 = 0x1_0000_0000;

/** A request as it stands on the wire; nothing in it has been checked. */
export interface RequestHeader {
  magic: number;
  flags: number;
  type: number;
  cookieHigh: number;
  cookieLow: number;
  offset: number;
  length: number;
}

/** Decodes the REQUEST_BYTES at `at` into `into`, which is reused so that decoding allocates nothing. */
export function decodeRequest(view: DataView, at: number, into: RequestHeader): void {
  into.magic = view.getUint32(at);
  into.flags = view.getUint16(at + 4);
  into.type = view.getUint16(at + 6);
  into.cookieHigh = view.getUint32(at + 8);
  into.cookieLow = view.getUint32(at + 12);
  into.offset = view.getUint32(at + 16) * TWO_POW_32 + view.getUint32(at + 20);
  into.length = view.getUint32(at + 24);
}

export function encodeSimpleReply(view: DataView, at: number, high: number, low: number, errno: number): void {
  view.setUint32(at, NBD_SIMPLE_REPLY_MAGIC);
  view.setUint32(at + 4, errno);
  view.setUint32(at + 8, high);
  view.setUint32(at + 12, low);
}

/** Head of a chunk that is the only one of its reply. */
export function encodeChunkHeader(
  view: DataView,
  at: number,
  high: number,
  low: number,
  type: number,
  payloadBytes: number,
): void {
  view.setUint32(at, NBD_STRUCTURED_REPLY_MAGIC);
  view.setUint16(at + 4, NBD_REPLY_FLAG_DONE);
  view.setUint16(at + 6, type);
  view.setUint32(at + 8, high);
  view.setUint32(at + 12, low);
  view.setUint32(at + 16, payloadBytes);
}

/** Head of an OFFSET_DATA chunk whose `dataBytes` of data follow it. */
export function encodeDataChunkHeader(
  view: DataView,
  at: number,
  high: number,
  low: number,
  offset: number,
  dataBytes: number,
): void {
  encodeChunkHeader(view, at, high, low, NBD_REPLY_TYPE_OFFSET_DATA, dataBytes + 8);
  setOffset(view, at + CHUNK_HEADER_BYTES, offset);
}

/** Bytes of an error chunk without a message. */
export function errorChunkBytes(offset: number): number {
  return CHUNK_HEADER_BYTES + (offset < 0 ? 6 : 14);
}

/** An error chunk; with an offset (of a read that failed) ERROR_OFFSET, with -1 ERROR. */
export function encodeErrorChunk(
  view: DataView,
  at: number,
  high: number,
  low: number,
  errno: number,
  offset: number,
): void {
  const type = offset < 0 ? NBD_REPLY_TYPE_ERROR : NBD_REPLY_TYPE_ERROR_OFFSET;
  encodeChunkHeader(view, at, high, low, type, errorChunkBytes(offset) - CHUNK_HEADER_BYTES);
  view.setUint32(at + CHUNK_HEADER_BYTES, errno);
  view.setUint16(at + CHUNK_HEADER_BYTES + 4, 0);
  if (offset >= 0) setOffset(view, at + CHUNK_HEADER_BYTES + 6, offset);
}

/** Bytes of a BLOCK_STATUS chunk with so many descriptors. */
export function blockStatusBytes(runs: number): number {
  return CHUNK_HEADER_BYTES + 4 + 8 * runs;
}

/** The BLOCK_STATUS chunk of one context; a reply has one for each selected context, and only its last chunk says so. */
export function encodeBlockStatus(
  view: DataView,
  at: number,
  high: number,
  low: number,
  { id, runs, isLast }: { readonly id: number; readonly runs: readonly StatusRun[]; readonly isLast: boolean },
): void {
  const bytes = blockStatusBytes(runs.length) - CHUNK_HEADER_BYTES;
  encodeChunkHeader(view, at, high, low, NBD_REPLY_TYPE_BLOCK_STATUS, bytes);
  if (!isLast) view.setUint16(at + 4, 0);
  view.setUint32(at + CHUNK_HEADER_BYTES, id);
  let entry = at + CHUNK_HEADER_BYTES + 4;
  for (const { lengthBytes, flags } of runs) {
    view.setUint32(entry, lengthBytes);
    view.setUint32(entry + 4, flags);
    entry += 8;
  }
}

function setOffset(view: DataView, at: number, offset: number): void {
  view.setUint32(at, Math.floor(offset / TWO_POW_32));
  view.setUint32(at + 4, offset % TWO_POW_32);
}
