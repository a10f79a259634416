import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import { RecordKind } from '../../src/store/journal/record.js';
import { RECORD_BYTES_MAX } from '../../src/store/limits.js';
import { NumberedBlocks } from './numbered-blocks.js';
import { MIB, perform, StoreWorld } from './store-world.js';

const BLOCK = 4096;

async function worldOf(capacityBytes: number): Promise<StoreWorld> {
  const world = await StoreWorld.make({ store: { segmentBytes: MIB, capacityBytes, mapCacheBytes: MIB } });
  onTestFinished(() => world.destroy());
  await world.open();
  return world;
}

const segments = (world: StoreWorld): number => readdirSync(join(world.path, 'journal')).length;

/** Of every record of a kind in the journal's files. */
function recordLengths(world: StoreWorld, kind: number): number[] {
  const folder = join(world.path, 'journal');
  return readdirSync(folder).flatMap((name) => {
    const bytes = readFileSync(join(folder, name));
    const found: number[] = [];
    for (let at = 4096; at < bytes.length; at += 64) {
      if (bytes.toString('latin1', at, at + 4) !== 'GREC') continue;
      if (bytes.readUInt16LE(at + 6) === kind) found.push(bytes.readUInt32LE(at + 20));
      at += bytes.readUInt32LE(at + 20) - 64;
    }
    return found;
  });
}

describe('the cleaner', () => {
  it.each([1, 2])('keeps a store at its limit writable, and everything in it (seed %i)', async (seed) => {
    const world = await worldOf(24 * MIB);
    const layer = await world.manager.createLayer(BLOCK, 12 * MIB);
    let volume = world.volume(layer, undefined, 1);
    const blocks = (12 * MIB) / BLOCK;
    const writer = new NumberedBlocks(blocks, seed);
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
    const writer = new NumberedBlocks(blocks, 7);
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

  // Records of moved blocks of 64 KiB were longer than a record may be: nobody could read them, and they were never cleaned again.
  it('moves large blocks in records that are no longer than others', async () => {
    const world = await StoreWorld.make({ store: { segmentBytes: 16 * MIB, mapCacheBytes: MIB } });
    onTestFinished(() => world.destroy());
    await world.open();
    const layer = await world.manager.createLayer(64 * 1024, 48 * MIB);
    const volume = world.volume(layer, undefined, 1);
    const writer = new NumberedBlocks((48 * MIB) / BLOCK, 1);
    await writer.fill(volume);
    // A write of less than a block writes the whole of it.
    for (let round = 0; round < 3; round += 1) {
      await writer.overwrite(volume, 1500);
      await world.store.cleaned();
    }
    await writer.check(volume);
    await world.close();
    const lengths = recordLengths(world, RecordKind.RELOCATE);
    expect(lengths.length).toBeGreaterThan(0);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(RECORD_BYTES_MAX);
  });

  it('gives space back to the file system when nobody writes', async () => {
    const world = await worldOf(Number.POSITIVE_INFINITY);
    const layers = [];
    for (let n = 0; n < 2; n += 1) {
      const layer = await world.manager.createLayer(BLOCK, 16 * MIB);
      layers.push(layer);
      const writer = new NumberedBlocks((16 * MIB) / BLOCK, n + 1);
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
    await new NumberedBlocks(MIB / BLOCK, 1).overwrite(world.volume(layer, undefined, 1), 64);
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
    const writer = new NumberedBlocks(blocks, 5);
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

  it('frees nothing of which a stop kept it from publishing the copies', async () => {
    const world = await worldOf(Number.POSITIVE_INFINITY);
    const writers = await Promise.all(
      [1, 2].map(async (seed) => {
        const layer = await world.manager.createLayer(BLOCK, 4 * MIB);
        return { layer, writer: new NumberedBlocks((4 * MIB) / BLOCK, seed) };
      }),
    );
    for (let round = 0; round < 12; round += 1) {
      for (const { layer, writer } of writers) {
        const volume = world.volume(layer, undefined, 1);
        await writer.overwrite(volume, MIB / BLOCK);
        await volume.close();
      }
    }
    const { moves } = await world.store.ready();
    const relocate = moves.relocate.bind(moves);
    let closing: Promise<void> | undefined;
    moves.relocate = (...args) => {
      closing ??= world.close();
      return relocate(...args);
    };
    await world.store.cleaned();
    expect(closing, 'it had something to move').toBeDefined();
    await closing;
    await world.open();
    for (const { layer, writer } of writers) await writer.check(world.volume(layer, undefined, 1));
  });
});
