/**
 * Bytes of the MetaStore's LMDB environment. LMDB pages carry no checksum, so each record carries its own, over its
 * key too, so that a record under another's key does not pass; and the state record sums up all of them, so that a
 * page that was lost whole (an older one in its place) is noticed as well. Little-endian throughout.
 *
 *   under "k" + key:                         under "state":
 *   0   4  "GMR1"                            0   4  "GMS1"
 *   4   4  CRC32C of the key, then of 8..    4   4  CRC32C of 8..
 *   8   8  revision                          8   4  format version
 *  16   8  create revision                  12   4  count of records
 *  24   8  lease, 0: none                   16   8  revision of the store
 *  32   .. value                            24   4  digest: XOR of all records' CRC32C
 */
import { assert } from '../base/assert.js';
import { viewOf } from '../base/bytes.js';
import { crc32c } from '../base/crc32c.js';
import type { MetaEntry } from './meta-store.js';

export const META_FORMAT = 1;
export const STATE_KEY = 'state';
export const RECORD_PREFIX = 'k';

const RECORD_MAGIC = 0x31524d47;
const STATE_MAGIC = 0x31534d47;
const RECORD_HEADER_BYTES = 32;
const STATE_BYTES = 28;

export interface MetaState {
  readonly format: number;
  readonly records: number;
  readonly revision: number;
  /** XOR of the checksums of all records. */
  readonly digest: number;
}

export function encodeRecord(entry: MetaEntry): Uint8Array {
  const bytes = new Uint8Array(RECORD_HEADER_BYTES + entry.value.length);
  const view = viewOf(bytes);
  view.setUint32(0, RECORD_MAGIC, true);
  view.setBigUint64(8, BigInt(entry.revision), true);
  view.setBigUint64(16, BigInt(entry.createRevision), true);
  view.setBigUint64(24, BigInt(entry.lease), true);
  bytes.set(entry.value, RECORD_HEADER_BYTES);
  view.setUint32(4, recordChecksum(entry.key, bytes), true);
  return bytes;
}

/** null: these are not the bytes that were written under this key. The value is a copy. */
export function decodeRecord(key: string, bytes: Uint8Array): MetaEntry | null {
  if (bytes.length < RECORD_HEADER_BYTES) return null;
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== RECORD_MAGIC || view.getUint32(4, true) !== recordChecksum(key, bytes)) return null;
  return {
    key,
    value: Uint8Array.from(bytes.subarray(RECORD_HEADER_BYTES)),
    revision: Number(view.getBigUint64(8, true)),
    createRevision: Number(view.getBigUint64(16, true)),
    lease: Number(view.getBigUint64(24, true)),
  };
}

/** The checksum that a valid record carries: its share of the digest. */
export function checksumOf(record: Uint8Array): number {
  assert(record.length >= RECORD_HEADER_BYTES, 'only decoded records are summed up');
  return viewOf(record).getUint32(4, true);
}

export function encodeState(state: MetaState): Uint8Array {
  const bytes = new Uint8Array(STATE_BYTES);
  const view = viewOf(bytes);
  view.setUint32(0, STATE_MAGIC, true);
  view.setUint32(8, state.format, true);
  view.setUint32(12, state.records, true);
  view.setBigUint64(16, BigInt(state.revision), true);
  view.setUint32(24, state.digest, true);
  view.setUint32(4, crc32c(bytes.subarray(8)), true);
  return bytes;
}

/** null: damaged. A newer format may be longer; its first fields stay where they are. */
export function decodeState(bytes: Uint8Array): MetaState | null {
  if (bytes.length < STATE_BYTES) return null;
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== STATE_MAGIC || view.getUint32(4, true) !== crc32c(bytes.subarray(8))) return null;
  return {
    format: view.getUint32(8, true),
    records: view.getUint32(12, true),
    revision: Number(view.getBigUint64(16, true)),
    digest: view.getUint32(24, true),
  };
}

function recordChecksum(key: string, record: Uint8Array): number {
  return crc32c(record.subarray(8), crc32c(new TextEncoder().encode(key)));
}
