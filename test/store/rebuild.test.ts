import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import { segmentName } from '../../src/store/journal/segment-files.js';
import type { LayerId } from '../../src/volume/volume-host.js';
import { NumberedBlocks } from './numbered-blocks.js';
import { MIB, perform, StoreWorld } from './store-world.js';

const BLOCK = 4096;
const BLOCKS = (8 * MIB) / BLOCK;

async function make(): Promise<StoreWorld> {
  const world = await StoreWorld.make({ store: { segmentBytes: MIB, mapCacheBytes: MIB } });
  onTestFinished(() => world.destroy());
  await world.open();
  return world;
}

/** A layer whose blocks were written over and trimmed again and again, and cleaned. */
async function cleaned(world: StoreWorld): Promise<{ layer: LayerId; blocks: NumberedBlocks }> {
  const layer = await world.manager.createLayer(BLOCK, BLOCKS * BLOCK);
  const volume = world.volume(layer, undefined, 1);
  const blocks = new NumberedBlocks(BLOCKS, 3);
  for (let round = 0; round < 3; round += 1) {
    await blocks.overwrite(volume, BLOCKS);
    await perform(volume, Operation.TRIM, round * MIB, MIB);
    blocks.shows.fill(0, (round * MIB) / BLOCK, ((round + 1) * MIB) / BLOCK);
  }
  await world.manager.checkpoint();
  await world.store.cleaned();
  expect(world.store.engine?.table.count('cold')).toBeGreaterThan(0);
  return { layer, blocks };
}

const loseMap = (world: StoreWorld): void => {
  rmSync(join(world.path, 'map'), { recursive: true });
};

describe('a map that is lost after cleaning', () => {
  it('is rebuilt for layers that were made since, and the ids of the others are not used again', async () => {
    const world = await make();
    const old = await cleaned(world);
    const frozen = await world.manager.createLayer(BLOCK, BLOCKS * BLOCK);
    const blocks = new NumberedBlocks(BLOCKS, 4);
    await blocks.overwrite(world.volume(frozen, undefined, 1), BLOCKS);
    await perform(world.volume(frozen, undefined, 1), Operation.TRIM, 0, MIB);
    blocks.shows.fill(0, 0, MIB / BLOCK);
    const [head] = await world.manager.freeze([frozen]);
    const before = blocks.shows.slice();
    await blocks.overwrite(world.volume(head, undefined, 1), BLOCKS / 2);
    await old.blocks.overwrite(world.volume(old.layer, undefined, 1), BLOCKS / 4);
    await world.kill();
    loseMap(world);
    for (let start = 0; start < 2; start += 1) {
      await world.open();
      await blocks.check(world.volume(frozen, undefined, 1), before);
      await blocks.check(world.volume(head, undefined, 1));
      expect(() => world.volume(old.layer, undefined, 1)).toThrow('not in the store');
      if (start === 0) {
        expect(world.lines.some(({ message }) => message.includes('restore them from streams'))).toBe(true);
        const next = await world.manager.createLayer(BLOCK, MIB);
        expect(next).toBeGreaterThan(head + 1000);
        await new NumberedBlocks(MIB / BLOCK, 5).fill(world.volume(next, undefined, 1));
        // What was moved is named by nobody: its space comes back.
        await world.manager.checkpoint();
        await world.store.cleaned();
        await blocks.check(world.volume(head, undefined, 1));
      }
      await world.close();
    }
  });

  it('is rebuilt for everything while the whole chain is there, though blocks were moved', async () => {
    const world = await make();
    const { pool } = await world.store.ready();
    pool.release = () => Promise.reject(new Error('nothing is freed'));
    const { layer, blocks } = await cleaned(world);
    const files = readdirSync(join(world.path, 'journal')).length;
    await world.kill();
    loseMap(world);
    await world.open();
    await blocks.check(world.volume(layer, undefined, 1));
    expect(readdirSync(join(world.path, 'journal')).length).toBeGreaterThanOrEqual(files);
    expect(world.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  // Prepared segments have no header, and nothing but the lost map knew them: they were kept as if they held data, and on a
  // full disk the next start had no segment to go on with.
  it('costs no segment that was prepared and never used, but one that may hold data behind a damaged header', async () => {
    const world = await make();
    const layer = await world.manager.createLayer(BLOCK, BLOCKS * BLOCK);
    const blocks = new NumberedBlocks(BLOCKS, 6);
    await blocks.fill(world.volume(layer, undefined, 1));
    const { table } = await world.store.ready();
    const prepared = [...table.rows()].filter(({ state }) => state === 'ready').map(({ slot }) => slot);
    expect(prepared.length).toBeGreaterThan(1);
    await world.kill();
    loseMap(world);
    const [doubtful, ...unused] = prepared;
    writeFileSync(join(world.path, 'journal', segmentName(doubtful)), Buffer.alloc(MIB, 7));
    await world.open();
    const rebuilt = (await world.store.ready()).table;
    const unknown = [...rebuilt.rows()].filter(({ state, generation }) => state === 'chain' && generation === 0);
    expect(unknown.map(({ slot }) => slot)).toEqual([doubtful]);
    expect(unused.every((slot) => rebuilt.generations[slot] > 0 || rebuilt.state(slot) === 'free')).toBe(true);
    await blocks.check(world.volume(layer, undefined, 1));
  });
});
