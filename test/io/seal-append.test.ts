import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../../src/base/crc32c.js';
import type { FileId } from '../../src/io/files.js';
import { RECORD, storedBytesOf } from '../../src/io/record-layout.js';
import { SealBatch } from '../../src/io/seal-batch.js';
import { DATA_KEY, GENERATION, pattern, SALT, useKernels } from './kernel-fixture.js';
import { sealReference } from './reference-blocks.js';

const ENOSPC = -28;
const EBADF = -9;

describe('seal and append', () => {
  const kernels = useKernels();

  /** What the file should hold: two records, the first with blocks of 4096 bytes, the second without any. */
  function twoRecords(): { batch: SealBatch; expected: Uint8Array } {
    const plain = pattern(2 * 4096, 11);
    const batch = new SealBatch();
    batch.generation = GENERATION;
    kernels.addRecord(batch, kernels.encrypting, plain, 4096, 40);
    kernels.addRecord(batch, kernels.encrypting, new Uint8Array(0), 4096, 0);
    const common = { dataKey: DATA_KEY, keyNumber: 1, salt: SALT, epoch: 0x0102_0304, generation: GENERATION };
    const blocks = [0, 1].map((n) =>
      sealReference('node:crypto', {
        ...common,
        counter: n,
        index: 40 + n,
        plain: plain.subarray(n * 4096, (n + 1) * 4096),
      }),
    );
    const payload = Buffer.concat(blocks);
    const header = (payloadCrc: number): Uint8Array => {
      const bytes = new Uint8Array(128);
      const view = new DataView(bytes.buffer);
      view.setUint32(0, 0x43455247, true);
      view.setUint32(16, 112, true);
      view.setUint32(72, payloadCrc, true);
      view.setUint32(76, crc32c(bytes.subarray(0, 112)), true);
      return bytes;
    };
    const records = Buffer.concat([header(crc32c(payload)), payload, header(0)]);
    return { batch, expected: records };
  }

  it('writes the bytes that the specification says, and zeros to the end of the page', () => {
    const { batch, expected } = twoRecords();
    // Staging memory is reused: what lay in it before must not come out again.
    kernels.append(0, kernels.plain, new Uint8Array(64 * 4096).fill(0xff));
    kernels.setBytes(new Uint8Array(16384).fill(0xff));
    expect(kernels.files.appendNow(kernels.file, 64, batch)).toBe(0);
    const bytes = kernels.bytes();
    const end = 64 + expected.length;
    const border = Math.ceil(end / 4096) * 4096;
    expect(bytes.subarray(0, 64).every((byte) => byte === 0xff)).toBe(true);
    expect(Buffer.compare(bytes.subarray(64, end), expected)).toBe(0);
    expect(bytes.subarray(end, border).every((byte) => byte === 0)).toBe(true);
    expect(bytes.subarray(border).every((byte) => byte === 0xff)).toBe(true);
    expect(bytes.length).toBe(16384);
  });

  it('has not changed its format: the golden sum of one record', () => {
    const { batch } = twoRecords();
    expect(kernels.files.appendNow(kernels.file, 0, batch)).toBe(0);
    const sum = createHash('sha256').update(kernels.bytes()).digest('hex');
    expect(sum).toBe('1d5682343920441c672de5a76ea6f8810f82efba73df1581efa1fd4b70d8b71f');
  });

  it('writes the same on the append thread', async () => {
    const { batch, expected } = twoRecords();
    expect(await kernels.appendLater(0, batch)).toBe(0);
    expect(Buffer.compare(kernels.bytes().subarray(0, expected.length), expected)).toBe(0);
  });

  it('ends at a page border without writing another page', () => {
    const batch = new SealBatch();
    kernels.addRecord(batch, kernels.encrypting, new Uint8Array(0), 4096, 0, 4096);
    expect(kernels.files.appendNow(kernels.file, 0, batch)).toBe(0);
    expect(kernels.bytes().length).toBe(4096);
  });

  it('appends nothing for an empty batch', () => {
    expect(kernels.files.appendNow(kernels.file, 100, new SealBatch())).toBe(0);
    expect(kernels.bytes().length).toBe(0);
  });

  for (const plainBytes of [4096, 65536]) {
    it(`appends more than staging holds, in blocks of ${String(plainBytes)}`, async () => {
      const plain = pattern(3 * 1024 * 1024, 21);
      const blocks = plain.length / plainBytes;
      const batch = new SealBatch();
      batch.generation = GENERATION;
      kernels.addRecord(batch, kernels.encrypting, pattern(plainBytes, 2), plainBytes, 0);
      kernels.addRecord(batch, kernels.encrypting, plain, plainBytes, 1);
      kernels.addRecord(batch, kernels.plain, pattern(plainBytes, 3), plainBytes, 900);
      expect(kernels.files.appendNow(kernels.file, 192, batch)).toBe(0);

      const bytes = kernels.bytes();
      const stored = storedBytesOf(plainBytes);
      const second = 192 + 128 + stored;
      const third = second + 128 + blocks * stored;
      for (const [at, count] of [
        [192, 1],
        [second, blocks],
        [third, 1],
      ] as const) {
        const header = bytes.slice(at, at + 112);
        const view = new DataView(header.buffer);
        const headerCrc = view.getUint32(RECORD.HEADER_CRC_AT, true);
        view.setUint32(RECORD.HEADER_CRC_AT, 0, true);
        expect(crc32c(header)).toBe(headerCrc);
        expect(view.getUint32(RECORD.PAYLOAD_CRC_AT, true)).toBe(
          crc32c(bytes.subarray(at + 128, at + 128 + count * stored)),
        );
      }
      const rows = Array.from({ length: blocks }, (_, n) => ({
        offset: second + 128 + n * stored,
        index: 1 + n,
        plainBytes,
      }));
      const open = kernels.batch(rows);
      await kernels.openAll(open);
      expect([...open.status.subarray(0, blocks)].every((status) => status === 0)).toBe(true);
      expect(Buffer.compare(Buffer.concat(open.destinations), plain)).toBe(0);
    });
  }

  it('leaves the batch as it was, so that it says what was appended', () => {
    const { batch } = twoRecords();
    const before = batch.headers.slice();
    kernels.files.appendNow(kernels.file, 0, batch);
    expect(Buffer.compare(batch.headers, before)).toBe(0);
  });

  it('refuses a counter that was used, whatever became of the append', () => {
    const { batch } = twoRecords();
    expect(kernels.files.appendNow(999_999 as FileId, 0, batch)).toBe(EBADF);
    expect(() => kernels.files.appendNow(kernels.file, 0, batch)).toThrow(/counter/);
    expect(kernels.bytes().length).toBe(0);
  });

  it('refuses a record whose header claims more bytes than it has', () => {
    const { batch } = twoRecords();
    new DataView(batch.headers.buffer).setUint32(16, 129, true);
    expect(() => kernels.files.appendNow(kernels.file, 0, batch)).toThrow(RangeError);
  });

  it('refuses blocks that two records share', () => {
    const { batch } = twoRecords();
    batch.addRecord(0, 128, 1, 1, 4096);
    expect(() => kernels.files.appendNow(kernels.file, 0, batch)).toThrow(/order/);
  });

  it('answers the errno of a full disk', async () => {
    const full = await kernels.files.open('/dev/full', 'write');
    try {
      const now = new SealBatch();
      kernels.addRecord(now, kernels.encrypting, pattern(4096), 4096, 0);
      expect(kernels.files.appendNow(full, 0, now)).toBe(ENOSPC);
      const later = new SealBatch();
      kernels.addRecord(later, kernels.encrypting, pattern(4096), 4096, 0);
      const status = await new Promise<number>((resolve) => {
        kernels.files.appendLater(full, 0, later, resolve);
      });
      expect(status).toBe(ENOSPC);
    } finally {
      await kernels.files.close(full);
    }
  });
});
