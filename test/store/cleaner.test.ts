import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import type { VolumeHandle } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MIB, perform, StoreWorld } from './store-world.js';

const BLOCK = 4096;

async function worldOf(capacityBytes: number): Promise<StoreWorld> {
  const world = await StoreWorld.make({ store: { segmentBytes: MIB, capacityBytes, mapCacheBytes: MIB } });
  onTestFinished(() => world.destroy());
  await world.open();
  return world;
}

/** Random overwrites of a few blocks at a time, each filled with its own number. */
class Overwriter {
  readonly shows: Float64Array;
  readonly #random: SeededRandom;
  #last = 0;

  constructor(blocks: number, seed: number) {
    this.shows = new Float64Array(blocks);
    this.#random = new SeededRandom(seed);
  }

  async write(volume: VolumeHandle, first: number, count: number): Promise<void> {
    const data = new Uint8Array(count * BLOCK);
    const view = new DataView(data.buffer);
    for (let n = 0; n < count; n += 1) {
      this.#last += 1;
      view.setFloat64(n * BLOCK, this.#last, true);
      this.shows[first + n] = this.#last;
    }
    await perform(volume, Operation.WRITE, first * BLOCK, data.length, { data });
  }

  async overwrite(volume: VolumeHandle, blocks: number): Promise<void> {
    for (let done = 0; done < blocks;) {
      const writes: Promise<void>[] = [];
      const taken = new Set<number>();
      while (writes.length < 8) {
        const first = this.#random.below(this.shows.length - 4);
        if ([0, 1, 2, 3].some((n) => taken.has(first + n))) continue;
        const count = 1 + this.#random.below(4);
        for (let n = 0; n < count; n += 1) taken.add(first + n);
        writes.push(this.write(volume, first, count));
        done += count;
      }
      await Promise.all(writes);
    }
  }

  async check(volume: VolumeHandle): Promise<void> {
    const into = new Uint8Array(64 * BLOCK);
    for (let first = 0; first < this.shows.length; first += 64) {
      const count = Math.min(64, this.shows.length - first);
      await perform(volume, Operation.READ, first * BLOCK, count * BLOCK, { data: into });
      const view = new DataView(into.buffer);
      for (let n = 0; n < count; n += 1) {
        if (view.getFloat64(n * BLOCK, true) === this.shows[first + n]) continue;
        throw new Error(`block ${first + n}: ${view.getFloat64(n * BLOCK, true)}, not ${this.shows[first + n]}`);
      }
    }
  }
}

const segments = (world: StoreWorld): number => readdirSync(join(world.path, 'journal')).length;

describe('the cleaner', () => {
  it.each([1, 2])('keeps a store at its limit writable, and everything in it (seed %i)', async (seed) => {
    const world = await worldOf(24 * MIB);
    const layer = await world.manager.createLayer(BLOCK, 12 * MIB);
    let volume = world.volume(layer, undefined, 1);
    const blocks = (12 * MIB) / BLOCK;
    const writer = new Overwriter(blocks, seed);
    for (let first = 0; first < blocks; first += 256) await writer.write(volume, first, 256);
    for (let round = 0; round < 4; round += 1) {
      await writer.overwrite(volume, blocks);
      await writer.check(volume);
      expect(segments(world)).toBeLessThanOrEqual(24);
      if (round % 2 === 0) await world.kill();
      else await world.close();
      await world.open();
      volume = world.volume(layer, undefined, 1);
      await writer.check(volume);
    }
    expect(world.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('answers a full store with FULL, and goes on once something is trimmed', async () => {
    const world = await worldOf(24 * MIB);
    const layer = await world.manager.createLayer(BLOCK, 64 * MIB);
    const volume = world.volume(layer, undefined, 1);
    const blocks = (64 * MIB) / BLOCK;
    const writer = new Overwriter(blocks, 7);
    const fill = async (): Promise<number> => {
      for (let first = 0; first < blocks; first += 64) {
        const before = writer.shows.slice(first, first + 64);
        try {
          await writer.write(volume, first, 64);
        } catch (thrown) {
          writer.shows.set(before, first);
          expect((thrown as Error).message).toMatch(/FULL/);
          return first;
        }
      }
      return blocks;
    };
    for (let round = 0; round < 4; round += 1) {
      const full = await fill();
      expect(full).toBeLessThan(blocks);
      expect(full * BLOCK).toBeGreaterThan(10 * MIB);
      const half = Math.floor(full / 128) * 64;
      await perform(volume, Operation.TRIM, 0, half * BLOCK);
      writer.shows.fill(0, 0, half);
      await writer.overwrite(volume, 64);
      await perform(volume, Operation.TRIM, 0, blocks * BLOCK);
      writer.shows.fill(0);
    }
  });

  it('gives space back to the file system when nobody writes', async () => {
    const world = await worldOf(Number.POSITIVE_INFINITY);
    const layers = [];
    for (let n = 0; n < 2; n += 1) {
      const layer = await world.manager.createLayer(BLOCK, 16 * MIB);
      layers.push(layer);
      const writer = new Overwriter((16 * MIB) / BLOCK, n + 1);
      const volume = world.volume(layer, undefined, 1);
      await writer.overwrite(volume, (20 * MIB) / BLOCK);
      if (n === 0) await volume.close();
    }
    const before = segments(world);
    await world.manager.dropLayer(layers[0]);
    await world.store.cleaned();
    expect(segments(world)).toBeLessThan(before / 2 + 8);
    const live = world.manager.report().liveBytes;
    expect(segments(world) * MIB).toBeLessThanOrEqual(1.3 * live + 8 * MIB);
  });

  it('takes segments back that crashes left before anything was moved into it', async () => {
    const world = await worldOf(24 * MIB);
    const layer = await world.manager.createLayer(BLOCK, MIB);
    await new Overwriter(MIB / BLOCK, 1).overwrite(world.volume(layer, undefined, 1), 64);
    const cold = (): number => world.store.engine?.table.count('cold') ?? 0;
    const { pool, table } = await world.store.ready();
    for (let n = 0; n < 10; n += 1) table.chill((await pool.take('moving')) as number, 1);
    await world.manager.checkpoint();
    await world.kill();
    await world.open();
    expect(cold()).toBe(10);
    await world.store.cleaned();
    expect(cold(), 'what is left is worth no work').toBeLessThan(5);
  });

  it('never publishes its copy of a block that was written meanwhile', async () => {
    const world = await worldOf(Number.POSITIVE_INFINITY);
    const blocks = (16 * MIB) / BLOCK;
    const layer = await world.manager.createLayer(BLOCK, 16 * MIB);
    const volume = world.volume(layer, undefined, 1);
    const writer = new Overwriter(blocks, 5);
    await writer.overwrite(volume, 2 * blocks);
    let raced = 0;
    const { moves } = await world.store.ready();
    const relocate = moves.relocate.bind(moves);
    moves.relocate = (layer, leaf, moved, places) => {
      const changed = relocate(layer, leaf, moved, places);
      raced += places.length - changed;
      return changed;
    };
    for (let round = 0; round < 8; round += 1) {
      await Promise.all([world.store.cleaned(), writer.overwrite(volume, blocks / 2)]);
    }
    expect(raced, 'blocks that were written between the copy and its publication').toBeGreaterThan(0);
    await writer.check(volume);
    await world.kill();
    await world.open();
    await writer.check(world.volume(layer, undefined, 1));
  });
});
