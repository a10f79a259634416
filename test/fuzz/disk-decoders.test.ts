import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeChecked, encodeChecked } from '../../src/crypto/checked-json.js';
import { decodeWrappedKey, encodeWrappedKey, type WrappedKeyRecord } from '../../src/crypto/wrapped-key-record.js';
import { NativeChecksums } from '../../src/io/native-checksums.js';
import { RECORD } from '../../src/io/record-layout.js';
import { decodeJson, encodeJson } from '../../src/meta/json-value.js';
import { decodeRecord, decodeState, encodeRecord, encodeState, type MetaState } from '../../src/meta/lmdb-record.js';
import { MetaError } from '../../src/meta/meta-error.js';
import type { MetaEntry } from '../../src/meta/meta-store.js';
import {
  decodeRecordHeader,
  encodeExtent,
  encodeRecordHeader,
  headerBytesOf,
  RECORD_HEADER_BYTES,
  RecordKind,
  type RecordExtent,
  type RecordFields,
} from '../../src/store/journal/record.js';
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  type SegmentHeader,
} from '../../src/store/journal/segment-header.js';
import { ABSENT, HOLE, packLocation, WHOLE_STORED_UNITS } from '../../src/store/location.js';
import { decodeLeaf, encodeLeaf, mappedIn } from '../../src/store/map/leaf-codec.js';
import { leafKey } from '../../src/store/map/map-keys.js';
import { MapRows } from '../../src/store/map/map-rows.js';
import { StoreError } from '../../src/store/store-error.js';
import { decodeCheckpoint, decodeLayer, decodeSegment, encodeRow } from '../../src/store/stored-rows.js';
import { MapDisk, MemoryMapEnvironment } from '../store/memory-map-environment.js';
import { corpusOf } from './corpus.js';
import { check, checkAsync, replayedWith } from './fuzzing.js';
import { mutated } from './mutations.js';

const checksums = new NativeChecksums();
const crc32c = checksums.crc32c.bind(checksums);
const u32 = fc.nat(0xffff_ffff);
/** Numbers that a safe integer holds, small ones and edges often. */
const u53 = fc.oneof(fc.nat(1000), fc.maxSafeNat());
const same = (left: Uint8Array, right: Uint8Array): boolean => Buffer.compare(left, right) === 0;

/** What `decode` throws: null nothing, otherwise it must be the declared error, or the test fails with what it was. */
function thrownBy(decode: () => unknown, declared: abstract new (...args: never[]) => Error): Error | null {
  try {
    decode();
    return null;
  } catch (thrown) {
    if (thrown instanceof declared) return thrown;
    throw thrown;
  }
}

