import type { Checksums } from '../../io/block-keys.js';
import { BLOCK } from '../../io/record-layout.js';

/** Whether the header of the sealed block at `at` is whole, undamaged and of this generation of its segment. */
export function isHeaderOf(
  generation: number,
  bytes: Uint8Array,
  at: number,
  checksums: Pick<Checksums, 'crc32c'>,
): boolean {
  if (at + BLOCK.HEADER_BYTES > bytes.length) return false;
  const sum = checksums.crc32c(bytes, at, BLOCK.HEADER_CRC_AT, 0);
  if (sum !== getU32(bytes, at + BLOCK.HEADER_CRC_AT)) return false;
  const high = bytes[at + BLOCK.GENERATION_AT + 4] + bytes[at + BLOCK.GENERATION_AT + 5] * 256;
  return getU32(bytes, at + BLOCK.GENERATION_AT) + high * 2 ** 32 === generation;
}

/** Names the data key that a copied block is under by another number: that is not part of what authenticates it either. */
export function putKeyNumber(
  number: number,
  bytes: Uint8Array,
  at: number,
  checksums: Pick<Checksums, 'crc32c'>,
): void {
  putU32(bytes, at + BLOCK.KEY_NUMBER_AT, number);
  sumHeader(bytes, at, checksums);
}

/** Makes a copied block one of another segment: the generation is not part of what authenticates it. */
export function putGeneration(
  generation: number,
  bytes: Uint8Array,
  at: number,
  checksums: Pick<Checksums, 'crc32c'>,
): void {
  const high = Math.floor(generation / 2 ** 32);
  putU32(bytes, at + BLOCK.GENERATION_AT, generation);
  bytes[at + BLOCK.GENERATION_AT + 4] = high;
  bytes[at + BLOCK.GENERATION_AT + 5] = high >>> 8;
  sumHeader(bytes, at, checksums);
}

function sumHeader(bytes: Uint8Array, at: number, checksums: Pick<Checksums, 'crc32c'>): void {
  putU32(bytes, at + BLOCK.HEADER_CRC_AT, checksums.crc32c(bytes, at, BLOCK.HEADER_CRC_AT, 0));
}

// A DataView for each of the blocks that the cleaner moves shows in its profile.

function getU32(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}

function putU32(bytes: Uint8Array, at: number, value: number): void {
  const low = value >>> 0;
  bytes[at] = low;
  bytes[at + 1] = low >>> 8;
  bytes[at + 2] = low >>> 16;
  bytes[at + 3] = low >>> 24;
}
