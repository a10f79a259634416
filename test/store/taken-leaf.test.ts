import { expect, it, onTestFinished } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import type { Layer } from '../../src/store/map/layer.js';
import { perform, StoreWorld } from './store-world.js';

const BLOCK = 4096;

it('a leaf that goes to the heir of its layer stays in memory until all know that it is gone', async () => {
  const world = await StoreWorld.make({ store: { mapCacheBytes: 64 * 1024 } });
  onTestFinished(() => world.destroy());
  await world.open();
  const id = await world.manager.createLayer(BLOCK, 128 * BLOCK);
  await perform(world.volume(id, undefined, 1), Operation.WRITE, 0, BLOCK, { data: new Uint8Array(BLOCK).fill(7) });
  const [child] = await world.manager.freeze([id]);
  await world.manager.checkpoint();
  const { map, moves } = await world.store.ready();
  const layer = map.layers.get(id) as Layer;
  const others = (): void => {
    for (let leaf = 0; leaf < 4 * map.cache.rowsMax; leaf += 1) map.cache.allocate(1_000_000, leaf, 0);
  };
  // Between this and the end of its commit a read may find the stored leaf gone.
  moves.takeOver(layer, map.layers.get(child) as Layer, 0);
  others();
  expect(layer.leaves.has(0)).toBe(true);
  moves.letGo(layer, 0);
  others();
  expect(layer.leaves.has(0)).toBe(false);
  await world.kill();
});
