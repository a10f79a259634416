import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NativeChecksums } from '../../src/io/native-checksums.js';
import {
  decodeRecordHeader,
  encodeExtent,
  encodeRecordHeader,
  headerBytesOf,
  RECORD_HEADER_BYTES,
  RecordKind,
} from '../../src/store/journal/record.js';
import { decodeSegmentHeader, encodeSegmentHeader } from '../../src/store/journal/segment-header.js';
import { ABSENT, HOLE, packLocation, WHOLE_STORED_UNITS } from '../../src/store/location.js';
import { decodeLeaf, encodeLeaf, LEAF_ENCODED_BYTES_MAX, mappedIn } from '../../src/store/map/leaf-codec.js';

const checksums = new NativeChecksums();
const crc32c = checksums.crc32c.bind(checksums);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const STAMP = { stampLow: 0x11223344, stampHigh: 0x55667788 };

/** A WRITE of one block and a hole, sealed as the kernel seals headers. */
function recordBytes(): Uint8Array {
  const bytes = new Uint8Array(8192);
  encodeRecordHeader(bytes, 0, {
    kind: RecordKind.WRITE,
    ...STAMP,
    recordBytes: 4352,
    sequence: 2 ** 40 + 5,
    layer: 7,
    ordinal: 9,
    durableUpTo: 3,
    epoch: 0xfffffffe,
    extentCount: 2,
    payloadOffset: 192,
    blockBytes: 4096,
    payloadCrc: 0,
    parent: 0,
  });
  encodeExtent(bytes, RECORD_HEADER_BYTES, 1000, 1, false);
  encodeExtent(bytes, RECORD_HEADER_BYTES + 16, 1001, 5, true);
  const view = new DataView(bytes.buffer);
  view.setUint32(72, crc32c(bytes, 192, 4160, 0), true);
  view.setUint32(76, crc32c(bytes, 0, headerBytesOf(2), 0), true);
  return bytes;
}

const decode = (bytes: Uint8Array): ReturnType<typeof decodeRecordHeader> =>
  decodeRecordHeader(bytes, 0, bytes.length, { ...STAMP, crc32c });

describe('bytes on disk', () => {
  it('of a record header stay what they are', () => {
    expect(hex(recordBytes().subarray(0, 128))).toMatchInlineSnapshot(
      `"4752454301000100443322118877665580000000001100000500000000010000070000000000000009000000000000000300000000000000feffffff02000000c00000000c000000052a2922f9a9687e00000000000000000000000000000000e8030000000000000100000000000000e9030000000000000500000001000000"`,
    );
  });

  it('of a segment header stay what they are', () => {
    const bytes = encodeSegmentHeader(
      {
        slot: 3,
        generation: 2 ** 33 + 1,
        ...STAMP,
        segmentBytes: 64 * 1024 * 1024,
        predecessor: { slot: 2, generation: 8, cut: 12_288 },
        nextSequence: 77,
        durableUpTo: 70,
        tier: 0,
        nodeId: new Uint8Array(16).fill(0xab),
      },
      crc32c,
    );
    expect(hex(bytes.subarray(0, 96))).toMatchInlineSnapshot(
      `"47414c53454730310100000003000000010000000200000044332211887766550200000000000004080000000000000000300000000000004d00000000000000abababababababababababababababab46000000000000000000000000000000"`,
    );
    expect(hex(bytes.subarray(4092))).toMatchInlineSnapshot(`"39c4ca46"`);
    expect(decodeSegmentHeader(bytes, crc32c)).toMatchObject({ slot: 3, nextSequence: 77, durableUpTo: 70 });
  });

  it('of a leaf stay what they are', () => {
    const entries = new Float64Array(128).fill(ABSENT);
    const location = packLocation(5, 300, WHOLE_STORED_UNITS);
    for (let n = 0; n < 4; n += 1) entries[10 + n] = location + n * WHOLE_STORED_UNITS * 128;
    entries.fill(HOLE, 20, 30);
    expect(hex(encodeLeaf(entries, 0, false) as Uint8Array)).toMatchInlineSnapshot(
      `"010004040900030241960028000000050009016100"`,
    );
  });
});

describe('decoders', () => {
  it('take back a record header, and no bit of it changed', () => {
    const bytes = recordBytes();
    expect(decode(bytes)).toMatchObject({ sequence: 2 ** 40 + 5, layer: 7, epoch: 0xfffffffe, extentCount: 2 });
    for (let at = 0; at < headerBytesOf(2); at += 1) {
      for (let bit = 0; bit < 8; bit += 1) {
        bytes[at] ^= 1 << bit;
        expect(decode(bytes)).toBeNull();
        bytes[at] ^= 1 << bit;
      }
    }
  });

  it('take no random bytes for a record, and do not throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 300 }), fc.boolean(), (random, marked) => {
        const bytes = new Uint8Array(512);
        bytes.set(random);
        if (marked) bytes.set(recordBytes().subarray(0, 24));
        expect(decodeRecordHeader(bytes, 0, bytes.length, { ...STAMP, crc32c })).toBeNull();
        expect(decodeSegmentHeader(bytes, crc32c)).toBeNull();
      }),
      { numRuns: 300 },
    );
  });

  it('take back every leaf', () => {
    const entry = fc.oneof(
      fc.constant(ABSENT),
      fc.constant(HOLE),
      fc
        .record({ slot: fc.nat(2 ** 24 - 1), offset: fc.nat(2 ** 20 - 1) })
        .map(({ slot, offset }) => packLocation(slot, offset, WHOLE_STORED_UNITS)),
    );
    const run = fc.tuple(entry, fc.integer({ min: 1, max: 40 }), fc.boolean());
    fc.assert(
      fc.property(fc.array(run, { minLength: 1, maxLength: 200 }), fc.boolean(), (runs, root) => {
        const entries = new Float64Array(256).fill(ABSENT);
        let n = 0;
        for (const [value, count, consecutive] of runs) {
          for (let k = 0; k < count && n < 128; k += 1, n += 1) {
            entries[128 + n] = value > 0 && consecutive ? value + k * WHOLE_STORED_UNITS * 128 : value;
          }
        }
        const expected = [...entries.subarray(128)].map((value) => (root && value === HOLE ? ABSENT : value));
        const bytes = encodeLeaf(entries, 128, root);
        if (bytes === null) {
          expect(expected.every((value) => value === ABSENT)).toBe(true);
          return;
        }
        expect(bytes.length).toBeLessThanOrEqual(LEAF_ENCODED_BYTES_MAX);
        const back = new Float64Array(256);
        expect(decodeLeaf(bytes, back, 128)).toBe(true);
        expect([...back.subarray(128)]).toEqual(expected);
        expect(mappedIn(bytes)).toBe(expected.filter((value) => value > 0).length);
      }),
      { numRuns: 300 },
    );
  });

  it('take no random bytes apart wrongly as a leaf', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1300 }), (random) => {
        const entries = new Float64Array(256).fill(42);
        decodeLeaf(random, entries, 0);
        // Whatever it says, it stays inside its row.
        expect(entries.subarray(128).every((value) => value === 42)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
