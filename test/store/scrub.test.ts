import { closeSync, openSync, readdirSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import { NativeFiles } from '../../src/io/native-files.js';
import { OpenBatch, OpenStatus } from '../../src/io/open-batch.js';
import { LEAF_BLOCKS, SCRUB_YIELD_MS_MAX } from '../../src/store/limits.js';
import { offsetUnitsOf, slotOf } from '../../src/store/location.js';
import { LayerScrub, type ScrubOptions, type ScrubStep, type ScrubStore } from '../../src/store/scrub.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import type { BadRange } from '../../src/volume/volume-scrub.js';
import { SeededRandom } from '../base/seeded-random.js';
import { perform, StoreWorld } from './store-world.js';

const BLOCK = 4096;
const FAST = 2 ** 40;
let world: StoreWorld;
let keyring: ReturnType<StoreWorld['keys']['createKeyring']>;

beforeEach(async () => {
  world = await StoreWorld.make();
  await world.open();
  keyring = world.keys.createKeyring(true);
});

afterEach(async () => {
  world.keys.releaseKeyring(keyring);
  await world.destroy();
});

async function write(volume: VolumeHandle, first: number, count: number, value: number): Promise<void> {
  const data = new Uint8Array(count * volume.blockBytes).fill(value);
  await perform(volume, Operation.WRITE, first * volume.blockBytes, data.length, { data });
}

async function scrub(
  volume: VolumeHandle,
  snapshots: readonly number[] = [],
): Promise<{ blocks: number; bad: BadRange[] }> {
  const { signal } = new AbortController();
  let blocks = 0;
  const bad: BadRange[] = [];
  const steps = volume.scrub({ snapshotLayers: () => snapshots, from: null, bytesPerSecond: FAST, signal });
  for await (const step of steps) {
    blocks += step.blocks;
    bad.push(...step.bad);
  }
  return { blocks, bad };
}

/** The steps of a scrub of one unencrypted layer, without a volume. */
function stepsOf(
  layer: number,
  options: Partial<ScrubOptions> = {},
  more: { store?: () => Promise<ScrubStore>; busy?: () => boolean } = {},
): AsyncGenerator<ScrubStep, void, void> {
  const all = { layers: () => [layer], from: null, bytesPerSecond: FAST, signal: new AbortController().signal };
  return new LayerScrub(
    { ...all, ...options },
    {
      files: new NativeFiles(),
      clock: world.clock,
      store: more.store ?? (() => world.store.ready()),
      keyring: () => keyring,
      busy: more.busy ?? (() => false),
    },
  ).steps();
}

/** Where the blocks of a layer's own lie now. */
function placesOf(layer: number): { block: number; path: string; offset: number; location: number }[] {
  const engine = world.store.engine;
  if (engine === null) throw new Error('the store is not open');
  const own = engine.map.layers.get(layer);
  if (own === undefined) throw new Error('no such layer');
  const found = [];
  for (let block = 0; block < own.sizeBlocks; block += 1) {
    const location = engine.map.views.own(own, Math.floor(block / LEAF_BLOCKS))?.[block % LEAF_BLOCKS] ?? 0;
    if (location <= 0) continue;
    const path = engine.segmentFiles.path(slotOf(location));
    found.push({ block, path, offset: offsetUnitsOf(location) * (own.blockBytes / 64), location });
  }
  return found;
}

function flip(path: string, offset: number, mask: number): void {
  const file = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, offset);
  byte[0] ^= mask;
  writeSync(file, byte, 0, 1, offset);
  closeSync(file);
}

