import { viewOf } from '../../base/bytes.js';
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
  const view = viewOf(bytes);
  const sum = checksums.crc32c(bytes, at, BLOCK.HEADER_CRC_AT, 0);
  if (sum !== view.getUint32(at + BLOCK.HEADER_CRC_AT, true)) return false;
  const low = view.getUint32(at + BLOCK.GENERATION_AT, true);
  return low + view.getUint16(at + BLOCK.GENERATION_AT + 4, true) * 2 ** 32 === generation;
}

/** Names the data key that a copied block is under by another number: that is not part of what authenticates it either. */
export function putKeyNumber(
  number: number,
  bytes: Uint8Array,
  at: number,
  checksums: Pick<Checksums, 'crc32c'>,
): void {
  const view = viewOf(bytes);
  view.setUint32(at + BLOCK.KEY_NUMBER_AT, number, true);
  sumHeader(view, bytes, at, checksums);
}

/** Makes a copied block one of another segment: the generation is not part of what authenticates it. */
export function putGeneration(
  generation: number,
  bytes: Uint8Array,
  at: number,
  checksums: Pick<Checksums, 'crc32c'>,
): void {
  const view = viewOf(bytes);
  view.setUint32(at + BLOCK.GENERATION_AT, generation % 2 ** 32, true);
  view.setUint16(at + BLOCK.GENERATION_AT + 4, Math.floor(generation / 2 ** 32), true);
  sumHeader(view, bytes, at, checksums);
}

function sumHeader(view: DataView, bytes: Uint8Array, at: number, checksums: Pick<Checksums, 'crc32c'>): void {
  view.setUint32(at + BLOCK.HEADER_CRC_AT, checksums.crc32c(bytes, at, BLOCK.HEADER_CRC_AT, 0), true);
}
