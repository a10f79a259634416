import { describe, expect, it } from 'vitest';
import { FILTER_LEAVES, SLICE_SPAN_LEAVES } from '../../src/store/limits.js';
import { Layer } from '../../src/store/map/layer.js';
import { nextSlice, ownLeaves } from '../../src/store/map/own-leaves.js';
import { SeededRandom } from '../base/seeded-random.js';

const END = Number.POSITIVE_INFINITY;

/** A layer with leaves that are stored, in memory, or both; and those leaves, ascending. */
function make(random: SeededRandom, count: number, span: number): { layer: Layer; expected: number[] } {
  const layer = Layer.born({ id: 1, parent: 0, blockBytes: 4096, sizeBlocks: 1 });
  const expected = new Set<number>();
  for (let n = 0; n < count; n += 1) {
    const leaf = random.below(span);
    const where = random.below(3);
    if (where !== 1) layer.filter.set(leaf, true);
    if (where !== 0) layer.leaves.set(leaf, n);
    expected.add(leaf);
  }
  return { layer, expected: [...expected].sort((a, b) => a - b) };
}

describe('the leaves of a layer', () => {
  it.each([
    [1, 300, 1000],
    [2, 3000, 20 * FILTER_LEAVES],
    [3, 40, 3000 * FILTER_LEAVES],
  ])('are walked in slices, each once (seed %i)', (seed, count, span) => {
    const { layer, expected } = make(new SeededRandom(seed), count, span);
    const found: number[] = [];
    for (let from = 0; from < END;) {
      const { leaves, end } = nextSlice(layer, from, 64);
      expect(leaves.length).toBeGreaterThan(0);
      expect(leaves.length).toBeLessThanOrEqual(64);
      expect(leaves[leaves.length - 1] - leaves[0]).toBeLessThan(SLICE_SPAN_LEAVES);
      expect([...ownLeaves(layer, from, end)]).toEqual(leaves);
      found.push(...leaves);
      from = end;
    }
    expect(found).toEqual(expected);
  });

  it('are none of an empty layer, and none beyond the last', () => {
    const { layer, expected } = make(new SeededRandom(4), 10, 1000);
    expect(nextSlice(layer, (expected.at(-1) ?? 0) + 1, 64)).toEqual({ leaves: [], end: END });
    expect(nextSlice(Layer.born({ id: 2, parent: 0, blockBytes: 4096, sizeBlocks: 1 }), 0, 64)).toEqual({
      leaves: [],
      end: END,
    });
  });
});
