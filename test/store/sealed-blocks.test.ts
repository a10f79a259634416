import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Operation, RequestFlag } from '../../src/device/block-device.js';
import { BLOCK, storedBytesOf } from '../../src/io/record-layout.js';
import { segmentName } from '../../src/store/journal/segment-files.js';
import { offsetUnitsOf, slotOf } from '../../src/store/location.js';
import type { LayerId, PlainBlocks, VolumeHandle } from '../../src/volume/volume-host.js';
import { renumberSealed } from '../../src/store/sealed-blocks.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MIB, perform, StoreWorld } from './store-world.js';

const SECRET = new Uint8Array(32).fill(77);
const OTHER_SECRET = new Uint8Array(32).fill(78);
const SEALED = { flags: RequestFlag.SEALED };

async function worldOf(): Promise<StoreWorld> {
  const world = await StoreWorld.make();
  onTestFinished(() => world.destroy());
  await world.open();
  return world;
}

let epoch = 1;

function openWith(
  world: StoreWorld,
  layer: LayerId,
  keys: readonly (readonly [number, Uint8Array])[],
  plain: PlainBlocks = 'refused',
): VolumeHandle {
  epoch += 1;
  const copies = keys.map(([number, secret]) => ({ number, secret: secret.slice() }));
  return world.manager.open({ volumeId: `volume-${layer}`, layer, epoch, keys: copies, plain });
}

async function readPlain(volume: VolumeHandle, bytes: number, offset = 0): Promise<Buffer> {
  const data = Buffer.alloc(bytes);
  await perform(volume, Operation.READ, offset, bytes, { data });
  return data;
}

async function readSealed(volume: VolumeHandle, bytes: number, offset = 0): Promise<Buffer> {
  const data = Buffer.alloc((bytes / 64) * 65);
  await perform(volume, Operation.READ, offset, bytes, { ...SEALED, data });
  return data;
}

const writeSealed = (volume: VolumeHandle, sealed: Buffer, offset = 0): Promise<void> =>
  perform(volume, Operation.WRITE, offset, (sealed.length / 65) * 64, { ...SEALED, data: sealed });

/** A volume with random content, and that content. */
async function filled(world: StoreWorld, blockBytes: number, bytes: number): Promise<[VolumeHandle, Buffer]> {
  const volume = openWith(world, await world.manager.createLayer(blockBytes, bytes), [[5, SECRET]]);
  const content = Buffer.from(new SeededRandom(3).bytes(bytes));
  await perform(volume, Operation.WRITE, 0, bytes, { data: content });
  return [volume, content];
}

/** Changes a byte of a block where it lies. */
async function damage(world: StoreWorld, layer: LayerId, block: number, at: number): Promise<void> {
  const { map } = world.store.engine!;
  const location = map.locate(map.layers.get(layer)!, block);
  const path = join(world.path, 'journal', segmentName(slotOf(location)));
  const bytes = readFileSync(path);
  bytes[offsetUnitsOf(location) * 64 + at] ^= 1;
  writeFileSync(path, bytes);
  await Promise.resolve();
}

describe.each([4096, 65536])('sealed blocks of %i bytes', (blockBytes) => {
  it('move to another volume as they are, and survive a crash there', async () => {
    const world = await worldOf();
    const bytes = 40 * blockBytes;
    const [volume, content] = await filled(world, blockBytes, bytes);
    const sealed = await readSealed(volume, bytes);
    for (let at = 0; at < bytes; at += blockBytes) expect(sealed.includes(content.subarray(at, at + 16))).toBe(false);
    expect(renumberSealed(sealed, blockBytes, new Map([[5, 9]]), world.checksums)).toBe(40);
    const layer = await world.manager.createLayer(blockBytes, bytes);
    const copy = openWith(world, layer, [
      [9, SECRET],
      [10, OTHER_SECRET],
    ]);
    await writeSealed(copy, sealed);
    expect((await readPlain(copy, bytes)).equals(content)).toBe(true);
    expect((await readSealed(copy, bytes)).equals(sealed)).toBe(true);
    const own = Buffer.alloc(blockBytes, 1);
    await perform(copy, Operation.WRITE, blockBytes, blockBytes, { data: own });
    await perform(copy, Operation.FLUSH, 0, 0);
    await world.kill();
    await world.open();
    const again = openWith(world, layer, [
      [9, SECRET],
      [10, OTHER_SECRET],
    ]);
    own.copy(content, blockBytes);
    expect((await readPlain(again, bytes)).equals(content)).toBe(true);
    // New writes are under the volume's own key.
    const written = await readSealed(again, 2 * blockBytes);
    const numbers = [0, storedBytesOf(blockBytes)].map((at) => written.readUInt32LE(at + BLOCK.KEY_NUMBER_AT));
    expect(numbers).toEqual([9, 10]);
  });
});

