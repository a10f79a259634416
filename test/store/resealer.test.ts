import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import { FileError } from '../../src/io/file-error.js';
import { BLOCK } from '../../src/io/record-layout.js';
import { LEAF_BLOCKS } from '../../src/store/limits.js';
import { offsetUnitsOf, slotOf } from '../../src/store/location.js';
import { segmentName } from '../../src/store/journal/segment-files.js';
import type { Layer } from '../../src/store/map/layer.js';
import type { LayerId, PlainBlocks, ResealOptions, ResealOutcome, VolumeHandle } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { faultyFiles, type Fault } from './faulty-files.js';
import { CLEAR_TEXT, NumberedBlocks } from './numbered-blocks.js';
import { MIB, perform, StoreWorld, type WorldOptions } from './store-world.js';

const BYTES = 4096;

async function worldOf(store: { capacityBytes?: number } = {}, more: WorldOptions = {}): Promise<StoreWorld> {
  const world = await StoreWorld.make({ store: { segmentBytes: MIB, mapCacheBytes: MIB, ...store }, ...more });
  onTestFinished(() => world.destroy());
  await world.open();
  return world;
}

const secretOf = (number: number): { number: number; secret: Uint8Array } => ({
  number,
  secret: new Uint8Array(32).fill(number),
});

let epoch = 1000;

function openWith(
  world: StoreWorld,
  layer: number,
  numbers: readonly number[],
  plain?: PlainBlocks,
  readOnly = false,
): VolumeHandle {
  epoch += 1;
  const keys = numbers.map(secretOf);
  const volume = { volumeId: `volume-${layer}`, layer: layer as LayerId, epoch, readOnly, keys };
  return world.manager.open(plain === undefined ? volume : { ...volume, plain });
}

const rekey = (volume: VolumeHandle, numbers: readonly number[], plain?: PlainBlocks): Promise<void> => {
  const keys = numbers.map(secretOf);
  return volume.rekey(plain === undefined ? { keys } : { keys, plain }, () => Promise.resolve());
};

const reseal = (
  volume: VolumeHandle,
  numbers: readonly number[],
  under: number,
  more: Partial<ResealOptions> = {},
): Promise<ResealOutcome> =>
  volume.reseal({
    ...{ numbers, under, own: () => [], signal: new AbortController().signal, told: () => undefined },
    ...more,
  });

interface Live {
  readonly layer: number;
  readonly block: number;
  readonly location: number;
  readonly key: number;
}

/** Every block that the map names, with the key number of its header: all in one turn, for the cleaner moves them. */
async function liveBlocks(world: StoreWorld): Promise<Live[]> {
  const { engine } = world.store;
  if (engine === null) throw new Error('no engine');
  const layers = [...engine.map.layers.values()].filter(({ gone }) => !gone);
  const leavesOf = ({ sizeBlocks }: Layer): number[] =>
    Array.from({ length: Math.ceil(sizeBlocks / LEAF_BLOCKS) }, (_, leaf) => leaf);
  for (const layer of layers) await engine.map.prefetchOwn([layer], leavesOf(layer));
  const files = new Map<number, Buffer>();
  const found: Live[] = [];
  for (const layer of layers) {
    for (const leaf of leavesOf(layer)) {
      for (const [n, location] of (engine.map.views.own(layer, leaf) ?? new Float64Array(0)).entries()) {
        if (location <= 0) continue;
        const slot = slotOf(location);
        const file = files.get(slot) ?? readFileSync(join(world.path, 'journal', segmentName(slot)));
        files.set(slot, file);
        const at = offsetUnitsOf(location) * (layer.blockBytes / 64);
        found.push({
          layer: layer.id,
          block: leaf * LEAF_BLOCKS + n,
          location,
          key: file.readUInt32LE(at + BLOCK.KEY_NUMBER_AT),
        });
      }
    }
  }
  return found;
}

const keysInUse = async (world: StoreWorld): Promise<number[]> =>
  [...new Set((await liveBlocks(world)).map(({ key }) => key))].sort((a, b) => a - b);

/** (key, salt, nonce) of every block that lies in any segment; one that was copied as it is has one tag as well. */
async function checkNonces(world: StoreWorld): Promise<void> {
  const tags = new Map<string, string>();
  for (const { location } of await liveBlocks(world)) {
    const file = readFileSync(join(world.path, 'journal', segmentName(slotOf(location))));
    const at = offsetUnitsOf(location) * 64;
    const cut = (from: number, length: number): string => file.toString('hex', at + from, at + from + length);
    const identity = cut(BLOCK.KEY_NUMBER_AT, 4) + cut(BLOCK.SALT_AT, 16) + cut(BLOCK.NONCE_AT, 12);
    const tag = cut(BLOCK.TAG_AT, 16);
    expect(tags.get(identity) ?? tag).toBe(tag);
    tags.set(identity, tag);
  }
}

