/**
 * A stored leaf: the locations of 128 consecutive blocks of one layer, run-length encoded so that it fits inside an
 * LMDB page (at most 4 + 16 + 128 * 9 = 1172 bytes and the row's CRC; LMDB's limit beside its key is about 2030).
 *
 *   offset size
 *        0    1  version, 1
 *        1    1  flags (bit 0: a 16-byte digest follows the head; not written by this version)
 *        2    1  runs - 1
 *        3    1  entries that are locations
 *        4       runs: count - 1 (1), kind (1: 0 absent, 1 hole, 2 locations), and for kind 2 the first location
 *                (7, little endian); the following locations of the run lie right behind one another
 */
import { LEAF_BLOCKS } from '../limits.js';
import { ABSENT, followerOf, HOLE, storedUnitsOf } from '../location.js';

const VERSION = 1;
const FLAG_DIGEST = 1;
const HEAD_BYTES = 4;
const DIGEST_BYTES = 16;
const KIND_ABSENT = 0;
const KIND_HOLE = 1;
const KIND_LOCATIONS = 2;

export const LEAF_ENCODED_BYTES_MAX = HEAD_BYTES + DIGEST_BYTES + LEAF_BLOCKS * 9;

const scratch = new Uint8Array(LEAF_ENCODED_BYTES_MAX);

/**
 * Encodes the 128 entries at `base`. With `root` (a layer without a parent) holes are the same as absent entries and
 * are stored as such. Returns null when nothing is left to store, else bytes that hold until the next call.
 */
export function encodeLeaf(entries: Float64Array, base: number, root: boolean): Uint8Array | null {
  let at = HEAD_BYTES;
  let runs = 0;
  let mapped = 0;
  let present = false;
  for (let n = 0; n < LEAF_BLOCKS;) {
    let entry = entries[base + n];
    if (root && entry === HOLE) entry = ABSENT;
    let end = n + 1;
    if (entry > 0) {
      let next = followerOf(entry);
      while (end < LEAF_BLOCKS && entries[base + end] === next) {
        next = followerOf(next);
        end += 1;
      }
      mapped += end - n;
      present = true;
    } else {
      while (end < LEAF_BLOCKS && (entries[base + end] === entry || (root && entries[base + end] === HOLE))) end += 1;
      if (entry === HOLE) present = true;
    }
    scratch[at] = end - n - 1;
    scratch[at + 1] = entry > 0 ? KIND_LOCATIONS : entry === HOLE ? KIND_HOLE : KIND_ABSENT;
    at += 2;
    if (entry > 0) {
      // Byte by byte without a loop: most runs of a volume that is written at random are one block.
      const low = entry >>> 0;
      const high = Math.floor(entry / 2 ** 32);
      scratch[at] = low;
      scratch[at + 1] = low >>> 8;
      scratch[at + 2] = low >>> 16;
      scratch[at + 3] = low >>> 24;
      scratch[at + 4] = high;
      scratch[at + 5] = high >>> 8;
      scratch[at + 6] = high >>> 16;
      at += 7;
    }
    runs += 1;
    n = end;
  }
  if (!present) return null;
  scratch[0] = VERSION;
  scratch[1] = 0;
  scratch[2] = runs - 1;
  scratch[3] = mapped;
  return scratch.subarray(0, at);
}

/** How many entries of an encoded leaf are locations. */
export function mappedIn(bytes: Uint8Array): number {
  return bytes[3];
}

/** Decodes into 128 entries at `base`; false when the bytes are no leaf (damage that the checksum did not see, or a newer version). */
export function decodeLeaf(bytes: Uint8Array, entries: Float64Array, base: number): boolean {
  if (bytes.length < HEAD_BYTES || bytes[0] !== VERSION) return false;
  let at = HEAD_BYTES + ((bytes[1] & FLAG_DIGEST) !== 0 ? DIGEST_BYTES : 0);
  let n = 0;
  let mapped = 0;
  for (let run = 0; run <= bytes[2]; run += 1) {
    if (at + 2 > bytes.length) return false;
    const count = bytes[at] + 1;
    const kind = bytes[at + 1];
    at += 2;
    if (n + count > LEAF_BLOCKS) return false;
    if (kind === KIND_LOCATIONS) {
      if (at + 7 > bytes.length) return false;
      let location = 0;
      for (let byte = 6; byte >= 0; byte -= 1) location = location * 256 + bytes[at + byte];
      at += 7;
      if (storedUnitsOf(location) === 0 || location >= 2 ** 51) return false;
      for (let end = n + count; n < end; n += 1) {
        entries[base + n] = location;
        location = followerOf(location);
      }
      mapped += count;
    } else if (kind === KIND_HOLE || kind === KIND_ABSENT) {
      entries.fill(kind === KIND_HOLE ? HOLE : ABSENT, base + n, base + n + count);
      n += count;
    } else {
      return false;
    }
  }
  return n === LEAF_BLOCKS && at === bytes.length && mapped === bytes[3];
}
