import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import { BATCH_HOLE_LEAVES_MAX, BATCH_VOID_STEPS_MAX, FILTER_LEAVES } from '../../src/store/limits.js';
import { packLocation } from '../../src/store/location.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MapDisk, MemoryMapEnvironment } from './memory-map-environment.js';
import { MIB, perform, StoreWorld } from './store-world.js';
import { VolatileDisk, VolatileFiles } from './volatile-files.js';

const TIB = 1024 * 1024 * MIB;
const LEAF_BYTES = 128 * 4096;

describe('large and sparse volumes', () => {
  let world: StoreWorld;
  const map = new MapDisk();

  beforeEach(async () => {
    map.rows.clear();
    const disk = new VolatileDisk();
    world = await StoreWorld.make({
      files: () => new VolatileFiles({ disk }),
      openEnvironment: () => new MemoryMapEnvironment({ disk: map }),
      store: { journalReplayBytesMax: 64 * MIB },
    });
    await world.open();
  });
  afterEach(async () => {
    await world.destroy();
  });

  const write = (handle: VolumeHandle, offset: number, data: Uint8Array): Promise<void> =>
    perform(handle, Operation.WRITE, offset, data.length, { data });

  async function read(handle: VolumeHandle, offset: number, length: number): Promise<Uint8Array> {
    const data = new Uint8Array(length).fill(99);
    await perform(handle, Operation.READ, offset, length, { data });
    return data;
  }

  it('trims 16 TiB with little in them in large strides', async () => {
    const handle = world.volume(await world.manager.createLayer(4096, 16 * TIB));
    const block = new Uint8Array(4096).fill(7);
    for (const offset of [0, 3 * TIB, 16 * TIB - 4096]) await write(handle, offset, block);
    // 33 million leaves: looking at each of them would hold the event loop for seconds.
    const { engine } = world.store;
    if (engine === null) throw new Error('the store has no engine');
    const skip = vi.spyOn(engine.map, 'skipVoid');
    await perform(handle, Operation.TRIM, 0, 16 * TIB);
    expect(skip.mock.calls.length).toBeLessThan(40_000);
    skip.mockRestore();
    for (const offset of [0, 3 * TIB, 16 * TIB - 4096]) expect((await read(handle, offset, 4096))[0]).toBe(0);
    expect(handle.allocatedBytes).toBe(0);
    // And once more after a checkpoint, when everything is stored.
    for (const offset of [0, 3 * TIB, 16 * TIB - 4096]) await write(handle, offset, block);
    await world.manager.checkpoint();
    await perform(handle, Operation.TRIM, 0, 16 * TIB);
    await world.manager.checkpoint();
    expect(handle.allocatedBytes).toBe(0);
    await world.kill();
    await world.open();
    expect((await read(world.volume(1 as LayerId), 3 * TIB, 4096))[0]).toBe(0);
  });

  it('takes so much of all trims together in one turn, and no segment for a turn in which nothing shows', async () => {
    const chunkBytes = FILTER_LEAVES * LEAF_BYTES;
    const handle = world.volume(await world.manager.createLayer(4096, 4 * chunkBytes));
    const { engine } = world.store;
    if (engine === null) throw new Error('the store has no engine');
    // A chunk of leaves that has one is looked at leaf by leaf; the last one has more than a batch takes.
    for (let chunk = 0; chunk < 3; chunk += 1) await write(handle, chunk * chunkBytes, new Uint8Array(4096).fill(7));
    const [layer] = engine.map.layers.values();
    for (let leaf = 3 * FILTER_LEAVES; leaf < 3 * FILTER_LEAVES + 2 * BATCH_HOLE_LEAVES_MAX; leaf += 1) {
      if (engine.map.dirtyLeaves === engine.map.dirtyLeavesMax) await world.manager.checkpoint();
      engine.map.setBlocks(layer, leaf * 128, 1, packLocation(engine.journal.position.slot, 64, 65), 1);
    }
    await world.manager.checkpoint();
    const { generation } = engine.journal.position;
    const skipped = vi.spyOn(engine.map, 'skipVoid');
    const changed = vi.spyOn(engine.map.cache, 'changed');
    const most = { skipped: 0, changed: 0 };
    let trims = 4;
    const done = Array.from({ length: trims }, (_, n) =>
      perform(handle, Operation.TRIM, n * chunkBytes, chunkBytes).finally(() => (trims -= 1)),
    );
    while (trims > 0) {
      const before = { skipped: skipped.mock.calls.length, changed: changed.mock.calls.length };
      await new Promise<void>((resolve) => setImmediate(resolve));
      most.skipped = Math.max(most.skipped, skipped.mock.calls.length - before.skipped);
      most.changed = Math.max(most.changed, changed.mock.calls.length - before.changed);
    }
    await Promise.all(done);
    expect(most.skipped).toBeGreaterThan(BATCH_VOID_STEPS_MAX / 2);
    expect(most.skipped).toBeLessThanOrEqual(BATCH_VOID_STEPS_MAX);
    expect(most.changed).toBeLessThanOrEqual(BATCH_HOLE_LEAVES_MAX);
    expect(engine.journal.position.generation).toBe(generation);
    expect(handle.allocatedBytes).toBeLessThanOrEqual(2 * BATCH_HOLE_LEAVES_MAX * 4096);
    await world.manager.checkpoint();
    expect(handle.allocatedBytes).toBe(0);
  });

  it('trims more leaves than one batch takes, and keeps what lies around them', async () => {
    const leaves = 5000;
    const handle = world.volume(await world.manager.createLayer(4096, (leaves + 2) * LEAF_BYTES));
    const block = new Uint8Array(4096);
    for (let leaf = 0; leaf < leaves + 2; leaf += 1) {
      block.fill(1 + (leaf % 250));
      await write(handle, leaf * LEAF_BYTES, block);
      if (leaf % 50 === 49) await world.manager.checkpoint();
    }
    expect(handle.allocatedBytes).toBe((leaves + 2) * 4096);
    await perform(handle, Operation.TRIM, LEAF_BYTES, leaves * LEAF_BYTES);
    expect((await read(handle, 0, 4096))[0]).toBe(1);
    expect((await read(handle, (leaves + 1) * LEAF_BYTES, 4096))[0]).toBe(1 + ((leaves + 1) % 250));
    for (const leaf of [1, 2500, leaves]) expect((await read(handle, leaf * LEAF_BYTES, 4096))[0]).toBe(0);
    await world.manager.checkpoint();
    expect(handle.allocatedBytes).toBe(2 * 4096);
  });

  it('works with far fewer cached leaves than it uses', async () => {
    const leaves = 2600;
    const random = new SeededRandom(3);
    const layer = await world.manager.createLayer(4096, leaves * LEAF_BYTES);
    const handle = world.volume(layer);
    const held = new Map<number, number>();
    const block = new Uint8Array(4096);
    for (let round = 0; round < 2; round += 1) {
      for (let n = 0; n < leaves; n += 1) {
        const at = random.below(leaves) * LEAF_BYTES + random.below(3) * 4096;
        const value = 1 + random.below(250);
        block.fill(value);
        held.set(at, value);
        await write(handle, at, block.slice());
      }
      const all = [...held].map(async ([at, value]) => {
        const data = await read(handle, at, 4096);
        expect(data[0]).toBe(value);
        expect(data[4095]).toBe(value);
      });
      await Promise.all(all);
    }
    await world.manager.checkpoint();
    expect(handle.allocatedBytes).toBe(held.size * 4096);
    await world.kill();
    await world.open();
    const again = world.volume(layer);
    expect(again.allocatedBytes).toBe(held.size * 4096);
    for (const [at, value] of held) expect((await read(again, at, 4096))[0]).toBe(value);
  });

  it.each([4096, 16384, 65536])('takes any mixture of zeros and data in blocks of %i', async (blockBytes) => {
    const blocks = 2600;
    const handle = world.volume(await world.manager.createLayer(blockBytes, blocks * blockBytes));
    const count = Math.min(blocks, Math.floor((24 * MIB) / blockBytes));
    // Every other block zeros: more extents than a record holds, more bytes than a batch and a segment hold.
    const data = new Uint8Array(count * blockBytes);
    for (let n = 0; n < count; n += 2) data.fill(1 + (n % 250), n * blockBytes, (n + 1) * blockBytes);
    await write(handle, 0, data);
    expect(Buffer.compare(await read(handle, 0, data.length), data)).toBe(0);
    await perform(handle, Operation.WRITE, 512, data.length - 4096, { data: data.subarray(4096) });
    const moved = data.slice();
    moved.set(data.subarray(4096), 512);
    expect(Buffer.compare(await read(handle, 0, moved.length), moved)).toBe(0);
    await world.kill();
    await world.open();
    expect(Buffer.compare(await read(world.volume(1 as LayerId), 0, moved.length), moved)).toBe(0);
  });
});
