import { afterEach, describe, expect, it } from 'vitest';
import { Operation, RequestFlag } from '../../src/device/block-device.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MIB, perform, StoreWorld } from './store-world.js';

/** One volume beside the byte array that it must equal. */
interface Twin {
  layer: LayerId;
  handle: VolumeHandle;
  readonly key: Uint8Array | null;
  bytes: Uint8Array;
}

const seeds = process.env['GFS_SEEDS'] === undefined ? [1, 2, 3, 4] : process.env['GFS_SEEDS'].split(',').map(Number);
const STEPS = 250;

describe('the store equals a byte array', () => {
  let world: StoreWorld;
  afterEach(async (context) => {
    if (context.task.result?.state === 'fail') console.error(JSON.stringify(world.lines.slice(-12), null, 1));
    await world.destroy();
  });

  it.each(seeds)('through writes, holes, checkpoints, restarts and kills (seed %i)', async (seed) => {
    const random = new SeededRandom(seed);
    world = await StoreWorld.make({ store: { journalReplayBytesMax: 6 * MIB } });
    await world.open();
    const twins: Twin[] = [];
    for (const [n, blockBytes] of [4096, 4096, 16384].entries()) {
      const sizeBytes = (n + 1) * MIB;
      const layer = await world.manager.createLayer(blockBytes, sizeBytes);
      const key = n === 1 ? null : new Uint8Array(32).fill(n + 1);
      twins.push({ layer, handle: world.volume(layer, key), key, bytes: new Uint8Array(sizeBytes) });
    }
    const reopen = (): void => {
      for (const twin of twins) twin.handle = world.volume(twin.layer, twin.key);
    };
    for (let step = 0; step < STEPS; step += 1) {
      const twin = twins[random.below(twins.length)];
      const choice = random.below(100);
      if (choice < 80) {
        await Promise.all(Array.from({ length: 1 + random.below(8) }, () => change(twin, random)));
      } else if (choice < 90) {
        await check(twin, random);
      } else if (choice < 93) {
        await world.manager.checkpoint();
      } else if (choice < 95) {
        const grown = new Uint8Array(twin.bytes.length + twin.handle.blockBytes * (1 + random.below(64)));
        grown.set(twin.bytes);
        await twin.handle.expand(grown.length);
        twin.bytes = grown;
      } else if (choice < 97) {
        await world.close();
        await world.open();
        reopen();
      } else {
        await world.kill();
        await world.open();
        reopen();
      }
    }
    await world.kill();
    await world.open();
    reopen();
    for (const twin of twins) {
      const all = new Uint8Array(twin.bytes.length);
      await perform(twin.handle, Operation.READ, 0, all.length, { data: all });
      expect(Buffer.compare(all, twin.bytes)).toBe(0);
      expect(twin.handle.sizeBytes).toBe(twin.bytes.length);
    }
    await world.manager.checkpoint();
    for (const twin of twins) expect(twin.handle.allocatedBytes).toBe(mappedBytes(twin));
  });
});

/** A random change of both; overlapping ones go one after another so that the model knows their order. */
async function change(twin: Twin, random: SeededRandom): Promise<void> {
  const size = twin.bytes.length;
  const unit = random.below(3) === 0 ? 512 : twin.handle.blockBytes;
  const offset = random.below(size / unit) * unit;
  const length = Math.min(size - offset, unit * (1 + random.below(24)));
  const flags = random.below(10) === 0 ? RequestFlag.FUA : 0;
  const kind = random.below(10);
  if (kind < 7) {
    const data = random.bytes(length);
    if (random.below(5) === 0) data.fill(0, 0, Math.floor(length / 2));
    twin.bytes.set(data, offset);
    await perform(twin.handle, Operation.WRITE, offset, length, { data, flags });
  } else if (kind < 9) {
    twin.bytes.fill(0, offset, offset + length);
    await perform(twin.handle, Operation.WRITE_ZEROES, offset, length, { flags });
  } else {
    await perform(twin.handle, Operation.FLUSH, 0, 0);
  }
}

async function check(twin: Twin, random: SeededRandom): Promise<void> {
  const offset = random.below(twin.bytes.length);
  const length = Math.min(twin.bytes.length - offset, 1 + random.below(200_000));
  const data = new Uint8Array(length);
  await perform(twin.handle, Operation.READ, offset, length, { data });
  expect(Buffer.compare(data, twin.bytes.subarray(offset, offset + length))).toBe(0);
}

/** Blocks that hold anything but zeros: zero blocks cost nothing. */
function mappedBytes(twin: Twin): number {
  const { blockBytes } = twin.handle;
  let bytes = 0;
  for (let at = 0; at < twin.bytes.length; at += blockBytes) {
    if (twin.bytes.subarray(at, at + blockBytes).some((byte) => byte !== 0)) bytes += blockBytes;
  }
  return bytes;
}
