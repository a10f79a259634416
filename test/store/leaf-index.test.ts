import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FILTER_LEAVES } from '../../src/store/limits.js';
import { LeafIndex } from '../../src/store/map/leaf-index.js';

/** Few leaves, so that they meet again; neighbours, far ones, and one beyond 32 bits. */
const LEAVES = [0, 1, 2, 3, 15, 16, 31, 32, 33, FILTER_LEAVES - 1, FILTER_LEAVES, 2 ** 31, 2 ** 32, 2 ** 40 + 1];

describe('the index of cached leaves', () => {
  it('holds what a map holds, whatever is added and deleted', () => {
    const leaf = fc.oneof(fc.constantFrom(...LEAVES), fc.nat(200));
    const step = fc.oneof(
      fc.record({ verb: fc.constant('set' as const), leaf, row: fc.nat(1000) }),
      fc.record({ verb: fc.constant('delete' as const), leaf, row: fc.constant(0) }),
      fc.record({ verb: fc.constant('clear' as const), leaf, row: fc.constant(0) }),
    );
    const weighted = fc.array(step, { maxLength: 400 });
    fc.assert(
      fc.property(weighted, (steps) => {
        const index = new LeafIndex();
        const model = new Map<number, number>();
        for (const { verb, leaf: at, row } of steps) {
          if (verb === 'set') {
            index.set(at, row);
            model.set(at, row);
          } else if (verb === 'delete') {
            index.delete(at);
            model.delete(at);
          } else if (at % 7 === 0) {
            index.clear();
            model.clear();
          }
          expect(index.get(at)).toBe(model.get(at));
        }
        const ascending = (a: number, b: number): number => a - b;
        expect([...index.leaves()].toSorted(ascending)).toEqual([...model.keys()].toSorted(ascending));
        expect([...index.rows()].toSorted(ascending)).toEqual([...model.values()].toSorted(ascending));
        for (const each of [...LEAVES, ...model.keys()]) {
          expect(index.has(each)).toBe(model.has(each));
          const chunk = Math.floor(each / FILTER_LEAVES);
          const cached = [...model.keys()].some((key) => Math.floor(key / FILTER_LEAVES) === chunk);
          expect(index.hasChunkOf(each)).toBe(cached);
        }
      }),
      { seed: 7, numRuns: 300 },
    );
  });

  it('finds every one of many neighbours after half of them went', () => {
    const index = new LeafIndex();
    for (let leaf = 0; leaf < 100_000; leaf += 1) index.set(leaf, leaf * 2);
    for (let leaf = 0; leaf < 100_000; leaf += 2) index.delete(leaf);
    for (let leaf = 0; leaf < 100_000; leaf += 1) expect(index.get(leaf)).toBe(leaf % 2 === 0 ? undefined : leaf * 2);
  });
});
