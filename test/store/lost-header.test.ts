import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { NumberedBlocks } from './numbered-blocks.js';
import { MIB, StoreWorld } from './store-world.js';

it('a segment before one whose header is lost ends where the chain leaves it, so that it can be cleaned', async () => {
  const world = await StoreWorld.make({ store: { segmentBytes: MIB, mapCacheBytes: MIB } });
  onTestFinished(() => world.destroy());
  await world.open();
  const layer: LayerId = await world.manager.createLayer(4096, 4 * MIB);
  const open = (epoch: number): VolumeHandle => world.manager.open({ volumeId: 'one', layer, epoch, keys: [] });
  let volume = open(1);
  const content = new NumberedBlocks((4 * MIB) / 4096, 1);
  await content.fill(volume);
  const chain = (): { slot: number; generation: number; usedBytes: number }[] =>
    [...(world.store.engine?.table.rows() ?? [])]
      .filter(({ state }) => state === 'chain')
      .sort((a, b) => a.generation - b.generation);
  const last = chain().at(-1);
  const before = chain().at(-2);
  await world.kill();
  const folder = join(world.path, 'journal');
  const path = join(
    folder,
    readdirSync(folder).find((name) => name.endsWith(String(last?.slot).padStart(8, '0'))) ?? '',
  );
  writeFileSync(path, readFileSync(path).fill(0, 0, 4096));
  await world.open();
  volume = open(2);
  await content.check(volume);
  expect(chain().find(({ slot }) => slot === before?.slot)?.usedBytes).toBe(before?.usedBytes);
  expect(before?.usedBytes).toBeGreaterThan(4096);
});