const inJournal = (world: StoreWorld, text: string): string[] =>
  readdirSync(join(world.path, 'journal')).filter((name) =>
    readFileSync(join(world.path, 'journal', name)).includes(text),
  );

describe('the resealer', () => {
  it('seals what a volume and its snapshots hold under the new key, so that the old one is not needed', async () => {
    const world = await worldOf();
    const layer = await world.manager.createLayer(BYTES, 6 * MIB);
    let volume = openWith(world, layer, [1]);
    const content = new NumberedBlocks((6 * MIB) / BYTES, 1);
    await content.fill(volume);
    const [head] = await world.manager.freeze([layer]);
    const then = content.shows.slice();
    await content.overwrite(volume, 800);
    let snapshot = openWith(world, layer, [1, 2], undefined, true);
    await rekey(volume, [1, 2]);
    await content.overwrite(volume, 200);
    const steps: number[] = [];
    const outcome = await reseal(volume, [1], 2, {
      own: () => [layer],
      told: ({ lookedBytes, totalBytes }) => steps.push(lookedBytes / totalBytes),
    });
    expect(outcome).toMatchObject({ gone: [1], sharedWith: [], badBlocks: 0 });
    expect(outcome.sealedBlocks).toBeGreaterThan(then.length);
    expect(steps.at(-1)).toBe(1);
    expect(await keysInUse(world)).toEqual([2]);
    await checkNonces(world);
    await content.check(volume);
    await content.check(snapshot, then);
    await world.kill();
    await world.open();
    volume = openWith(world, head, [2]);
    snapshot = openWith(world, layer, [2], undefined, true);
    await content.check(volume);
    await content.check(snapshot, then);
    // Once more: there is nothing to do.
    expect(await reseal(volume, [1], 2, { own: () => [layer] })).toMatchObject({ gone: [1], sealedBlocks: 0 });
  });

  it.each([1, 2, 3])('survives kills at any point, writes and the cleaner beside it (seed %i)', async (seed) => {
    const world = await worldOf({ capacityBytes: 32 * MIB });
    const random = new SeededRandom(seed);
    const layer = await world.manager.createLayer(BYTES, 10 * MIB);
    let volume = openWith(world, layer, [1]);
    const content = new NumberedBlocks((10 * MIB) / BYTES, seed);
    await content.fill(volume);
    await rekey(volume, [1, 2]);
    let done = false;
    for (let round = 0; !done; round += 1) {
      const ending = new AbortController();
      const steps = random.below(4);
      let told = 0;
      const run = reseal(volume, [1], 2, {
        signal: ending.signal,
        told: () => {
          told += 1;
          if (told > steps && round < 5) ending.abort();
        },
      });
      await content.overwrite(volume, 400);
      const outcome = await run;
      done = outcome.gone.includes(1);
      await content.check(volume);
      if (round % 2 === 0) await world.kill();
      else await world.close();
      await world.open();
      volume = openWith(world, layer, done ? [2] : [1, 2]);
      await content.check(volume);
    }
    expect(await keysInUse(world)).toEqual([2]);
    await checkNonces(world);
    await world.store.cleaned();
    await content.check(volume);
    expect(world.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('leaves what a clone shows as it is until the clone is gone', async () => {
    const world = await worldOf();
    const layer = await world.manager.createLayer(BYTES, 2 * MIB);
    const volume = openWith(world, layer, [1]);
    const content = new NumberedBlocks((2 * MIB) / BYTES, 1);
    await content.fill(volume);
    const [head] = await world.manager.freeze([layer]);
    const then = content.shows.slice();
    const clone = await world.manager.createLayer(BYTES, 2 * MIB, layer);
    const other = openWith(world, clone, [1, 7]);
    await content.overwrite(volume, 80);
    await rekey(volume, [1, 2]);
    const own = (): number[] => [layer];
    expect(await reseal(volume, [1], 2, { own })).toMatchObject({ gone: [], sharedWith: [clone] });
    const live = await liveBlocks(world);
    expect(new Set(live.filter((each) => each.layer === layer).map(({ key }) => key))).toEqual(new Set([1]));
    expect(new Set(live.filter((each) => each.layer === head).map(({ key }) => key))).toEqual(new Set([2]));
    await content.check(other, then);
    await content.check(volume);
    await other.close();
    await world.manager.dropLayer(clone);
    expect(await reseal(volume, [1], 2, { own })).toMatchObject({ gone: [1], sharedWith: [] });
    expect(await keysInUse(world)).toEqual([2]);
    await content.check(volume);
  });

  it('comes back to what it left to a clone that goes meanwhile', async () => {
    const world = await worldOf();
    const size = 8 * MIB;
    const layer = await world.manager.createLayer(BYTES, size);
    const volume = openWith(world, layer, [1]);
    const content = new NumberedBlocks(size / BYTES, 1);
    await content.fill(volume);
    await world.manager.freeze([layer]);
    const then = content.shows.slice();
    const clone = await world.manager.createLayer(BYTES, size, layer);
    await content.fill(volume);
    await rekey(volume, [1, 2]);
    const drops: Promise<void>[] = [];
    const outcome = await reseal(volume, [1], 2, {
      own: () => [layer],
      told: () => {
        if (drops.length === 0) drops.push(world.manager.dropLayer(clone));
      },
    });
    await Promise.all(drops);
    expect(outcome).toMatchObject({ gone: [1], sharedWith: [] });
    expect(await keysInUse(world)).toEqual([2]);
    await content.check(openWith(world, layer, [2], undefined, true), then);
    await content.check(volume);
  });

  it('asks anew whose layers are when the store was reopened, since one that was lost may be a clone now', async () => {
    let isFailing = false;
    const fault: Fault = (call, path) => {
      if (!isFailing || !call.startsWith('append') || !path.includes('segment-')) return null;
      isFailing = false;
      return new FileError('injected', { code: 'IO', path, errno: 'EIO' });
    };
    const world = await worldOf({}, { files: (real) => faultyFiles(real, fault) });
    const layer = await world.manager.createLayer(BYTES, 4 * MIB);
    const volume = openWith(world, layer, [1]);
    const content = new NumberedBlocks((4 * MIB) / BYTES, 1);
    await content.fill(volume);
    await world.manager.freeze([layer]);
    const clone = await world.manager.createLayer(BYTES, 4 * MIB, layer);
    await rekey(volume, [1, 2]);
    const first = world.store.engine;
    const failed: Promise<unknown>[] = [];
    const outcome = await reseal(volume, [1], 2, {
      own: () => (world.store.engine === first ? [layer, clone] : [layer]),
      told: () => {
        if (failed.length > 0) return;
        isFailing = true;
        failed.push(content.write(volume, 0, 1).catch(() => undefined));
      },
    });
    await Promise.all(failed);
    expect(world.store.engine).not.toBe(first);
    expect(outcome).toMatchObject({ gone: [], sharedWith: [clone] });
  });

  it('leaves a block that is damaged where it is, says so, and keeps its key', async () => {
    const world = await worldOf();
    const layer = await world.manager.createLayer(BYTES, MIB);
    const volume = openWith(world, layer, [1]);
    const content = new NumberedBlocks(MIB / BYTES, 1);
    await content.fill(volume);
    await perform(volume, Operation.FLUSH, 0, 0);
    const [first, second] = (await liveBlocks(world)).filter(({ block }) => block === 5 || block === 77);
    for (const [{ location }, at] of [[first, 200] as const, [second, 5] as const]) {
      const path = join(world.path, 'journal', segmentName(slotOf(location)));
      const bytes = readFileSync(path);
      bytes[offsetUnitsOf(location) * 64 + at] ^= 1;
      writeFileSync(path, bytes);
    }
    await rekey(volume, [1, 2]);
    expect(await reseal(volume, [1], 2)).toMatchObject({ gone: [], badBlocks: 2 });
    const old = (await liveBlocks(world)).filter(({ key }) => key === 1);
    expect(old.map(({ block }) => block)).toEqual([5, 77]);
    // Overwritten, it stands in nobody's way any more.
    await content.write(volume, 5, 1);
    await content.write(volume, 77, 1);
    expect(await reseal(volume, [1], 2)).toMatchObject({ gone: [1], badBlocks: 0 });
    await content.check(volume);
  });

  it('takes what was in clear off the disk when encryption is turned on', async () => {
    const world = await worldOf();
    const layer = await world.manager.createLayer(BYTES, 4 * MIB);
    const other = await world.manager.createLayer(BYTES, 4 * MIB);
    let volume = openWith(world, layer, [], 'written');
    const beside = openWith(world, other, [9]);
    const content = new NumberedBlocks((4 * MIB) / BYTES, 1);
    const next = new NumberedBlocks((4 * MIB) / BYTES, 2);
    await content.fill(volume);
    await next.fill(beside);
    await content.overwrite(volume, 1200);
    await world.store.cleaned();
    await content.overwrite(volume, 400);
    expect(inJournal(world, CLEAR_TEXT)).not.toEqual([]);
    await rekey(volume, [1], 'read');
    await content.overwrite(volume, 40);
    expect(await reseal(volume, [0], 1)).toMatchObject({ gone: [0], heldSegments: 0 });
    expect(inJournal(world, CLEAR_TEXT)).toEqual([]);
    expect((await keysInUse(world)).sort()).toEqual([1, 9]);
    await content.check(volume);
    await next.check(beside);
    await world.kill();
    await world.open();
    volume = openWith(world, layer, [1], 'refused');
    await content.check(volume);
    expect(inJournal(world, CLEAR_TEXT)).toEqual([]);
  });

  it('needs no key any more when encryption was turned off', async () => {
    const world = await worldOf();
    const layer = await world.manager.createLayer(BYTES, 2 * MIB);
    const volume = openWith(world, layer, [1]);
    const content = new NumberedBlocks((2 * MIB) / BYTES, 1);
    await content.fill(volume);
    await rekey(volume, [1], 'written');
    expect(await reseal(volume, [1], 0)).toMatchObject({ gone: [1] });
    expect(await keysInUse(world)).toEqual([0]);
    await world.close();
    await world.open();
    await content.check(openWith(world, layer, [], 'written'));
  });

  it('proves nothing once its keys are changed, and ends when its volume is closed', async () => {
    const world = await worldOf();
    const layer = await world.manager.createLayer(BYTES, 20 * MIB);
    const volume = openWith(world, layer, [1]);
    const content = new NumberedBlocks((20 * MIB) / BYTES, 1);
    await content.fill(volume);
    await rekey(volume, [1, 2]);
    const changing: Promise<void>[] = [];
    const outcome = await reseal(volume, [1], 2, {
      told: () => {
        if (changing.length === 0) changing.push(rekey(volume, [1, 2, 3]));
      },
    });
    expect(outcome).toMatchObject({ gone: [] });
    await Promise.all(changing);
    const closing: Promise<void>[] = [];
    const run = reseal(volume, [1, 2], 3, {
      told: () => {
        closing.push(volume.close());
      },
    });
    await expect(run).rejects.toMatchObject({ fault: { code: 'CLOSED' } });
    await Promise.all(closing);
    const again = openWith(world, layer, [1, 2, 3]);
    await content.check(again);
    expect(await reseal(again, [1, 2], 3)).toMatchObject({ gone: [1, 2] });
    await content.check(again);
  });

  it('seals while snapshots freeze the head, merges go on and larger blocks are there', async () => {
    const world = await worldOf();
    const size = 16 * MIB;
    const layer = await world.manager.createLayer(BYTES * 4, size);
    const volume = openWith(world, layer, [1]);
    const own: LayerId[] = [layer];
    const fill = async (byte: number): Promise<void> => {
      for (let at = 0; at < size; at += MIB) {
        await perform(volume, Operation.WRITE, at, MIB, { data: new Uint8Array(MIB).fill(byte) });
      }
    };
    await fill(1);
    const heads = [layer];
    const freeze = async (): Promise<void> => {
      const [next] = await world.manager.freeze([heads[heads.length - 1]]);
      heads.push(next);
      own.push(next);
    };
    await freeze();
    await perform(volume, Operation.WRITE, 0, 8 * MIB, { data: new Uint8Array(8 * MIB).fill(2) });
    await rekey(volume, [1, 2]);
    const beside: Promise<void>[] = [];
    const outcome = await reseal(volume, [1], 2, {
      own: () => own,
      told: () => {
        if (beside.length > 0) return;
        const work = async (): Promise<void> => {
          await freeze();
          await perform(volume, Operation.WRITE, 4 * MIB, MIB, { data: new Uint8Array(MIB).fill(3) });
          await world.manager.dropLayer(layer);
          await world.store.merged();
        };
        beside.push(work());
      },
    });
    await Promise.all(beside);
    expect(outcome).toMatchObject({ gone: [1], badBlocks: 0 });
    expect(await keysInUse(world)).toEqual([2]);
    const into = new Uint8Array(size);
    await perform(volume, Operation.READ, 0, size, { data: into });
    expect([into[0], into[4 * MIB], into[7 * MIB], into[9 * MIB]]).toEqual([2, 3, 2, 1]);
  });

  it('makes room for itself on a journal that is nearly full', async () => {
    const world = await worldOf({ capacityBytes: 24 * MIB });
    const layer = await world.manager.createLayer(BYTES, 13 * MIB);
    const volume = openWith(world, layer, [1]);
    const content = new NumberedBlocks((13 * MIB) / BYTES, 1);
    await content.fill(volume);
    await content.overwrite(volume, 2000);
    await rekey(volume, [1, 2]);
    expect(await reseal(volume, [1], 2)).toMatchObject({ gone: [1] });
    await content.check(volume);
    await content.overwrite(volume, 2000);
    expect(await keysInUse(world)).toEqual([2]);
    await content.check(volume);
  });
});
