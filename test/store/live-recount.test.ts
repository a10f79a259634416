import { describe, expect, it, onTestFinished } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import type { Timer } from '../../src/base/clock.js';
import { SystemClock } from '../../src/base/system-clock.js';
import { LEAF_BLOCKS, RECOUNT_FIRST_MS, RECOUNT_INTERVAL_MS, RECOUNT_PAUSE_MS } from '../../src/store/limits.js';
import { LiveRecount } from '../../src/store/live-recount.js';
import { slotOf, storedUnitsOf } from '../../src/store/location.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { NumberedBlocks } from './numbered-blocks.js';
import { MIB, perform, StoreWorld } from './store-world.js';

const BLOCK = 4096;
const LEAVES = 1500;

/** A clock that tells what it was asked for, and that can hold a count in its pauses. */
class WatchedClock extends SystemClock {
  readonly delays: number[] = [];
  /** Told of the next pause, with what ends it. */
  held: ((goOn: () => void) => void) | null = null;

  override after(delayMs: number, callback: () => void): Timer {
    this.delays.push(delayMs);
    const { held } = this;
    if (delayMs !== RECOUNT_PAUSE_MS || held === null) return super.after(delayMs, callback);
    this.held = null;
    held(callback);
    return super.after(RECOUNT_INTERVAL_MS, callback);
  }
}

async function make(clock = new WatchedClock()): Promise<StoreWorld> {
  const world = await StoreWorld.make({ clock, store: { segmentBytes: MIB, mapCacheBytes: 2 * MIB } });
  onTestFinished(() => world.destroy());
  await world.open();
  return world;
}

function recountOf(world: StoreWorld): LiveRecount {
  const found = world.store.engine?.background.find((each) => each instanceof LiveRecount);
  if (!(found instanceof LiveRecount)) throw new Error('nothing counts');
  return found;
}

/** Live bytes by slot as the map has them now, and as the table says. */
async function compare(world: StoreWorld): Promise<{ counted: Map<number, number>; hints: Map<number, number> }> {
  const { map, table } = await world.store.ready();
  const counted = new Map<number, number>();
  for (const layer of map.layers.values()) {
    if (layer.gone) continue;
    for (const leaf of new Set([...layer.leaves.leaves(), ...layer.filter.leaves()])) {
      map.countedIn(layer, leaf, (location) => {
        const bytes = (storedUnitsOf(location) * layer.blockBytes) / 64;
        counted.set(slotOf(location), (counted.get(slotOf(location)) ?? 0) + bytes);
      });
    }
  }
  const hints = new Map<number, number>();
  for (const { slot, liveBytes, state } of table.rows()) {
    if ((state === 'chain' || state === 'cold') && liveBytes !== 0) hints.set(slot, liveBytes);
  }
  return { counted, hints };
}

async function spoil(world: StoreWorld, random: SeededRandom): Promise<void> {
  const { table } = await world.store.ready();
  for (const { slot, state } of table.rows()) {
    if (state === 'chain' || state === 'cold') table.setLive(slot, random.below(MIB));
  }
}

async function scatter(volume: VolumeHandle, random: SeededRandom, writes: number): Promise<void> {
  for (let n = 0; n < writes; n += 8) {
    const together = Array.from({ length: 8 }, () => {
      const at = (random.below(LEAVES) * LEAF_BLOCKS + random.below(4)) * BLOCK;
      if (random.below(8) === 0) return perform(volume, Operation.TRIM, at, 2 * BLOCK);
      return perform(volume, Operation.WRITE, at, BLOCK, { data: new Uint8Array(BLOCK).fill(1) });
    });
    await Promise.all(together);
  }
}

describe('live bytes that are wrong', () => {
  it.each([1, 2, 3])('become right while writes, snapshots and the cleaner go on (seed %i)', async (seed) => {
    const world = await make();
    const random = new SeededRandom(seed);
    const layers: LayerId[] = [];
    const volumes: VolumeHandle[] = [];
    for (let n = 0; n < 2; n += 1) {
      const layer = await world.manager.createLayer(BLOCK, LEAVES * LEAF_BLOCKS * BLOCK);
      layers.push(layer);
      volumes.push(world.volume(layer, undefined, 1));
      await scatter(volumes[n], random, 1200);
    }
    await world.manager.checkpoint();
    for (let round = 0; round < 2; round += 1) {
      await spoil(world, random);
      const counting = recountOf(world).run();
      const work = (async () => {
        for (const [n, volume] of volumes.entries()) await scatter(volume, random, 400 + 400 * n);
        [layers[round]] = await world.manager.freeze([layers[round]]);
        await world.manager.checkpoint();
        await scatter(volumes[round], random, 300);
      })();
      await Promise.all([work, world.store.cleaned()]);
      expect(await counting).toBe(true);
      await world.manager.checkpoint();
      const { counted, hints } = await compare(world);
      expect(counted.size).toBeGreaterThan(2);
      expect(hints).toEqual(counted);
    }
  });

  it('stay as they are when a drop comes between, and become right afterwards', async () => {
    const clock = new WatchedClock();
    const world = await make(clock);
    const random = new SeededRandom(9);
    const size = LEAVES * LEAF_BLOCKS * BLOCK;
    const [kept, dropped] = [
      await world.manager.createLayer(BLOCK, size),
      await world.manager.createLayer(BLOCK, size),
    ];
    for (const layer of [kept, dropped]) {
      const volume = world.volume(layer, undefined, 1);
      await scatter(volume, random, 400);
      await volume.close();
    }
    await world.manager.checkpoint();
    await spoil(world, random);
    const before = await compare(world);
    const paused = new Promise<() => void>((resolve) => (clock.held = resolve));
    const counting = recountOf(world).run();
    const goOn = await paused;
    await world.manager.dropLayer(dropped);
    goOn();
    expect(await counting).toBe(false);
    expect((await compare(world)).hints.size).toBe(before.hints.size);
    expect(await recountOf(world).run()).toBe(true);
    const { counted, hints } = await compare(world);
    expect(hints).toEqual(counted);
  });

  it('are counted soon after a crash, and not in a fresh store', async () => {
    const clock = new WatchedClock();
    const world = await make(clock);
    expect(clock.delays).not.toContain(RECOUNT_FIRST_MS);
    const layer = await world.manager.createLayer(BLOCK, MIB);
    await new NumberedBlocks(MIB / BLOCK, 5).fill(world.volume(layer, undefined, 1));
    await world.kill();
    await world.open();
    expect(clock.delays).toContain(RECOUNT_FIRST_MS);
  });

  it('never cost a block: what is said to be empty is read before it is freed', async () => {
    const world = await make();
    const layer = await world.manager.createLayer(BLOCK, 8 * MIB);
    const volume = world.volume(layer, undefined, 1);
    const blocks = new NumberedBlocks((8 * MIB) / BLOCK, 3);
    await blocks.fill(volume);
    await blocks.overwrite(volume, (8 * MIB) / BLOCK);
    await world.manager.checkpoint();
    const { table } = await world.store.ready();
    for (const { slot, state } of table.rows()) if (state === 'chain') table.setLive(slot, 0);
    await world.store.cleaned();
    expect(world.store.cleanerWork.segments).toBeGreaterThan(0);
    await blocks.check(volume);
    await world.kill();
    await world.open();
    await blocks.check(world.volume(layer, undefined, 1));
  });
});