describe(`decoders of the journal (${replayedWith})`, () => {
  const STAMP = { stampLow: 0x11223344, stampHigh: 0x55667788 };
  const extent = fc.record({ first: u53, count: u32, zeros: fc.boolean(), origin: fc.constant(false) });
  const record: fc.Arbitrary<{ fields: RecordFields; extents: RecordExtent[] }> = fc
    .record({
      kind: fc.constantFrom(...Object.values(RecordKind)),
      sequence: u53,
      layer: u53,
      ordinal: u53,
      durableUpTo: u53,
      epoch: u32,
      blockLog2: fc.constantFrom(0, 12, 13, 14, 15, 16),
      payloadUnits: fc.nat(100),
      payloadCrc: u32,
      parent: u53,
      extents: fc.array(extent, { maxLength: 40 }),
    })
    .map(({ blockLog2, payloadUnits, extents, ...rest }) => {
      const payloadOffset = Math.ceil(headerBytesOf(extents.length) / 64) * 64;
      const recordBytes = payloadOffset + payloadUnits * 64;
      const blockBytes = blockLog2 === 0 ? 0 : 2 ** blockLog2;
      const fields = { ...rest, ...STAMP, recordBytes, payloadOffset, blockBytes, extentCount: extents.length };
      return { fields, extents };
    });

  /** The header's own words at their places, sealed as the kernel does. */
  function seal(bytes: Uint8Array, extentCount: number, payloadCrc: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    view.setUint32(RECORD.PAYLOAD_CRC_AT, payloadCrc, true);
    view.setUint32(RECORD.HEADER_CRC_AT, 0, true);
    view.setUint32(RECORD.HEADER_CRC_AT, crc32c(bytes, 0, headerBytesOf(extentCount), 0), true);
  }

  function encode({ fields, extents }: { fields: RecordFields; extents: readonly RecordExtent[] }): Uint8Array {
    const bytes = new Uint8Array(headerBytesOf(extents.length));
    encodeRecordHeader(bytes, 0, fields);
    extents.forEach(({ first, count, zeros }, n) =>
      encodeExtent(bytes, RECORD_HEADER_BYTES + 16 * n, first, count, zeros),
    );
    seal(bytes, extents.length, fields.payloadCrc);
    return bytes;
  }
  const decode = (bytes: Uint8Array, room = 2 ** 26): ReturnType<typeof decodeRecordHeader> =>
    decodeRecordHeader(bytes, 0, room, { ...STAMP, crc32c });

  it('give a record header back as it was, and nothing for a changed one', () => {
    check(
      fc.property(mutated(record, encode), ({ value, original, bytes }) => {
        const decoded = decode(bytes);
        if (decoded === null) expect(same(bytes, original)).toBe(false);
        else {
          // Bytes behind the header are not its concern.
          expect(same(bytes.subarray(0, original.length), original)).toBe(true);
          expect(decoded).toEqual({ ...value.fields, extents: value.extents });
          expect(same(encode({ fields: decoded, extents: decoded.extents }), original)).toBe(true);
        }
      }),
      800,
    );
  });

  it('stay inside what a record can be when its checksum was made to fit', () => {
    check(
      fc.property(mutated(record, encode), fc.nat(2 ** 16), ({ bytes: some, value }, room) => {
        const bytes = Uint8Array.from(some);
        const { extentCount } = value.fields;
        if (bytes.length >= headerBytesOf(extentCount)) seal(bytes, extentCount, value.fields.payloadCrc);
        const decoded = decode(bytes, room);
        if (decoded === null) return;
        expect(decoded.recordBytes).toBeLessThanOrEqual(room);
        expect(decoded.recordBytes % 64).toBe(0);
        expect(headerBytesOf(decoded.extentCount)).toBeLessThanOrEqual(Math.min(decoded.recordBytes, bytes.length));
        expect(decoded.payloadOffset).toBeLessThanOrEqual(decoded.recordBytes);
        expect(decoded.extents).toHaveLength(decoded.extentCount);
        expect(decoded.blockBytes).toBeLessThanOrEqual(65_536);
      }),
      800,
    );
  });

  const header: fc.Arbitrary<SegmentHeader> = fc.record({
    slot: fc.nat(2 ** 24 - 1),
    generation: u53,
    stampLow: u32,
    stampHigh: u32,
    segmentBytes: fc.constantFrom(4096, 2 ** 20, 2 ** 26),
    predecessor: fc.option(fc.record({ slot: fc.nat(2 ** 24 - 1), generation: u53, cut: u53 })),
    nextSequence: u53,
    durableUpTo: u53,
    tier: fc.nat(3),
    nodeId: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  });

  it('give a segment header back as it was, and nothing for a changed one', () => {
    check(
      fc.property(
        mutated(header, (value) => encodeSegmentHeader(value, crc32c)),
        ({ value, original, bytes }) => {
          const decoded = decodeSegmentHeader(bytes, crc32c);
          if (decoded === null) expect(same(bytes, original)).toBe(false);
          else {
            expect(same(bytes.subarray(0, original.length), original)).toBe(true);
            expect(decoded).toEqual(value);
          }
        },
      ),
      600,
    );
  });
});

