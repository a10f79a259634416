import { describe, expect, it } from 'vitest';
import { NativeChecksums } from '../../src/io/native-checksums.js';
import { OpenBatch, OpenStatus } from '../../src/io/open-batch.js';
import { SealBatch } from '../../src/io/seal-batch.js';
import { encodeRecordHeader, RecordKind } from '../../src/store/journal/record.js';
import { sealReference } from '../io/reference-blocks.js';
import { SeededRandom } from '../base/seeded-random.js';
import { openBlock, openRowOf, sealBatch } from './block-seal.js';
import { SimulatedKeys } from './simulated-keys.js';

const sum = new NativeChecksums();

describe('the kernels of the simulated world', () => {
  it.each([
    [4096, 5],
    [16_384, 5],
    [65_536, 0],
  ])('seal blocks of %i bytes under key %i as the reference does, and open them', (blockBytes, keyNumber) => {
    const random = new SeededRandom(blockBytes);
    const keys = new SimulatedKeys();
    const ring = keys.createKeyring(keyNumber === 0);
    const dataKey = random.bytes(32);
    const salt = random.bytes(16);
    if (keyNumber > 0) keys.addDataKey(ring, keyNumber, dataKey.slice());
    const sealing = keys.createSealingKey(ring, keyNumber, salt);
    const batch = new SealBatch();
    batch.generation = 77;
    const headerBytes = blockBytes / 64 > 128 ? blockBytes / 64 : 128;
    const at = batch.reserveHeader(headerBytes);
    encodeRecordHeader(batch.headers, at, {
      kind: RecordKind.WRITE,
      stampLow: 1,
      stampHigh: 2,
      recordBytes: headerBytes + 2 * (blockBytes + blockBytes / 64),
      sequence: 3,
      layer: 1,
      ordinal: 1,
      durableUpTo: 0,
      epoch: 9,
      extentCount: 1,
      payloadOffset: headerBytes,
      blockBytes,
      payloadCrc: 0,
      parent: 0,
    });
    const plain = random.bytes(2 * blockBytes);
    batch.sources.push(plain);
    for (let n = 0; n < 2; n += 1) batch.addBlock(0, n * blockBytes, sealing, 9, 40 + n, 6 + n);
    batch.addRecord(at, headerBytes, 0, 2, blockBytes);
    const sealed = sealBatch(batch, 4096, keys, sum);
    expect(sealed.bytes.length % 4096).toBe(0);
    for (const [n, block] of sealed.records[0].blocks.entries()) {
      const bytes = sealed.bytes.subarray(block.offset - 4096, block.offset - 4096 + block.storedBytes);
      const index = 40 + n;
      const part = plain.slice(n * blockBytes, (n + 1) * blockBytes);
      const plan = { dataKey, keyNumber, salt, epoch: 9, counter: 6 + n, generation: 77, index, plain: part };
      expect(Buffer.compare(bytes, sealReference('node:crypto', plan))).toBe(0);
      const open = (generation: number, blockIndex: number): [number, Uint8Array] => {
        const rows = new OpenBatch();
        const out = new Uint8Array(blockBytes).fill(1);
        rows.destinations.push(out);
        rows.add(3, block.offset, block.storedBytes, generation, blockIndex, ring, 0, 0, blockBytes);
        return [openBlock(openRowOf(rows, 0, keys), Buffer.from(bytes), keys, sum, true), out];
      };
      expect(open(77, index)).toEqual([OpenStatus.OK, part]);
      expect(open(76, index)[0]).toBe(OpenStatus.GENERATION);
      const [status, out] = open(77, index + 1);
      expect(status).toBe(OpenStatus.UNAUTHENTIC);
      expect(out.every((byte) => byte === 0)).toBe(true);
    }
  });
});
