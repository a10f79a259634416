import { expect, it } from 'vitest';
import { crc32c } from '../../src/base/crc32c.js';
import { FileError } from '../../src/io/file-error.js';
import { storedBytesOf } from '../../src/io/record-layout.js';
import { VictimScan } from '../../src/store/cleaner/victim-scan.js';
import {
  encodeExtent,
  encodeRecordHeader,
  RECORD_HEADER_BYTES,
  RecordKind,
  sumRecord,
} from '../../src/store/journal/record.js';
import { SegmentTable } from '../../src/store/journal/segment-table.js';
import { MIB } from './store-world.js';

const BLOCK = 4096;
const BLOCKS = 256;
const PAYLOAD_AT = 128;
const RECORD = PAYLOAD_AT + BLOCKS * storedBytesOf(BLOCK);
const RECORDS = 20;
const STAMP = { stampLow: 7, stampHigh: 9 };
const checksums = {
  crc32c: (bytes: Uint8Array, at: number, length: number, seed: number) =>
    crc32c(bytes.subarray(at, at + length), seed),
  isZero: () => false,
};

/** A segment with records that are no divisor of what is read at once. */
function segment(): Uint8Array {
  const bytes = new Uint8Array(BLOCK + RECORDS * RECORD);
  for (let n = 0; n < RECORDS; n += 1) {
    const at = BLOCK + n * RECORD;
    const fields = {
      ...{ kind: RecordKind.WRITE, ...STAMP, recordBytes: RECORD, sequence: n + 1, layer: 1, ordinal: n + 1 },
      ...{
        durableUpTo: 0,
        epoch: 1,
        extentCount: 1,
        payloadOffset: PAYLOAD_AT,
        blockBytes: BLOCK,
        payloadCrc: 0,
        parent: 0,
      },
    };
    encodeRecordHeader(bytes, at, fields);
    encodeExtent(bytes, at + RECORD_HEADER_BYTES, n * BLOCKS, BLOCKS, false);
    sumRecord(bytes, at, fields, checksums.crc32c);
  }
  return bytes;
}

/** Scans it with a page that the disk cannot read; -1: with none. Which records were handed over. */
async function scanned(badPageAt: number): Promise<{ isWhole: boolean; records: number[] }> {
  const bytes = segment();
  const table = new SegmentTable();
  table.put({
    ...{ slot: 0, generation: 1, ...STAMP, state: 'chain', firstSequence: 1 },
    ...{ liveBytes: 0, usedBytes: bytes.length, tier: 0 },
  });
  const files = {
    sizeBytes: async () => bytes.length,
    read: async (_: number, offset: number, into: Uint8Array, at: number, length: number) => {
      if (badPageAt >= 0 && offset < badPageAt + BLOCK && badPageAt < offset + length)
        throw new FileError('bad', { code: 'IO', path: '', errno: 'EIO' });
      const part = bytes.subarray(offset, offset + length);
      into.set(part, at);
      return part.length;
    },
  };
  const segmentFiles = { openIfThere: async () => 1, pin: () => undefined, unpin: () => undefined };
  const dependencies = { files, segmentFiles, table, checksums } as unknown as ConstructorParameters<
    typeof VictimScan
  >[0];
  const records: number[] = [];
  const isWhole = await new VictimScan(dependencies).run(0, async ({ blocks }) => {
    records.push(blocks[0] / BLOCKS);
    return true;
  });
  return { isWhole, records };
}

const first = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

it('hands over every record of a segment', async () => {
  expect(await scanned(-1)).toEqual({ isWhole: true, records: first(RECORDS) });
});

// The rest of a record that lay at the end of what was read before came as zeros, and was copied as such.
it('hands over no record of which a page cannot be read', async () => {
  const cut = Math.floor((16 * MIB) / RECORD);
  const end = BLOCK + (cut + 1) * RECORD;
  expect(end).toBeGreaterThan(BLOCK + 16 * MIB);
  const page = Math.floor((end - 1) / BLOCK) * BLOCK;
  expect(await scanned(page)).toEqual({ isWhole: false, records: first(cut) });
});