describe(`decoders of the map (${replayedWith})`, () => {
  const entry = fc.oneof(
    fc.constantFrom(ABSENT, HOLE),
    fc.tuple(fc.nat(2 ** 24 - 1), fc.nat(2 ** 20 - 1)).map(([slot, at]) => packLocation(slot, at, WHOLE_STORED_UNITS)),
  );
  const leaf = fc
    .array(fc.tuple(entry, fc.integer({ min: 1, max: 60 }), fc.boolean()), { minLength: 1 })
    .map((parts) => {
      const entries = new Float64Array(128).fill(ABSENT);
      let n = 0;
      for (const [value, count, inARow] of parts) {
        for (let k = 0; k < count && n < 128; k += 1, n += 1) {
          entries[n] = value > 0 && inARow ? value + k * WHOLE_STORED_UNITS * 128 : value;
        }
      }
      // Something must be left to store.
      if (entries.every((value) => value === ABSENT)) entries[0] = HOLE;
      return entries;
    });
  const encode = (entries: Float64Array): Uint8Array => encodeLeaf(entries, 0, false)!.slice();

  function leafKeepsItsRow(bytes: Uint8Array): void {
    const entries = new Float64Array(384).fill(42);
    const decoded = decodeLeaf(bytes, entries, 128);
    expect(entries.subarray(0, 128).every((value) => value === 42)).toBe(true);
    expect(entries.subarray(256).every((value) => value === 42)).toBe(true);
    if (!decoded) return;
    const row = entries.slice(128, 256);
    const again = encodeLeaf(row, 0, false);
    // Runs may be cut elsewhere than we would have; what they say stays.
    if (again === null) expect(row.every((value) => value === ABSENT)).toBe(true);
    else {
      const back = new Float64Array(128);
      expect(decodeLeaf(again, back, 0)).toBe(true);
      expect(back).toEqual(row);
      expect(mappedIn(again)).toBe(mappedIn(bytes));
    }
  }

  it('take any bytes for a leaf without leaving its row, and encode what they took', () => {
    check(
      fc.property(mutated(leaf, encode), ({ value, original, bytes }) => {
        leafKeepsItsRow(bytes);
        if (same(bytes, original)) {
          const back = new Float64Array(128);
          expect(decodeLeaf(bytes, back, 0)).toBe(true);
          expect(back).toEqual(value);
        }
      }),
      800,
    );
    for (const { bytes } of corpusOf('leaf')) leafKeepsItsRow(bytes);
  });

  it('hand out no changed row, and no row under the key of another', async () => {
    const rows = fc.array(mutated(leaf, encode), { minLength: 2, maxLength: 6 });
    await checkAsync(
      fc.asyncProperty(rows, fc.boolean(), async (leaves, swap) => {
        const disk = new MapDisk();
        const map = new MapRows({ environment: new MemoryMapEnvironment({ disk }), checksums });
        await map.commit(leaves.map(({ original }, n) => map.put(leafKey(7, n), original)));
        const stored = [...disk.rows.keys()].sort();
        const values = stored.map((key) => disk.rows.get(key)!);
        leaves.forEach(({ bytes, original }, n) => {
          const sealed = Uint8Array.from(values[swap ? (n + 1) % leaves.length : n]);
          // The same edits, on the bytes with their checksum.
          const value = same(bytes, original) ? sealed : Buffer.concat([bytes, sealed.subarray(-4)]);
          disk.rows.set(stored[n], value);
        });
        leaves.forEach(({ bytes, original }, n) => {
          const isWhole = !swap && same(bytes, original);
          const fault = thrownBy(() => expect(same(map.get(leafKey(7, n))!, original)).toBe(true), StoreError);
          expect(fault === null).toBe(isWhole);
          const taken = map.take({ from: leafKey(7, n), to: leafKey(7, n + 1) }, 1);
          expect(taken.map(({ value }) => value === null)).toEqual([!isWhole]);
        });
      }),
      150,
    );
  });

  const count = fc.nat(2 ** 31);
  const row = fc.oneof(
    fc.record({
      format: fc.nat(2),
      slot: count,
      generation: count,
      offset: count,
      sequence: count,
      nextLayer: count,
      generationMax: count,
      clean: fc.boolean(),
    }),
    fc.record({
      id: count,
      parent: count,
      blockBytes: count,
      sizeBlocks: count,
      inheritedBlocks: count,
      state: fc.constantFrom(
        'head' as const,
        'frozen' as const,
        'merging' as const,
        'merged' as const,
        'dropped' as const,
      ),
      hidden: fc.boolean(),
      heir: count,
      damage: fc.string(),
      ordinal: count,
    }),
    fc.record({
      slot: count,
      generation: count,
      stampLow: count,
      stampHigh: count,
      state: fc.constantFrom('free' as const, 'ready' as const, 'chain' as const, 'cold' as const),
      firstSequence: count,
      liveBytes: fc.double({ noNaN: true, noDefaultInfinity: true }),
      usedBytes: count,
      tier: count,
    }),
  );

  function rowsAnswer(bytes: Uint8Array): void {
    for (const decode of [decodeCheckpoint, decodeLayer, decodeSegment]) {
      thrownBy(() => {
        const decoded = decode(bytes);
        expect(decode(encodeRow(decoded))).toEqual(decoded);
      }, StoreError);
    }
  }

  it('answer to every row with its fields or with StoreError', () => {
    check(
      fc.property(mutated(row, encodeRow), ({ bytes }) => rowsAnswer(bytes)),
      600,
    );
    for (const { bytes } of corpusOf('row')) rowsAnswer(bytes);
  });
});