describe('a scrub', () => {
  it('reads each live block once, those of snapshots and those that only they show included', async () => {
    const first = await world.manager.createLayer(BLOCK, 600 * BLOCK);
    const volume = world.volume(first);
    await write(volume, 0, 300, 1);
    const [second] = await world.manager.freeze([first]);
    await write(volume, 100, 50, 2);
    const [third] = await world.manager.freeze([second]);
    await write(volume, 500, 10, 3);
    await perform(volume, Operation.TRIM, 0, 20 * BLOCK);
    expect(await scrub(volume)).toEqual({ blocks: 300 + 50 + 10, bad: [] });
    // Of another branch: a clone of the second one, whose parents are read already.
    const aside = await world.manager.createLayer(BLOCK, 600 * BLOCK, second);
    const clone = world.volume(aside, undefined, first);
    await write(clone, 5, 7, 4);
    expect(await scrub(volume, [aside])).toEqual({ blocks: 300 + 50 + 10 + 7, bad: [] });
    expect(third).toBeGreaterThan(second);
  });

  it('finds every flipped byte of every block, whatever it is sealed with', { timeout: 120_000 }, async () => {
    const random = new SeededRandom(5);
    const volumes: { layer: LayerId; volume: VolumeHandle }[] = [];
    for (const key of [undefined, null]) {
      const layer = await world.manager.createLayer(BLOCK, 8 * BLOCK);
      const volume = world.volume(layer, key);
      await write(volume, 0, 3, 7);
      await write(volume, 5, 1, 8);
      volumes.push({ layer, volume });
    }
    for (let at = 0; at < BLOCK + 64; at += 1) {
      for (const { layer, volume } of volumes) {
        const places = placesOf(layer);
        const mask = 1 << random.below(8);
        for (const { path, offset } of places) flip(path, offset + at, mask);
        const { bad } = await scrub(volume);
        const blocks = bad.flatMap((range) =>
          Array.from({ length: range.lengthBytes / BLOCK }, (_, n) => range.offsetBytes / BLOCK + n),
        );
        expect(blocks, `byte ${String(at)}, mask ${String(mask)}`).toEqual(places.map(({ block }) => block));
        expect(bad[0].fileOffset).toBe(places[0].offset);
        for (const { path, offset } of places) flip(path, offset + at, mask);
      }
    }
    for (const { volume } of volumes) expect((await scrub(volume)).bad).toEqual([]);
  });

  it('finds what a large block, a missing file and a block in place of another have lost', async () => {
    const layer = await world.manager.createLayer(65536, 20 * 65536);
    const volume = world.volume(layer);
    for (let n = 0; n < 20; n += 1) await write(volume, n, 1, n + 1);
    const places = placesOf(layer);
    flip(places[3].path, places[3].offset + 64 + 60_000, 1);
    // The bytes of one block in the place of the next.
    const file = openSync(places[5].path, 'r+');
    const bytes = Buffer.alloc(65536 + 1024);
    readSync(file, bytes, 0, bytes.length, places[5].offset);
    writeSync(file, bytes, 0, bytes.length, places[6].offset);
    closeSync(file);
    const { blocks, bad } = await scrub(volume);
    expect(blocks).toBe(20);
    expect(bad.map(({ offsetBytes }) => offsetBytes / 65536)).toEqual([3, 6]);
    expect(bad.every(({ shown, layer: of }) => shown && of === layer)).toBe(true);
    const gone = places[10].path;
    rmSync(gone);
    const lost = (await scrub(volume)).bad.filter(({ reason }) => reason.includes('is gone'));
    expect(lost.map(({ lengthBytes }) => lengthBytes / 65536).reduce((sum, count) => sum + count, 0)).toBe(
      places.filter(({ path }) => path === gone).length,
    );
  });

  it('says of which layer a bad block is, and whether the volume still shows it', async () => {
    const first = await world.manager.createLayer(BLOCK, 100 * BLOCK);
    const volume = world.volume(first, null);
    await write(volume, 0, 10, 1);
    await world.manager.freeze([first]);
    await write(volume, 0, 5, 2);
    const places = placesOf(first);
    for (const n of [2, 8]) flip(places[n].path, places[n].offset + 100, 4);
    const { bad } = await scrub(volume);
    expect(bad.map(({ layer, offsetBytes, shown }) => [layer, offsetBytes / BLOCK, shown])).toEqual([
      [first, 2, false],
      [first, 8, true],
    ]);
  });

  it('takes what is overwritten, trimmed or gone with its layer for clean, and nothing else', async () => {
    const layer = await world.manager.createLayer(BLOCK, 100 * BLOCK);
    const volume = world.volume(layer);
    await write(volume, 0, 40, 1);
    for (const { path, offset } of placesOf(layer)) flip(path, offset + 77, 1);
    const { bad } = await scrub(volume);
    expect(bad).toHaveLength(1);
    const blocksOf = async (): Promise<number[][]> =>
      (await world.manager.stillBad(bad)).map((range) => [range.offsetBytes / BLOCK, range.lengthBytes / BLOCK]);
    expect(await blocksOf()).toEqual([[0, 40]]);
    await write(volume, 10, 5, 2);
    await perform(volume, Operation.TRIM, 30 * BLOCK, 10 * BLOCK);
    expect(await blocksOf()).toEqual([
      [0, 10],
      [15, 15],
    ]);
    const [part] = (await world.manager.stillBad(bad)).slice(1);
    expect(part.fileOffset).toBe(bad[0].fileOffset + 15 * (BLOCK + 64));
    await world.store.checkpoint();
    expect(await blocksOf()).toHaveLength(2);
    await volume.close();
    await world.manager.dropLayer(layer);
    expect(await blocksOf()).toEqual([]);
  });

  it('leaves the cache of the map as it was, and pages that were not cached uncached', async () => {
    const layer = await world.manager.createLayer(BLOCK, 1000 * BLOCK);
    const volume = world.volume(layer, null);
    for (let n = 0; n < 1000; n += 1) await write(volume, (n * 7) % 1000, 1, 1 + (n % 250));
    await volume.close();
    await world.close();
    const files = new NativeFiles();
    const folder = join(world.path, 'journal');
    for (const name of readdirSync(folder)) {
      const file = await files.open(join(folder, name), 'write');
      await files.sync(file);
      await files.dropCache(file, 0, 0);
      await files.close(file);
    }
    await world.open();
    const again = world.volume(layer, null);
    const data = new Uint8Array(BLOCK);
    for (const block of [10, 500]) await perform(again, Operation.READ, block * BLOCK, BLOCK, { data });
    // In memory nothing is ever dropped.
    const droppable = (await cachedBlocks(layer, 777)).length === 0;
    const before = world.manager.report();
    expect(await scrub(again)).toEqual({ blocks: 1000, bad: [] });
    const after = world.manager.report();
    expect([after.mapCacheHits, after.mapCacheMisses, after.mapCacheBytes]).toEqual([
      before.mapCacheHits,
      before.mapCacheMisses,
      before.mapCacheBytes,
    ]);
    if (!droppable) return;
    const cached = await cachedBlocks(layer);
    expect(cached).toContain(10);
    expect(cached).toContain(500);
    // A read of one page may bring its neighbours along; the scrub added none.
    expect(cached.length).toBeLessThan(400);
  });

  it('keeps to its rate', async () => {
    const layer = await world.manager.createLayer(BLOCK, 1000 * BLOCK);
    await write(world.volume(layer, null), 0, 500, 1);
    const from = world.clock.monotonicMs();
    let blocks = 0;
    for await (const step of stepsOf(layer, { bytesPerSecond: 8 * 1024 * 1024 })) blocks += step.blocks;
    expect(blocks).toBe(500);
    // Two megabytes, of which the last batch is not waited for.
    expect(world.clock.monotonicMs() - from).toBeGreaterThan(100);
  });

  it('waits for others between batches, and not for ever', async () => {
    const layer = await world.manager.createLayer(BLOCK, 1000 * BLOCK);
    await write(world.volume(layer, null), 0, 300, 1);
    let asked = 0;
    const from = world.clock.monotonicMs();
    let blocks = 0;
    for await (const step of stepsOf(layer, {}, { busy: () => (asked += 1) > 0 })) blocks += step.blocks;
    expect(blocks).toBe(300);
    expect(asked).toBeGreaterThan(4);
    expect(world.clock.monotonicMs() - from).toBeGreaterThan(SCRUB_YIELD_MS_MAX);
  });

  it('goes on where it was: after an end, and when the store has reopened', async () => {
    const layer = await world.manager.createLayer(BLOCK, 40_000 * BLOCK);
    const volume = world.volume(layer, null);
    for (let at = 0; at < 40_000; at += 500) await write(volume, at, 100, 1);
    let position: ScrubOptions['from'] = null;
    let blocks = 0;
    for await (const step of stepsOf(layer)) {
      ({ position } = step);
      blocks += step.blocks;
      if (blocks > 4000) break;
    }
    let rest = 0;
    for await (const step of stepsOf(layer, { from: position })) rest += step.blocks;
    expect(blocks + rest).toBeGreaterThanOrEqual(8000);
    // What was read of one slice at most is read again.
    expect(blocks + rest).toBeLessThan(8000 + 2000);

    let calls = 0;
    let current: ScrubStore = { ...(await world.store.ready()) };
    const store = async (): Promise<ScrubStore> => {
      calls += 1;
      if (calls === 6) current = { ...(await world.store.ready()) };
      return current;
    };
    const seen = new Set<number>();
    let all = 0;
    for await (const step of stepsOf(layer, {}, { store })) {
      seen.add(step.position.leaf);
      all += step.blocks;
    }
    expect(all).toBeGreaterThanOrEqual(8000);
    expect(all).toBeLessThan(8000 + 2000);
  });

  it('ends with its signal, and with the volume', async () => {
    const layer = await world.manager.createLayer(BLOCK, 1000 * BLOCK);
    const volume = world.volume(layer);
    await write(volume, 0, 900, 1);
    const controller = new AbortController();
    let steps = 0;
    for await (const step of stepsOf(layer, { signal: controller.signal, bytesPerSecond: 1 })) {
      steps += step.blocks;
      controller.abort();
    }
    expect(steps).toBe(1);
    const { signal } = new AbortController();
    const run = volume.scrub({ snapshotLayers: () => [], from: null, bytesPerSecond: 65536, signal });
    await run.next();
    await volume.close();
    await expect(run.next()).rejects.toThrow('closed');
  });
});

/** Of the blocks of a layer, or of one, those that can be read without waiting. */
async function cachedBlocks(layer: number, only = -1): Promise<number[]> {
  const files = new NativeFiles();
  const found: number[] = [];
  for (const { block, path, offset, location } of placesOf(layer)) {
    if (only >= 0 && block !== only) continue;
    const file = await files.open(path, 'scan');
    const batch = new OpenBatch();
    batch.destinations.push(new Uint8Array(BLOCK));
    const generation = world.store.engine?.table.generations[slotOf(location)] ?? 0;
    batch.add(file, offset, BLOCK + 64, generation, block, keyring, 0, 0, BLOCK);
    files.openNow(batch);
    if (batch.status[0] === OpenStatus.OK) found.push(block);
    await files.close(file);
  }
  return found;
}
