import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { Operation, RequestFlag } from '../../src/device/block-device.js';
import { LEAF_BLOCKS } from '../../src/store/limits.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MIB, perform, StoreWorld } from './store-world.js';

const BLOCK = 4096;
/** More than a batch deals with at once, several times. */
const LEAVES = 2500;
const SIZE = LEAVES * LEAF_BLOCKS * BLOCK;

describe('a trim of a whole device', () => {
  let world: StoreWorld;
  let layers: LayerId[];
  let large: VolumeHandle;
  let small: VolumeHandle;
  let order: string[];

  beforeEach(async () => {
    world = await StoreWorld.make({ store: { segmentBytes: 4 * MIB, mapCacheBytes: 8 * MIB } });
    onTestFinished(() => world.destroy());
    await world.open();
    layers = [await world.manager.createLayer(BLOCK, SIZE), await world.manager.createLayer(BLOCK, MIB)];
    [large, small] = layers.map((layer) => world.volume(layer));
    order = [];
    // One block in each leaf.
    for (let leaf = 0; leaf < LEAVES; leaf += 50) {
      await Promise.all(
        Array.from({ length: 50 }, (_, n) => write(large, (leaf + n) * LEAF_BLOCKS * BLOCK, BLOCK, 1 + (leaf % 200))),
      );
    }
  });

  function write(volume: VolumeHandle, offset: number, length: number, value: number, flags = 0): Promise<void> {
    return perform(volume, Operation.WRITE, offset, length, { data: new Uint8Array(length).fill(value), flags });
  }

  async function read(volume: VolumeHandle, offset: number, length: number): Promise<Uint8Array> {
    const data = new Uint8Array(length);
    await perform(volume, Operation.READ, offset, length, { data });
    return data;
  }

  function told(name: string, done: Promise<unknown>): Promise<unknown> {
    return done.then(() => order.push(name));
  }

  const trim = (): Promise<unknown> => told('trim', perform(large, Operation.TRIM, 0, SIZE));

  async function expectTrimmed(): Promise<void> {
    for (let leaf = 0; leaf < LEAVES; leaf += 1) {
      const data = await read(large, leaf * LEAF_BLOCKS * BLOCK, BLOCK);
      if (data.some((byte) => byte !== 0)) expect(leaf, 'a leaf that still shows something').toBe(-1);
    }
  }

  it('lets the writes of others pass, unaligned ones and those with FUA as well', async () => {
    const all = [
      trim(),
      told('write', write(small, 0, 2 * BLOCK, 7)),
      told('unaligned', write(small, 4 * BLOCK + 100, 1000, 8)),
      told('FUA', write(small, 8 * BLOCK, BLOCK, 9, RequestFlag.FUA)),
    ];
    await Promise.all(all);
    expect(order.at(-1)).toBe('trim');
    await expectTrimmed();
    expect((await read(small, 4 * BLOCK, BLOCK)).subarray(99, 101)).toEqual(Uint8Array.of(0, 8));
  });

  it('lets small trims and zeroes of others pass, and what comes behind these', async () => {
    await write(small, 0, MIB, 9);
    const all = [
      trim(),
      told('small trim', perform(small, Operation.TRIM, 0, MIB / 2)),
      told('zeroes', perform(small, Operation.WRITE_ZEROES, MIB / 2, 4 * BLOCK)),
      told('write', write(small, MIB / 4, BLOCK, 8)),
    ];
    await Promise.all(all);
    expect(order).toEqual(['small trim', 'zeroes', 'write', 'trim']);
    await expectTrimmed();
    expect(await read(small, MIB / 4, BLOCK)).toEqual(new Uint8Array(BLOCK).fill(8));
  });

  it('lets a snapshot pass, and goes on in the layer above', async () => {
    const trimming = trim();
    const freezing = told('snapshot', world.manager.freeze([layers[0]]));
    await Promise.all([trimming, freezing]);
    expect(order).toEqual(['snapshot', 'trim']);
    await expectTrimmed();
  });

  it('is over when its volume is closed', async () => {
    const trimming = trim();
    await Promise.all([trimming, told('close', large.close())]);
    expect(order).toEqual(['trim', 'close']);
    large = world.volume(layers[0]);
    await expectTrimmed();
  });

  it('lets what it does not touch pass on its own volume, and nothing that it does', async () => {
    const half = (LEAVES / 2) * LEAF_BLOCKS * BLOCK;
    const trimming = told('trim', perform(large, Operation.TRIM, 0, half));
    const behind = told('behind', write(large, half - BLOCK, 2 * BLOCK, 8));
    const apart = told('apart', write(large, half + BLOCK, BLOCK, 7));
    await Promise.all([trimming, behind, apart]);
    expect(order).toEqual(['apart', 'trim', 'behind']);
    expect((await read(large, half - BLOCK, 3 * BLOCK)).filter((_, at) => at % BLOCK === 0)).toEqual(
      Uint8Array.of(8, 8, 7),
    );
  });

  it.each([1, 2, 3])('keeps its order with all that overlaps it, snapshots between (seed %i)', async (seed) => {
    const random = new SeededRandom(seed);
    // One block of each leaf is looked at.
    const expected = new Uint8Array(LEAVES);
    for (let leaf = 0; leaf < LEAVES; leaf += 1) expected[leaf] = 1 + ((leaf - (leaf % 50)) % 200);
    const all: Promise<unknown>[] = [];
    let head = layers[0];
    for (let n = 0; n < 60; n += 1) {
      const first = random.below(LEAVES);
      const kind = random.below(6);
      const leaves = kind < 3 ? 1 : 1 + random.below(LEAVES - first);
      const [at, length] = [first * LEAF_BLOCKS * BLOCK, leaves * LEAF_BLOCKS * BLOCK];
      if (kind < 3) all.push(write(large, at, BLOCK, 201 + (n % 50), kind === 0 ? RequestFlag.FUA : 0));
      else all.push(perform(large, kind === 3 ? Operation.WRITE_ZEROES : Operation.TRIM, at, length));
      expected.fill(kind < 3 ? 201 + (n % 50) : 0, first, first + leaves);
      if (n % 20 === 10) [head] = await world.manager.freeze([head]);
    }
    await Promise.all(all);
    for (let leaf = 0; leaf < LEAVES; leaf += 1) {
      const [value] = await read(large, leaf * LEAF_BLOCKS * BLOCK, BLOCK);
      if (value !== expected[leaf]) expect([leaf, value]).toEqual([leaf, expected[leaf]]);
    }
  });

  it('comes before what was written behind it, and behind what was written before', async () => {
    const before = write(large, 0, BLOCK, 5);
    const trimming = trim();
    await Promise.all([before, trimming]);
    await write(large, LEAF_BLOCKS * BLOCK, BLOCK, 6);
    expect((await read(large, 0, 1))[0]).toBe(0);
    expect((await read(large, LEAF_BLOCKS * BLOCK, 1))[0]).toBe(6);
  });
});
