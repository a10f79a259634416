/** Sealed blocks on their way from one node to another, as SEALED reads give them and SEALED writes take them. */
import { viewOf } from '../base/bytes.js';
import type { Checksums } from '../io/block-keys.js';
import { BLOCK, storedBytesOf } from '../io/record-layout.js';
import { isHeaderOf, putKeyNumber } from './journal/block-header.js';

/** Of blocks that lie in no segment. */
const GENERATION_NONE = 0;

/**
 * Names the data keys of blocks that lie one behind another by other numbers, in place: the same key has another number on
 * every node. Returns how many were named, up to the first whose header is damaged or whose number is not in `numbers`.
 */
export function renumberSealed(
  sealed: Uint8Array,
  blockBytes: number,
  numbers: ReadonlyMap<number, number>,
  checksums: Pick<Checksums, 'crc32c'>,
): number {
  const step = storedBytesOf(blockBytes);
  const count = Math.floor(sealed.length / step);
  const view = viewOf(sealed);
  for (let n = 0; n < count; n += 1) {
    const at = n * step;
    if (!isHeaderOf(GENERATION_NONE, sealed, at, checksums)) return n;
    const before = view.getUint32(at + BLOCK.KEY_NUMBER_AT, true);
    const number = numbers.get(before);
    if (number === undefined) return n;
    if (number !== before) putKeyNumber(number, sealed, at, checksums);
  }
  return count;
}
