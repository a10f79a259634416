import { describe, expect, it } from 'vitest';
import type { FileId } from '../../src/io/files.js';
import { OpenStatus } from '../../src/io/open-batch.js';
import { BLOCK, storedBytesOf } from '../../src/io/record-layout.js';
import { DATA_KEY, GENERATION, pattern, SALT, useKernels } from './kernel-fixture.js';
import { fixHeaderCrc } from './reference-blocks.js';

const STORED = storedBytesOf(4096);
const EBADF = -9;

describe('read and open', () => {
  const kernels = useKernels();

  const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

  /** Every one of these changes is tried on its own; the block must be refused and nothing of it shown. */
  async function refusesChange(change: (sealed: Uint8Array) => void, row = { offset: 0, index: 0 }): Promise<number> {
    const intact = kernels.bytes();
    const changed = intact.slice();
    change(changed);
    expect(Buffer.compare(changed, intact)).not.toBe(0);
    kernels.setBytes(changed);
    const opened = await kernels.openOne(row);
    kernels.setBytes(intact);
    expect(opened.status).not.toBe(OpenStatus.OK);
    expect(isZero(opened.plain)).toBe(true);
    return opened.status;
  }

  /** Leaves exactly one sealed block in the file. */
  function onlyBlock(key: 'encrypting' | 'plain'): Uint8Array {
    const at = kernels.append(0, kernels[key], pattern(4096));
    const sealed = kernels.bytes().slice(at, at + STORED);
    kernels.setBytes(sealed);
    return sealed;
  }

  for (const key of ['encrypting', 'plain'] as const) {
    it(`refuses a change to any byte of the header (${key})`, async () => {
      onlyBlock(key);
      for (let at = 0; at < 64; at += 1) {
        const status = await refusesChange((sealed) => {
          sealed[at] = (sealed[at] ?? 0) ^ 0x40;
        });
        expect(status).toBe(OpenStatus.HEADER);
      }
    });

    it(`refuses a changed header whose checksum was made right again (${key})`, async () => {
      onlyBlock(key);
      // Everything but the generation, which has a test of its own, and the checksum.
      for (let at = 0; at < 60; at += 1) {
        if (at >= BLOCK.GENERATION_AT && at < BLOCK.FLAGS_AT) continue;
        await refusesChange((sealed) => {
          sealed[at] = (sealed[at] ?? 0) ^ 0x01;
          fixHeaderCrc(sealed);
        });
      }
    });

    it(`refuses a flipped bit anywhere in the data (${key})`, async () => {
      onlyBlock(key);
      for (let at = 64; at < STORED; at += 151) {
        const status = await refusesChange((sealed) => {
          sealed[at] = (sealed[at] ?? 0) ^ (1 << (at % 8));
        });
        expect(status).toBe(OpenStatus.UNAUTHENTIC);
      }
    });

    it(`refuses another index (${key})`, async () => {
      onlyBlock(key);
      const opened = await kernels.openOne({ offset: 0, index: 1 });
      expect(opened.status).toBe(OpenStatus.UNAUTHENTIC);
      expect(isZero(opened.plain)).toBe(true);
    });

    it(`refuses another generation, and says so (${key})`, async () => {
      onlyBlock(key);
      const opened = await kernels.openOne({ offset: 0, index: 0, generation: GENERATION + 1 });
      expect(opened.status).toBe(OpenStatus.GENERATION);
      expect(isZero(opened.plain)).toBe(true);
    });

    it(`opens a block whose generation was rewritten, as relocation does (${key})`, async () => {
      const sealed = onlyBlock(key);
      new DataView(sealed.buffer).setUint16(BLOCK.GENERATION_AT + 4, 0xbeef, true);
      fixHeaderCrc(sealed);
      kernels.setBytes(sealed);
      const generation = (GENERATION % 2 ** 32) + 0xbeef * 2 ** 32;
      const opened = await kernels.openOne({ offset: 0, index: 0, generation });
      expect(opened.status).toBe(OpenStatus.OK);
      expect(Buffer.compare(opened.plain, pattern(4096))).toBe(0);
    });

    it(`refuses a block of another size (${key})`, async () => {
      onlyBlock(key);
      kernels.setBytes(Buffer.concat([kernels.bytes(), new Uint8Array(STORED)]));
      const opened = await kernels.openOne({ offset: 0, index: 0, plainBytes: 8192 });
      expect(opened.status).toBe(OpenStatus.HEADER);
      expect(isZero(opened.plain)).toBe(true);
      const cut = await kernels.openOne({ offset: 0, index: 0, storedBytes: STORED - 64 });
      expect(cut.status).toBe(OpenStatus.HEADER);
      expect(isZero(cut.plain)).toBe(true);
    });
  }

  it('refuses a plain block where the keyring allows none', async () => {
    onlyBlock('plain');
    const opened = await kernels.openOne({ offset: 0, index: 0, keyring: kernels.strict });
    expect(opened.status).toBe(OpenStatus.KEY);
    expect(isZero(opened.plain)).toBe(true);
    expect((await kernels.openOne({ offset: 0, index: 0, keyring: kernels.lenient })).status).toBe(OpenStatus.OK);
  });

  it('gives a strict keyring no plain sealing key', () => {
    expect(() => kernels.keys.createSealingKey(kernels.strict, 0, SALT)).toThrow(/plain/);
  });

  it('refuses a key number that the keyring does not hold, and a wrong key under the right number', async () => {
    onlyBlock('encrypting');
    const empty = kernels.keys.createKeyring(false);
    const wrong = kernels.keys.createKeyring(false);
    kernels.keys.addDataKey(wrong, 1, new Uint8Array(32).fill(1));
    expect((await kernels.openOne({ offset: 0, index: 0, keyring: empty })).status).toBe(OpenStatus.KEY);
    const opened = await kernels.openOne({ offset: 0, index: 0, keyring: wrong });
    expect(opened.status).toBe(OpenStatus.UNAUTHENTIC);
    expect(isZero(opened.plain)).toBe(true);
  });

  it('takes a data key that comes after the first read', async () => {
    onlyBlock('encrypting');
    const keyring = kernels.keys.createKeyring(false);
    expect((await kernels.openOne({ offset: 0, index: 0, keyring })).status).toBe(OpenStatus.KEY);
    kernels.keys.addDataKey(keyring, 1, DATA_KEY);
    expect((await kernels.openOne({ offset: 0, index: 0, keyring })).status).toBe(OpenStatus.OK);
    expect(() => kernels.keys.addDataKey(keyring, 1, DATA_KEY)).toThrow(/number/);
  });

  it('knows a released keyring and sealing key no more', async () => {
    onlyBlock('encrypting');
    await kernels.openOne({ offset: 0, index: 0, keyring: kernels.strict });
    kernels.keys.releaseKeyring(kernels.strict);
    expect(() => kernels.files.openNow(kernels.batch([{ offset: 0, index: 0, keyring: kernels.strict }]))).toThrow(
      RangeError,
    );
    expect(() => kernels.keys.releaseKeyring(kernels.strict)).toThrow(RangeError);
    // A sealing key outlives the keyring that it came from.
    kernels.append(0, kernels.encrypting, pattern(4096));
    kernels.keys.releaseSealingKey(kernels.encrypting);
    expect(() => kernels.append(0, kernels.encrypting, pattern(4096))).toThrow(RangeError);
  });

  it('finishes reads in flight with a keyring that is released meanwhile', async () => {
    const at = kernels.append(0, kernels.encrypting, pattern(64 * 4096));
    const rows = Array.from({ length: 64 }, (_, n) => ({ offset: at + n * STORED, index: n, keyring: kernels.strict }));
    const batch = kernels.batch(rows);
    const done = kernels.openLater(batch);
    kernels.keys.releaseKeyring(kernels.strict);
    await done;
    expect([...batch.status.subarray(0, 64)].every((status) => status === OpenStatus.OK)).toBe(true);
  });

  it('opens blocks of more salts than are kept ready', async () => {
    const salts = 600;
    const offsets: number[] = [];
    for (let n = 0; n < salts; n += 1) {
      const salt = new Uint8Array(16);
      new DataView(salt.buffer).setUint32(0, n * 2654435761, true);
      const key = kernels.keys.createSealingKey(kernels.strict, 1, salt);
      offsets.push(kernels.append(n * 8192, key, new Uint8Array(4096).fill(n), 4096, n));
      kernels.keys.releaseSealingKey(key);
    }
    for (let turn = 0; turn < 2; turn += 1) {
      const batch = kernels.batch(offsets.map((offset, index) => ({ offset, index })));
      await kernels.openAll(batch);
      for (let n = 0; n < salts; n += 1) {
        expect(batch.status[n]).toBe(OpenStatus.OK);
        expect(batch.destinations[n]?.[4095]).toBe(n & 0xff);
      }
    }
  });

  it('reads adjacent, scattered and damaged rows of one batch each by its own fate', async () => {
    const plain = pattern(200 * 4096, 4);
    const at = kernels.append(0, kernels.encrypting, plain);
    const bytes = kernels.bytes();
    bytes[at + 7 * STORED + 100] = (bytes[at + 7 * STORED + 100] ?? 0) ^ 1;
    kernels.setBytes(bytes);
    const order = [...Array.from({ length: 200 }, (_, n) => n), 3, 199, 0, 8];
    const rows = order.map((n) => ({ offset: at + n * STORED, index: n }));
    for (const read of [kernels.openAll.bind(kernels), kernels.openLater.bind(kernels)]) {
      const batch = kernels.batch(rows);
      await read(batch);
      order.forEach((n, row) => {
        const expected = n === 7 ? new Uint8Array(4096) : plain.subarray(n * 4096, (n + 1) * 4096);
        expect(batch.status[row]).toBe(n === 7 ? OpenStatus.UNAUTHENTIC : OpenStatus.OK);
        expect(Buffer.compare(batch.destinations[row] ?? new Uint8Array(0), expected)).toBe(0);
      });
    }
  });

  it('writes only the range that a row names', async () => {
    const at = kernels.append(0, kernels.encrypting, pattern(4096));
    const batch = kernels.batch([]);
    const destination = new Uint8Array(3 * 4096).fill(0xee);
    batch.destinations.push(destination);
    batch.add(kernels.file, at, STORED, GENERATION, 0, kernels.strict, 0, 4000, 4096);
    await kernels.openAll(batch);
    expect(Buffer.compare(destination.subarray(4000, 8096), pattern(4096))).toBe(0);
    expect(destination.subarray(0, 4000).every((byte) => byte === 0xee)).toBe(true);
    expect(destination.subarray(8096).every((byte) => byte === 0xee)).toBe(true);
  });

  it('says SHORT of a block that the file ends in, and opens the one before it', async () => {
    const at = kernels.append(0, kernels.encrypting, pattern(2 * 4096));
    kernels.setBytes(kernels.bytes().subarray(0, at + 2 * STORED - 1));
    const batch = kernels.batch([
      { offset: at, index: 0 },
      { offset: at + STORED, index: 1 },
      { offset: 1 << 30, index: 1 },
    ]);
    await kernels.openAll(batch);
    expect([...batch.status.subarray(0, 3)]).toEqual([OpenStatus.OK, OpenStatus.SHORT, OpenStatus.SHORT]);
    expect(isZero(batch.destinations[1] ?? new Uint8Array(1))).toBe(true);
  });

  it('answers an errno for a file that is not open', async () => {
    const batch = kernels.batch([{ offset: 0, index: 0, file: 999_999 as FileId }]);
    expect(kernels.files.openNow(batch)).toBe(0);
    expect(batch.status[0]).toBe(EBADF);
    expect(isZero(batch.destinations[0] ?? new Uint8Array(1))).toBe(true);
    const later = kernels.batch([{ offset: 0, index: 0, file: 999_999 as FileId }]);
    await kernels.openLater(later);
    expect(later.status[0]).toBe(EBADF);
  });

  it('calls done of an empty batch, later', async () => {
    let returned = false;
    await new Promise<void>((resolve) => {
      kernels.files.openLater(kernels.batch([]), () => {
        expect(returned).toBe(true);
        resolve();
      });
      returned = true;
    });
  });

  it('misses what is not in the page cache, and reads it on the reader threads', async (context) => {
    const at = kernels.append(0, kernels.encrypting, pattern(64 * 4096));
    await kernels.files.sync(kernels.file);
    await kernels.files.dropCache(kernels.file, 0, 0);
    const rows = Array.from({ length: 64 }, (_, n) => ({ offset: at + n * STORED, index: n }));
    const batch = kernels.batch(rows);
    const misses = kernels.files.openNow(batch);
    if (misses === 0) {
      context.skip('this file system keeps pages that it was asked to drop, so a miss cannot be made');
    }
    expect(misses).toBe([...batch.status.subarray(0, 64)].filter((status) => status === OpenStatus.MISS).length);
    await kernels.openLater(batch);
    expect([...batch.status.subarray(0, 64)].every((status) => status === OpenStatus.OK)).toBe(true);
    expect(Buffer.compare(Buffer.concat(batch.destinations), pattern(64 * 4096))).toBe(0);
  });

  it('opens the cached head of a run whose tail is not cached', async (context) => {
    const at = kernels.append(0, kernels.encrypting, pattern(64 * 4096));
    await kernels.files.sync(kernels.file);
    await kernels.files.dropCache(kernels.file, 128 * 1024, 0);
    const batch = kernels.batch(Array.from({ length: 64 }, (_, n) => ({ offset: at + n * STORED, index: n })));
    const misses = kernels.files.openNow(batch);
    if (misses === 0 || misses === 64) {
      context.skip('this file system dropped all pages or none, so a run cannot be cached in part');
    }
    const statuses = [...batch.status.subarray(0, 64)];
    const hits = 64 - misses;
    expect(statuses.slice(0, hits).every((status) => status === OpenStatus.OK)).toBe(true);
    expect(statuses.slice(hits).every((status) => status === OpenStatus.MISS)).toBe(true);
    // Only the misses are read again: a destination that was right stays as it is.
    batch.destinations[0]?.fill(0x77);
    await kernels.openLater(batch);
    expect(batch.destinations[0]?.every((byte) => byte === 0x77)).toBe(true);
    expect(Buffer.compare(Buffer.concat(batch.destinations.slice(1)), pattern(64 * 4096).subarray(4096))).toBe(0);
  });
});
