import { basename } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { FileError } from '../../src/io/file-error.js';
import { slotOfName } from '../../src/store/journal/segment-files.js';
import { faultyFiles, type Fault } from './faulty-files.js';
import { NumberedBlocks } from './numbered-blocks.js';
import { MIB, StoreWorld } from './store-world.js';

it('a segment that a full disk keeps from being used again is free also after a crash', async () => {
  let isFull = false;
  const emptied = new Set<number>();
  const fault: Fault = (call, path) => {
    if (!isFull || !path.includes('segment-')) return null;
    if (call === 'truncate') emptied.add(slotOfName(basename(path)));
    return call === 'allocate' ? new FileError('injected', { code: 'NO_SPACE', path }) : null;
  };
  const world = await StoreWorld.make({
    store: { segmentBytes: MIB, mapCacheBytes: MIB },
    files: (real) => faultyFiles(real, fault),
  });
  onTestFinished(() => world.destroy());
  await world.open();
  const layer = await world.manager.createLayer(4096, 4 * MIB);
  const volume = world.manager.open({ volumeId: 'one', layer, epoch: 1, keys: [] });
  const content = new NumberedBlocks((4 * MIB) / 4096, 1);
  for (let n = 0; n < 6; n += 1) await content.fill(volume);
  await world.store.cleaned();
  isFull = true;
  const pool = world.store.engine?.pool;
  while ((await pool?.take('data')) !== null);
  expect(emptied.size).toBeGreaterThan(0);
  await world.kill();
  isFull = false;
  await world.open();
  const used = [...(world.store.engine?.table.rows() ?? [])].filter(({ usedBytes }) => usedBytes > 0);
  expect(used.filter(({ slot }) => emptied.has(slot))).toEqual([]);
  await content.check(world.manager.open({ volumeId: 'one', layer, epoch: 2, keys: [] }));
});
