import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import type { LayerId } from '../../src/volume/volume-host.js';
import { NumberedBlocks } from './numbered-blocks.js';
import { MIB, perform, StoreWorld } from './store-world.js';

const BLOCK = 4096;
const BLOCKS = 256;

interface Made {
  readonly world: StoreWorld;
  readonly layer: LayerId;
  readonly blocks: NumberedBlocks;
  /** Somebody else's. */
  readonly other: LayerId;
}

async function make(): Promise<Made> {
  const world = await StoreWorld.make({ store: { segmentBytes: 4 * MIB, mapCacheBytes: MIB } });
  onTestFinished(() => world.destroy());
  await world.open();
  const layer = await world.manager.createLayer(BLOCK, BLOCKS * BLOCK);
  const other = await world.manager.createLayer(BLOCK, BLOCKS * BLOCK);
  const blocks = new NumberedBlocks(BLOCKS, 1);
  await blocks.fill(world.volume(layer, undefined, 1));
  return { world, layer, blocks, other };
}

/** Writes to a head, durably. */
async function write(world: StoreWorld, head: LayerId, blocks: NumberedBlocks): Promise<void> {
  const volume = world.volume(head, undefined, 1);
  await blocks.overwrite(volume, 24);
  await perform(volume, Operation.FLUSH, 0, 0);
}

/** Sequence of the next record. */
const next = (world: StoreWorld): number => (world.store.engine?.journal.appended ?? 0) + 1;

/** Ends the store as a crash does, with the records from `first` to before `end` taken out of the journal. */
async function lose({ world, other }: Made, first: number, end: number): Promise<void> {
  // What comes behind says that they were durable.
  const covers = new NumberedBlocks(BLOCKS, 2);
  for (let n = 0; n < 2; n += 1) await write(world, other, covers);
  await world.kill();
  let lost = 0;
  const folder = join(world.path, 'journal');
  for (const name of readdirSync(folder)) {
    const bytes = readFileSync(join(folder, name));
    for (let at = 4096; at < bytes.length; at += 64) {
      if (bytes.readUInt32LE(at) !== 0x43455247) continue;
      const sequence = Number(bytes.readBigUInt64LE(at + 24));
      const recordBytes = bytes.readUInt32LE(at + 20);
      if (sequence >= first && sequence < end) {
        bytes.fill(0, at, at + recordBytes);
        lost += 1;
      }
      at += recordBytes - 64;
    }
    writeFileSync(join(folder, name), bytes);
  }
  expect(lost).toBe(end - first);
}

/** A checkpoint that fails when it has removed what so many dropped layers had stored. */
async function cutPurge(world: StoreWorld, layers: number): Promise<void> {
  const { leaves } = await world.store.ready();
  const purge = leaves.purge.bind(leaves);
  let left = layers;
  leaves.purge = async (layer, ensureDurable) => {
    await purge(layer, ensureDurable);
    left -= 1;
    if (left === 0) throw new Error('cut off here');
  };
  await expect(world.manager.checkpoint()).rejects.toThrow('cut off here');
}

async function expectRefused(world: StoreWorld, layer: LayerId): Promise<void> {
  const read = perform(world.volume(layer, undefined, 1), Operation.READ, 0, BLOCK, { data: new Uint8Array(BLOCK) });
  await expect(read).rejects.toThrow(/IO: .*journal/);
}

describe('a gap of lost records', () => {
  it('leaves what was frozen before the checkpoint as it is, and refuses its head', async () => {
    const made = await make();
    const { world, layer, blocks } = made;
    const [head] = await world.manager.freeze([layer]);
    const before = blocks.shows.slice();
    await world.manager.checkpoint();
    const first = next(world);
    await write(world, head, blocks);
    await lose(made, first, next(world));
    for (let start = 0; start < 2; start += 1) {
      await world.open();
      await blocks.check(world.volume(layer, undefined, 1), before);
      await expectRefused(world, head);
      await world.close();
    }
    // A clone of it is a layer like any other.
    await world.open();
    const clone = await world.manager.createLayer(BLOCK, BLOCKS * BLOCK, layer);
    await blocks.check(world.volume(clone, undefined, 1), before);
  });

  it('leaves what a record before it froze as it is', async () => {
    const made = await make();
    const { world, layer, blocks } = made;
    await world.manager.checkpoint();
    await write(world, layer, blocks);
    const before = blocks.shows.slice();
    const [head] = await world.manager.freeze([layer]);
    const first = next(world);
    await write(world, head, blocks);
    await lose(made, first, next(world));
    await world.open();
    await blocks.check(world.volume(layer, undefined, 1), before);
    await expectRefused(world, head);
  });

  it('refuses what was frozen behind the checkpoint, though its row says frozen', async () => {
    const made = await make();
    const { world, layer, blocks } = made;
    const { leaves } = await world.store.ready();
    const first = next(world);
    const writeDirty = leaves.writeDirty.bind(leaves);
    let head: LayerId | null = null;
    leaves.writeDirty = async (ensureDurable) => {
      await writeDirty(ensureDurable);
      if (head !== null) return;
      await write(world, layer, blocks);
      [head] = await world.manager.freeze([layer]);
    };
    await world.manager.checkpoint();
    await lose(made, first, next(world));
    await world.open();
    await expectRefused(world, layer);
  });

  it('does not bring back a dropped layer without what it showed of one that was merged since', async () => {
    const made = await make();
    const { world, layer, blocks } = made;
    const heir = (await world.manager.freeze([layer]))[0];
    const clone = await world.manager.createLayer(BLOCK, BLOCKS * BLOCK, layer);
    const [head] = await world.manager.freeze([clone]);
    await world.manager.dropLayer(layer);
    await world.manager.checkpoint();
    const first = next(world);
    await world.manager.dropLayer(head);
    await world.manager.dropLayer(clone);
    await world.store.merged();
    expect(world.store.engine?.map.layers.get(layer)?.state).toBe('merged');
    const end = next(world);
    await write(world, heir, blocks);
    await lose(made, first, end);
    await world.open();
    // The map says of the merged layer that leaves went, not by which of the lost records.
    await expectRefused(world, clone);
    await expectRefused(world, heir);
  });

  it('does not bring back a dropped layer without the blocks that went with it', async () => {
    const made = await make();
    const { world, layer } = made;
    const [head] = await world.manager.freeze([layer]);
    const clone = await world.manager.createLayer(BLOCK, BLOCKS * BLOCK, layer);
    await world.manager.checkpoint();
    const first = next(world);
    await world.manager.dropLayer(head);
    await world.manager.dropLayer(clone);
    await world.manager.dropLayer(layer);
    await cutPurge(world, 3);
    await lose(made, first, next(world));
    await world.open();
    await expectRefused(world, layer);
  });

  it('of a drop that took a hidden layer along, takes it along after a crash as well', async () => {
    const { world, layer } = await make();
    const [head] = await world.manager.freeze([layer]);
    const clone = await world.manager.createLayer(BLOCK, BLOCKS * BLOCK, layer);
    await world.manager.dropLayer(layer);
    await world.manager.dropLayer(clone);
    await world.manager.checkpoint();
    await world.manager.dropLayer(head);
    await cutPurge(world, 1);
    await world.kill();
    await world.open();
    expect(world.manager.layers().filter(({ hidden }) => hidden)).toEqual([]);
  });
});
