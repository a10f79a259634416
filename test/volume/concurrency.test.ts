import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Operation, RequestFlag } from '../../src/device/block-device.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MIB, perform, StoreWorld } from '../store/store-world.js';

const SETTLED = /^(done|CLOSED|IO|RANGE)/;

describe('requests that race', () => {
  let world: StoreWorld;
  let handle: VolumeHandle;
  let layer: LayerId;

  beforeEach(async () => {
    world = await StoreWorld.make({ store: { journalReplayBytesMax: 4 * MIB } });
    await world.open();
    layer = await world.manager.createLayer(4096, 16 * MIB);
    handle = world.volume(layer);
  });
  afterEach(async () => {
    await world.destroy();
  });

  const write = (offset: number, data: Uint8Array, flags = 0): Promise<void> =>
    perform(handle, Operation.WRITE, offset, data.length, { data, flags });

  async function read(offset: number, length: number, from = handle): Promise<Uint8Array> {
    const data = new Uint8Array(length).fill(0xee);
    await perform(from, Operation.READ, offset, length, { data });
    return data;
  }

  const outcome = (promise: Promise<unknown>): Promise<string> =>
    promise.then(
      () => 'done',
      (thrown: unknown) => (thrown as Error).message,
    );

  it('read-modify-writes of one block keep each other', async () => {
    // Each byte range of two blocks is written by one request; all go at once, whole and partial ones before them.
    const ranges = Array.from({ length: 256 }, (_, n) => n);
    const before = write(0, new Uint8Array(8192).fill(1));
    const parts = ranges.map((n) => write(n * 32, new Uint8Array(32).fill(2 + (n % 200))));
    await Promise.all([before, ...parts]);
    const data = await read(0, 8192);
    for (const n of ranges)
      expect(data.subarray(n * 32, n * 32 + 32).every((byte) => byte === 2 + (n % 200))).toBe(true);
  });

  it('a whole write after a partial one wins, and the other way round', async () => {
    const random = new SeededRandom(4);
    for (let round = 0; round < 60; round += 1) {
      const twin = await read(0, 16384);
      const requests: Promise<void>[] = [];
      for (let n = 0; n < 12; n += 1) {
        const whole = random.below(2) === 0;
        const offset = whole ? random.below(3) * 4096 : random.below(12_000);
        const length = whole ? 4096 : 1 + random.below(4300);
        const kind = random.below(4);
        if (kind === 0) {
          twin.fill(0, offset, offset + length);
          requests.push(perform(handle, Operation.WRITE_ZEROES, offset, length));
        } else {
          const data = random.bytes(length);
          twin.set(data, offset);
          requests.push(write(offset, data, kind === 1 ? RequestFlag.FUA : 0));
        }
      }
      // Accepted order is what counts: the requests overlap, so a model of it holds only if the range lock keeps it.
      await Promise.all(requests);
      expect(Buffer.compare(await read(0, 16384), twin)).toBe(0);
    }
  });

  it('with close: each is answered, and what was acknowledged is there', async () => {
    const random = new SeededRandom(5);
    for (let round = 0; round < 8; round += 1) {
      const acknowledged: number[] = [];
      const all = Array.from({ length: 60 }, (_, n) => {
        const kind = random.below(6);
        if (kind === 0) return outcome(read(random.below(1000) * 777, 5000));
        if (kind === 1) return outcome(perform(handle, Operation.FLUSH, 0, 0));
        if (kind === 2) return outcome(perform(handle, Operation.CACHE, 0, MIB));
        if (kind === 3) return outcome(write(8 * MIB + n * 8192 + 100, new Uint8Array(4500).fill(n + 1)));
        return outcome(
          write(n * 4096, new Uint8Array(4096).fill(n + 1)).then(() => {
            acknowledged.push(n);
          }),
        );
      });
      if (round % 2 === 0) await new Promise<void>((resolve) => setImmediate(resolve));
      const closing = handle.close();
      const late = outcome(write(0, new Uint8Array(4096).fill(9)));
      await closing;
      await handle.close();
      for (const each of await Promise.all(all)) expect(each).toMatch(SETTLED);
      expect(await late).toBe('CLOSED');
      handle = world.volume(layer);
      for (const n of acknowledged) expect((await read(n * 4096, 4096))[17]).toBe(n + 1);
    }
  });

  it('with dropLayer: each is answered, reads too, and the layer stays gone', async () => {
    await write(0, new Uint8Array(4 * MIB).fill(3));
    await world.manager.checkpoint();
    const writes = Array.from({ length: 40 }, (_, n) => outcome(write(n * 4096, new Uint8Array(4096).fill(n + 1))));
    const drop = world.manager.dropLayer(layer);
    const again = world.manager.dropLayer(layer);
    const more = Array.from({ length: 40 }, (_, n) => outcome(write(n * 4096 + 7, new Uint8Array(4096).fill(n + 1))));
    await Promise.all([drop, again]);
    const reads = Array.from({ length: 10 }, (_, n) => outcome(read(n * MIB, 65536)));
    for (const each of await Promise.all([...writes, ...more, ...reads])) expect(each).toMatch(SETTLED);
    await world.manager.checkpoint();
    expect(world.manager.layers()).toEqual([]);
    await world.kill();
    await world.open();
    expect(world.manager.layers()).toEqual([]);
    expect(await world.manager.createLayer(4096, MIB)).toBeGreaterThan(layer);
  });

  it('with expand: what is behind the old end reads as zeros and takes writes', async () => {
    const growing = [20, 24, 32].map((mib) => handle.expand(mib * MIB));
    const writes = Array.from({ length: 30 }, (_, n) => outcome(write(n * MIB, new Uint8Array(4096).fill(n + 1))));
    await Promise.all(growing);
    for (const each of await Promise.all(writes)) expect(each).toMatch(SETTLED);
    expect(handle.sizeBytes).toBe(32 * MIB);
    await write(32 * MIB - 100, new Uint8Array(100).fill(5));
    const tail = await read(32 * MIB - 200, 200);
    expect(tail.subarray(0, 100).every((byte) => byte === 0)).toBe(true);
    expect(tail.subarray(100).every((byte) => byte === 5)).toBe(true);
    expect(await outcome(read(32 * MIB - 1, 2))).toBe('RANGE');
    expect(await outcome(perform(handle, Operation.READ, 32 * MIB, 0))).toBe('done');
  });

  it('with checkpoints under load, on a journal that may hardly grow', async () => {
    let done = false;
    const checkpoints = (async () => {
      while (!done) await world.manager.checkpoint();
    })();
    const twin = new Uint8Array(16 * MIB);
    const random = new SeededRandom(6);
    for (let n = 0; n < 25; n += 1) {
      const batch = Array.from({ length: 8 }, () => {
        const offset = random.below(3000) * 4096;
        const data = random.bytes(4096 * (1 + random.below(40)));
        twin.set(data, offset);
        return write(offset, data);
      });
      await Promise.all(batch);
    }
    done = true;
    await checkpoints;
    expect(Buffer.compare(await read(0, 16 * MIB), twin)).toBe(0);
    await world.kill();
    await world.open();
    expect(Buffer.compare(await read(0, 16 * MIB, world.volume(layer)), twin)).toBe(0);
  });
});
