import { expect, it, onTestFinished } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import { MIB, perform, StoreWorld } from './store-world.js';

async function world(): Promise<{ world: StoreWorld; syncs: () => number; synced: (count: number) => Promise<void> }> {
  let syncs = 0;
  let told: (() => void)[] = [];
  const made = await StoreWorld.make({
    files: (real) => {
      const sync = real.sync.bind(real);
      real.sync = async (file) => {
        await sync(file);
        syncs += 1;
        const waiters = told;
        told = [];
        for (const resolve of waiters) resolve();
      };
      return real;
    },
  });
  onTestFinished(() => made.destroy());
  await made.open();
  const synced = async (count: number): Promise<void> => {
    while (syncs < count) await new Promise<void>((resolve) => told.push(resolve));
  };
  return { world: made, syncs: () => syncs, synced };
}

const block = (fill: number): { data: Uint8Array } => ({ data: new Uint8Array(4096).fill(fill) });

it('starts a sync with the append once flushes have followed single writes for a while', async () => {
  const { world: made, syncs, synced } = await world();
  const layer = await made.manager.createLayer(4096, MIB);
  const volume = made.volume(layer);
  const pair = async (n: number): Promise<void> => {
    await perform(volume, Operation.WRITE, n * 4096, 4096, block(n + 1));
    await perform(volume, Operation.FLUSH, 0, 0);
  };
  for (let n = 0; n < 8; n += 1) await pair(n);
  const before = syncs();
  await perform(volume, Operation.WRITE, 9 * 4096, 4096, block(10));
  // Nobody has asked for it.
  await synced(before + 1);
  await perform(volume, Operation.FLUSH, 0, 0);
  expect(syncs()).toBe(before + 1);

  // Two writes and no flush: the next ones are no business of a sync until it is asked for.
  await perform(volume, Operation.WRITE, 10 * 4096, 4096, block(11));
  await perform(volume, Operation.WRITE, 11 * 4096, 4096, block(12));
  await synced(before + 2);
  await perform(volume, Operation.FLUSH, 0, 0);
  const settled = syncs();
  for (let n = 12; n < 30; n += 1) await perform(volume, Operation.WRITE, n * 4096, 4096, block(n + 1));
  await made.store.engine?.journal.drain();
  expect(syncs()).toBe(settled);

  await made.kill();
  await made.open();
  const again = made.volume(layer);
  const into = new Uint8Array(4096);
  for (let n = 0; n < 8; n += 1) {
    await perform(again, Operation.READ, n * 4096, 4096, { data: into });
    expect(into[0]).toBe(n + 1);
  }
});