describe('sealed blocks', () => {
  const bytes = 8 * 4096;

  it('are refused where they do not open: another place, another key, another byte', async () => {
    const world = await worldOf();
    const [volume] = await filled(world, 4096, bytes);
    const sealed = await readSealed(volume, bytes);
    const target = async (keys: readonly (readonly [number, Uint8Array])[]): Promise<VolumeHandle> =>
      openWith(world, await world.manager.createLayer(4096, 2 * bytes), keys);
    const good = await target([[5, SECRET]]);
    await expect(writeSealed(good, sealed, 4096)).rejects.toThrow('UNAUTHENTIC: block 1 ');
    await expect(writeSealed(await target([[5, OTHER_SECRET]]), sealed)).rejects.toThrow('UNAUTHENTIC: block 0 ');
    await expect(writeSealed(await target([[6, SECRET]]), sealed)).rejects.toThrow('UNAUTHENTIC: block 0 ');
    for (const at of [0, 20, 40, 44, 50, 54, 56, 61, 64, 4159]) {
      const damaged = Buffer.from(sealed);
      damaged[3 * 4160 + at] ^= 4;
      await expect(writeSealed(good, damaged), `byte ${at}`).rejects.toThrow('UNAUTHENTIC: block 3 ');
    }
    await expect(writeSealed(good, sealed, 512)).rejects.toThrow('RANGE');
    expect(good.allocatedBytes).toBe(0);
    await writeSealed(good, sealed);
    expect(good.allocatedBytes).toBe(bytes);
  });

  it('are not given where there is nothing, or nothing that is encrypted, or something damaged', async () => {
    const world = await worldOf();
    const layer = await world.manager.createLayer(4096, MIB);
    const volume = openWith(world, layer, [[5, SECRET]], 'written');
    await perform(volume, Operation.WRITE, 0, 4096, { data: Buffer.alloc(4096, 1) });
    await volume.rekey({ keys: [{ number: 5, secret: SECRET.slice() }], plain: 'read' }, () => Promise.resolve());
    await perform(volume, Operation.WRITE, 4096, 8192, { data: Buffer.alloc(8192, 1) });
    await expect(readSealed(volume, 4096)).rejects.toThrow('names a key that is not of this volume');
    await readSealed(volume, 8192, 4096);
    await expect(readSealed(volume, 12_288, 4096)).rejects.toThrow('block 3 holds nothing that is sealed');
    await damage(world, layer, 2, 100);
    await expect(readSealed(volume, 8192, 4096)).rejects.toThrow('block 2: the block does not authenticate');
  });

  it('without encryption are refused, also where such blocks may be', async () => {
    const world = await worldOf();
    const plain = openWith(world, await world.manager.createLayer(4096, MIB), [], 'written');
    await perform(plain, Operation.WRITE, 0, 4096, { data: Buffer.alloc(4096, 1) });
    const { map } = world.store.engine!;
    const [layer] = [...map.layers.values()];
    const location = map.locate(layer, 0);
    const file = readFileSync(join(world.path, 'journal', segmentName(slotOf(location))));
    const at = offsetUnitsOf(location) * 64;
    const sealed = Buffer.from(file.subarray(at, at + 4160));
    sealed.fill(0, BLOCK.GENERATION_AT, BLOCK.GENERATION_AT + 6);
    sealed.writeUInt32LE(world.checksums.crc32c(sealed, 0, 60, 0), 60);
    await expect(writeSealed(plain, sealed)).rejects.toThrow('UNAUTHENTIC: block 0 ');
    expect(renumberSealed(sealed, 4096, new Map([[5, 9]]), world.checksums)).toBe(0);
  });
});
