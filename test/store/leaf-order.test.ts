import { describe, expect, it } from 'vitest';
import { CACHED_LEAF_BYTES } from '../../src/store/limits.js';
import { LeafCache } from '../../src/store/map/leaf-cache.js';
import { inLeafOrder } from '../../src/store/map/leaf-order.js';
import { SeededRandom } from '../base/seeded-random.js';

describe('the order in which leaves are stored', () => {
  // Rows are dirty, so there are more of them than the cache is to have.
  it.each([1, 2, 3])('is by layer, then by leaf, each row once (seed %i)', (seed) => {
    const random = new SeededRandom(seed);
    const cache = new LeafCache({ cacheBytes: 100 * CACHED_LEAF_BYTES }, () => undefined);
    const rows = Array.from({ length: 500 }, () => {
      const leaf = random.below(2) === 0 ? random.below(40) : random.below(2 ** 31);
      const row = cache.allocate(1 + random.below(3) * 7, leaf, 0);
      cache.changed(row, 1);
      return row;
    });
    expect(Math.max(...rows)).toBeGreaterThan(2 * cache.rowsMax);
    // One that was let go and given out anew stands twice in the list.
    const ordered = inLeafOrder([...rows, ...rows.slice(100, 200)], cache);
    const expected = rows.toSorted(
      (one, other) =>
        cache.layerOf(one) - cache.layerOf(other) || cache.leafOf(one) - cache.leafOf(other) || one - other,
    );
    expect(ordered).toEqual(expected);
  });

  it('loses no row of a leaf beyond what it orders', () => {
    const cache = new LeafCache({ cacheBytes: 100 * CACHED_LEAF_BYTES }, () => undefined);
    const rows = [2 ** 52, 5, 2 ** 50, 2 ** 40].map((leaf) => cache.allocate(1, leaf, 0));
    const ordered = inLeafOrder(rows, cache);
    expect(ordered[0]).toBe(rows[1]);
    expect(ordered.toSorted((a, b) => a - b)).toEqual(rows);
  });

  it('is none of no rows', () => {
    expect(inLeafOrder([], new LeafCache({ cacheBytes: 0 }, () => undefined))).toEqual([]);
  });
});
