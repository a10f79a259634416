import type { LeafCache } from './leaf-cache.js';

/** Integers beyond this are not exact. */
const EXACT_BITS = 53;

/**
 * Rows, each once, in the order in which the database keeps their leaves: by layer, then by leaf. Neighbours share pages
 * there, and a page is written once by each commit that touches it. Of leaves beyond 2^53 / rows, where order is not worth
 * its price, any order.
 */
export function inLeafOrder(rows: readonly number[], cache: LeafCache): number[] {
  const byLayer = new Map<number, number[]>();
  for (const row of rows) {
    const layer = cache.layerOf(row);
    const found = byLayer.get(layer);
    if (found === undefined) byLayer.set(layer, [row]);
    else found.push(row);
  }
  // Dirty rows may be more than the cache is to have.
  const rowBits = Math.ceil(Math.log2(rows.reduce((most, row) => Math.max(most, row), 0) + 1));
  const step = 2 ** rowBits;
  const leafMax = 2 ** (EXACT_BITS - rowBits) - 1;
  const ordered: number[] = [];
  for (const [, found] of [...byLayer].sort(([one], [other]) => one - other)) {
    // Leaf and row in one number: these are sorted without a call per comparison.
    const keys = new Float64Array(found.length);
    for (let n = 0; n < keys.length; n += 1) keys[n] = Math.min(cache.leafOf(found[n]), leafMax) * step + found[n];
    keys.sort();
    // A row that was let go and given out anew may be listed twice.
    for (let n = 0; n < keys.length; n += 1) if (n === 0 || keys[n] !== keys[n - 1]) ordered.push(keys[n] % step);
  }
  return ordered;
}
