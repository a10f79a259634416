import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { askContexts, type ExportContexts, listedContexts, selectContexts } from '../../src/nbd/meta-contexts.js';
import { diffContexts } from '../../src/daemon/diff-contexts.js';

const BLOCK = 4096;
const contexts: ExportContexts = {
  names: () => ['galleon:diff:a', 'galleon:diff:b'],
  open: (name) => {
    if (!['galleon:diff:a', 'galleon:diff:b'].includes(name)) return null;
    return () =>
      Promise.resolve([
        { lengthBytes: 100 * BLOCK, flags: 1 },
        { lengthBytes: 5, flags: 0 },
      ]);
  },
};
const device = new MemoryDevice({ sizeBytes: 64 * BLOCK, blockBytes: BLOCK });

describe('metadata contexts', () => {
  it.each([
    [[], ['base:allocation', 'galleon:diff:a', 'galleon:diff:b']],
    [['base:'], ['base:allocation']],
    [['galleon:'], ['galleon:diff:a', 'galleon:diff:b']],
    [['galleon:diff:'], ['galleon:diff:a', 'galleon:diff:b']],
    [['galleon:diff:b', 'other:x'], ['galleon:diff:b']],
  ])('for the queries %j are listed as %j', (queries, expected) => {
    expect(listedContexts(contexts, queries)).toEqual(expected);
  });

  it('are selected by their whole names, each once, and not without end', () => {
    const select = (queries: string[], max = 8): [number, string][] =>
      selectContexts(device, contexts, queries, max).map(({ id, name }) => [id, name]);
    expect(select(['galleon:diff:b', 'base:allocation', 'galleon:diff:b', 'galleon:diff:', 'galleon:diff:x'])).toEqual([
      [1, 'galleon:diff:b'],
      [2, 'base:allocation'],
    ]);
    expect(select(['base:allocation', 'galleon:diff:a', 'galleon:diff:b'], 2)).toHaveLength(2);
  });

  it('say no more than was asked for', async () => {
    const selected = selectContexts(device, contexts, ['base:allocation', 'galleon:diff:a'], 8);
    expect(await askContexts(selected, 0, 8 * BLOCK, 4)).toEqual([
      { id: 1, runs: [{ lengthBytes: 8 * BLOCK, flags: 3 }] },
      { id: 2, runs: [{ lengthBytes: 8 * BLOCK, flags: 1 }] },
    ]);
  });
});

describe('a difference as a context', () => {
  const ranges = [
    { offsetBytes: 0, lengthBytes: 2 * BLOCK, data: true },
    { offsetBytes: 4 * BLOCK, lengthBytes: BLOCK, data: false },
  ];
  const made = (nextOffsetBytes: number | null): ExportContexts =>
    diffContexts({
      names: () => ['a'],
      open: (name) => (name === 'a' ? () => Promise.resolve({ ranges, nextOffsetBytes }) : null),
    });
  const runs = async (offset: number, length: number, next: number | null): Promise<number[][]> => {
    const found = await made(next).open('galleon:diff:a')!(offset * BLOCK, length * BLOCK, 10);
    return found.map(({ lengthBytes, flags }) => [lengthBytes / BLOCK, flags]);
  };

  it('tells changed from unchanged, and data from zeros', async () => {
    expect(await runs(0, 10, null)).toEqual([
      [2, 1],
      [2, 0],
      [1, 3],
      [5, 0],
    ]);
    expect(await runs(1, 2, null)).toEqual([
      [1, 1],
      [1, 0],
    ]);
  });

  it('ends where it knows no more', async () => {
    expect(await runs(0, 10, 6 * BLOCK)).toEqual([
      [2, 1],
      [2, 0],
      [1, 3],
      [1, 0],
    ]);
  });

  it('has a name of its own', () => {
    expect(made(null).names()).toEqual(['galleon:diff:a']);
    expect(made(null).open('galleon:diff:x')).toBeNull();
    expect(made(null).open('base:allocation')).toBeNull();
  });
});