describe(`decoders of the MetaStore (${replayedWith})`, () => {
  const entry: fc.Arbitrary<MetaEntry> = fc.record({
    key: fc.string({ minLength: 1, maxLength: 40 }),
    value: fc.uint8Array({ maxLength: 300 }),
    revision: u53,
    createRevision: u53,
    lease: u53,
  });

  it('give a record back as it was, nothing for a changed one, and nothing under another key', () => {
    check(
      fc.property(mutated(entry, encodeRecord), fc.string(), ({ value, original, bytes }, otherKey) => {
        const decoded = decodeRecord(value.key, bytes);
        expect(decoded !== null).toBe(same(bytes, original));
        if (decoded !== null) expect(decoded).toEqual(value);
        if (otherKey !== value.key) expect(decodeRecord(otherKey, original)).toBeNull();
      }),
      1000,
    );
  });

  const state: fc.Arbitrary<MetaState> = fc.record({ format: u32, records: u32, revision: u53, digest: u32 });

  it('give the state back as it was, and nothing for a changed one', () => {
    check(
      fc.property(mutated(state, encodeState), ({ value, original, bytes }) => {
        const decoded = decodeState(bytes);
        expect(decoded !== null).toBe(same(bytes, original));
        if (decoded !== null) expect(decoded).toEqual(value);
      }),
      1000,
    );
  });

  it('answer to every value with JSON or with MetaError', () => {
    const entryOf = (value: Uint8Array): MetaEntry => ({ key: 'k', value, revision: 1, createRevision: 1, lease: 0 });
    check(
      fc.property(mutated(fc.jsonValue(), encodeJson), ({ bytes }) => {
        thrownBy(() => {
          const decoded = decodeJson(entryOf(bytes));
          // As text: JSON writes -0 as 0.
          expect(same(encodeJson(decodeJson(entryOf(encodeJson(decoded)))), encodeJson(decoded))).toBe(true);
        }, MetaError);
      }),
      1000,
    );
  });
});

describe(`decoders of wrapped keys (${replayedWith})`, () => {
  const key: fc.Arbitrary<WrappedKeyRecord> = fc.record({
    format: fc.constant(1 as const),
    number: u32,
    provider: fc.constantFrom('file' as const, 'passphrase' as const, 'command' as const),
    madeAtMs: fc.maxSafeNat(),
    wrapped: fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes).toString('base64')),
    check: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex')),
  });
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

  it('give a record back as it was, and nothing for a changed one or under another number', () => {
    check(
      fc.property(mutated(key, encodeWrappedKey), u32, ({ value, original, bytes }, number) => {
        const decoded = decodeWrappedKey(bytes, value.number);
        // The line's end is an editor's business, the line is not.
        const isTheSame = text(bytes).replace(/\n$/, '') === text(original).replace(/\n$/, '');
        expect(decoded !== null).toBe(isTheSame);
        if (decoded !== null) expect(decoded).toEqual(value);
        if (number !== value.number) expect(decodeWrappedKey(original, number)).toBeNull();
      }),
      1000,
    );
    for (const { bytes } of corpusOf('wrapped-key')) expect(decodeWrappedKey(bytes, 1)).toBeNull();
  });

  it('give checked JSON back as it was, and nothing for a changed line', () => {
    const fields = fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1, maxKeys: 5 });
    check(
      fc.property(mutated(fields, encodeChecked), ({ value, original, bytes }) => {
        const isTheSame = text(bytes).replace(/\n$/, '') === text(original).replace(/\n$/, '');
        const decoded = decodeChecked(bytes);
        expect(decoded !== null).toBe(isTheSame);
        if (decoded !== null) expect(decoded).toEqual(JSON.parse(JSON.stringify(value)));
      }),
      1000,
    );
  });
});
