import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import { FileError } from '../../src/io/file-error.js';
import type { Files } from '../../src/io/files.js';
import { BLOCK_INTS, BLOCK_NUMBERS, type SealBatch } from '../../src/io/seal-batch.js';
import type { LayerId, VolumeHandle, VolumeKeys } from '../../src/volume/volume-host.js';
import { faultyFiles } from '../store/faulty-files.js';
import { MIB, perform, StoreWorld } from '../store/store-world.js';

const BLOCK = 4096;
const secretOf = (number: number): Uint8Array => new Uint8Array(32).fill(number);

/** Every block that was sealed: the sealing key's id, epoch and counter. */
class Ledger {
  readonly rows: { sealingKey: number; nonce: string; index: number }[] = [];

  readonly watch = (real: Files): Files =>
    new Proxy(real, {
      get: (target, name) => {
        const method: unknown = Reflect.get(target, name);
        if (typeof method !== 'function') return method;
        return (...of: unknown[]): unknown => {
          if (name === 'appendNow' || name === 'appendLater') this.#record(of[2] as SealBatch);
          return Reflect.apply(method, target, of) as unknown;
        };
      },
    });

  #record(batch: SealBatch): void {
    for (let row = 0; row < batch.blockCount; row += 1) {
      const [sealingKey, epoch] = [batch.blockInts[row * BLOCK_INTS + 2], batch.blockInts[row * BLOCK_INTS + 3]];
      const [index, counter] = batch.blockNumbers.subarray(row * BLOCK_NUMBERS);
      this.rows.push({ sealingKey, nonce: `${epoch}/${counter}`, index });
    }
  }
}

