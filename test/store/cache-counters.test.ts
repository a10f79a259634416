import { expect, onTestFinished, test } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import { MIB, perform, StoreWorld } from './store-world.js';

test('the report counts look-ups that memory answers and those that need a stored leaf', async () => {
  const world = await StoreWorld.make();
  onTestFinished(() => world.destroy());
  await world.open();
  const layer = await world.manager.createLayer(4096, MIB);
  const data = new Uint8Array(4096).fill(1);
  await perform(world.volume(layer), Operation.WRITE, 0, 4096, { data });
  await world.close();
  await world.open();
  const volume = world.volume(layer);
  await perform(volume, Operation.READ, 0, 4096, { data });
  const cold = world.manager.report();
  expect(cold.mapCacheMisses).toBe(1);
  await perform(volume, Operation.READ, 0, 4096, { data });
  const warm = world.manager.report();
  expect(warm.mapCacheMisses).toBe(1);
  expect(warm.mapCacheHits).toBe(cold.mapCacheHits + 1);
});
