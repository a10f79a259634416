/**
 * The numbers of the two formats that the kernels share with the journal, as native/record-format.h and
 * native/block-format.h define them. Those headers hold the offset tables.
 */
import { addon } from './addon.js';

/** Offsets in a journal record's header (`..._AT`), and its limits. */
export const RECORD = addon.record;

/** Offsets in a sealed block's header, and the limits of block sizes. */
export const BLOCK = addon.block;

/** Bytes on disk of a block with `plainBytes` of plaintext: header, ciphertext, and zeros to a multiple of plainBytes / 64. */
export function storedBytesOf(plainBytes: number): number {
  return plainBytes + plainBytes / 64;
}