describe('new keys for a volume in use', () => {
  let world: StoreWorld;
  let ledger: Ledger;
  let layer: LayerId;
  /** What each sealing key stands for. */
  let sealing: Map<number, string>;
  /** Whether nothing can be made durable. */
  let fails: boolean;

  beforeEach(async () => {
    ledger = new Ledger();
    sealing = new Map();
    fails = false;
    world = await StoreWorld.make({
      files: (real) =>
        faultyFiles(ledger.watch(real), (call, path) =>
          fails && call === 'sync' && path.includes('journal')
            ? new FileError('gone', { code: 'IO', path, errno: 'EIO' })
            : null,
        ),
    });
    const create = world.keys.createSealingKey.bind(world.keys);
    world.keys.createSealingKey = (keyring, number, salt) => {
      const id = create(keyring, number, salt);
      sealing.set(id, `${number}/${Buffer.from(salt).toString('hex')}`);
      return id;
    };
    await world.open();
    layer = await world.manager.createLayer(BLOCK, 16 * MIB);
  });
  afterEach(async () => {
    await world.destroy();
  });

  const numberOf = (sealingKey: number): number => Number(sealing.get(sealingKey)?.split('/')[0]);
  const keysOf = (numbers: readonly number[], plain?: VolumeKeys['plain']): VolumeKeys => ({
    keys: numbers.map((number) => ({ number, secret: secretOf(number) })),
    ...(plain === undefined ? {} : { plain }),
  });
  const open = (keys: VolumeKeys, epoch: number): VolumeHandle =>
    world.manager.open({ volumeId: 'v', layer, epoch, ...keys });
  const write = (handle: VolumeHandle, block: number, byte: number): Promise<void> =>
    perform(handle, Operation.WRITE, block * BLOCK, BLOCK, { data: new Uint8Array(BLOCK).fill(byte) });
  const read = async (handle: VolumeHandle, block: number): Promise<number> => {
    const data = new Uint8Array(BLOCK);
    await perform(handle, Operation.READ, block * BLOCK, BLOCK, { data });
    expect(new Set(data).size).toBe(1);
    return data[0];
  };
  const now = (): Promise<void> => Promise.resolve();

  /** (key, nonce) pairs, over all sessions. */
  function expectNoPairTwice(): void {
    const pairs = ledger.rows.map(({ sealingKey, nonce }) => `${sealing.get(sealingKey) ?? ''}/${nonce}`);
    expect(new Set(pairs).size).toBe(pairs.length);
  }

  it('seals with the new one at once, reads what the old one sealed, and wipes the secrets it was given', async () => {
    const handle = open(keysOf([1]), 1);
    await write(handle, 0, 10);
    const next = keysOf([1, 2]);
    await handle.rekey(next, now);
    expect(next.keys.every(({ secret }) => secret.every((byte) => byte === 0))).toBe(true);
    await write(handle, 1, 11);
    expect(ledger.rows.map((row) => numberOf(row.sealingKey))).toEqual([1, 2]);
    expect([await read(handle, 0), await read(handle, 1)]).toEqual([10, 11]);
    expectNoPairTwice();
  });

  it('fails and reorders no request under load', async () => {
    const handle = open(keysOf([1]), 1);
    const blocks = 64;
    let stop = false;
    let written = 0;
    const last = new Array<number>(blocks).fill(0);
    const writer = async (block: number): Promise<void> => {
      for (let byte = 1; !stop; byte = (byte % 200) + 1) {
        // Two at once: the second must win, whatever key either gets.
        await Promise.all([write(handle, block, 255), write(handle, block, byte)]);
        last[block] = byte;
        expect(await read(handle, block)).toBe(byte);
        written += 2;
      }
    };
    const load = Promise.all(Array.from({ length: blocks }, (_, block) => writer(block)));
    for (let number = 2; number <= 12; number += 1) {
      const numbers = Array.from({ length: number }, (_, at) => at + 1);
      const before = written;
      await handle.rekey(keysOf(numbers), now);
      const from = ledger.rows.length;
      while (written < before + 4 * blocks) await new Promise((resolve) => setImmediate(resolve));
      // When it resolves, nothing under the key before is on its way any more.
      const after = ledger.rows.slice(from).map((row) => numberOf(row.sealingKey));
      expect(new Set(after)).toEqual(new Set([number]));
    }
    stop = true;
    await load;
    expectNoPairTwice();
    await handle.close();
    const again = open(keysOf(Array.from({ length: 12 }, (_, at) => at + 1)), 2);
    for (let block = 0; block < blocks; block += 1) expect(await read(again, block)).toBe(last[block]);
    expectNoPairTwice();
  });

  it('holds over a store that reopens meanwhile: no pair twice, and what was acknowledged is there', async () => {
    const handle = open(keysOf([1]), 1);
    await write(handle, 0, 1);
    for (let number = 2; number <= 5; number += 1) {
      fails = true;
      // Its bytes cannot be made durable, so the store reopens from what is on the disk, and it waits.
      const lost = perform(handle, Operation.FLUSH, 0, 0).catch(() => undefined);
      const numbers = Array.from({ length: number }, (_, at) => at + 1);
      const writes = Array.from({ length: 8 }, (_, n) => write(handle, 8 + n, number).catch(() => undefined));
      const rekeyed = handle.rekey(keysOf(numbers), async () => {
        while (number % 2 === 0 && world.manager.report().state !== 'reopening') {
          await new Promise((resolve) => setImmediate(resolve));
        }
      });
      await lost;
      fails = false;
      await Promise.all([rekeyed, ...writes]);
      const from = ledger.rows.length;
      await write(handle, number, number);
      expect(ledger.rows.slice(from).map((row) => numberOf(row.sealingKey))).toEqual([number]);
      expect(await read(handle, number)).toBe(number);
    }
    expectNoPairTwice();
    expect(new Set([...sealing.values()].map((text) => text.split('/')[1])).size).toBeGreaterThan(2);
  });

  it('changes nothing when the decision is not made', async () => {
    const handle = open(keysOf([1]), 1);
    const failure = new Error('the row could not be stored');
    await expect(handle.rekey(keysOf([1, 2]), () => Promise.reject(failure))).rejects.toBe(failure);
    await write(handle, 0, 7);
    expect(numberOf(ledger.rows[0].sealingKey)).toBe(1);
    expect(await read(handle, 0)).toBe(7);
  });

  it('goes on counting nonces when a key comes back', async () => {
    const handle = open(keysOf([1]), 1);
    for (let round = 0; round < 6; round += 1) {
      await write(handle, round, 1);
      await handle.rekey(keysOf(round % 2 === 0 ? [1, 2] : [2, 1]), now);
      await write(handle, round, 2);
    }
    expect(new Set(ledger.rows.map((row) => numberOf(row.sealingKey)))).toEqual(new Set([1, 2]));
    expectNoPairTwice();
  });

  it('turns encryption on: old blocks stay plain and readable, until the keyring allows none', async () => {
    const handle = open(keysOf([]), 1);
    await write(handle, 0, 1);
    await handle.rekey(keysOf([5], 'read'), now);
    await write(handle, 1, 2);
    expect(ledger.rows.map((row) => numberOf(row.sealingKey))).toEqual([0, 5]);
    expect([await read(handle, 0), await read(handle, 1)]).toEqual([1, 2]);
    await handle.rekey(keysOf([5], 'refused'), now);
    await expect(read(handle, 0)).rejects.toThrow(/IO/);
    expect(await read(handle, 1)).toBe(2);
  });

  it('turns encryption off: new blocks are plain, old ones stay encrypted and readable, also after a restart', async () => {
    const handle = open(keysOf([5]), 1);
    await write(handle, 0, 1);
    await handle.rekey(keysOf([5], 'written'), now);
    await write(handle, 1, 2);
    expect(ledger.rows.map((row) => numberOf(row.sealingKey))).toEqual([5, 0]);
    await world.close();
    await world.open();
    const again = open(keysOf([5], 'written'), 2);
    expect([await read(again, 0), await read(again, 1)]).toEqual([1, 2]);
    expectNoPairTwice();
  });

  it('does not seal with a key that is no longer held once the volume is closed', async () => {
    const handle = open(keysOf([1]), 1);
    await handle.close();
    await expect(handle.rekey(keysOf([1, 2]), now)).rejects.toMatchObject({ code: 'CLOSED' });
    const other = open(keysOf([1]), 2);
    await expect(other.rekey(keysOf([1, 2]), () => other.close())).rejects.toMatchObject({ code: 'CLOSED' });
  });
});
