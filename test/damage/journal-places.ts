import { decodeRecordHeader, headerBytesOf, looksLikeRecord } from '../../src/store/journal/record.js';
import { decodeSegmentHeader } from '../../src/store/journal/segment-header.js';
import { NativeChecksums } from '../../src/io/native-checksums.js';
import { BLOCK, storedBytesOf } from '../../src/io/record-layout.js';
import { SEGMENT_HEADER_BYTES } from '../../src/store/limits.js';

/** Where a byte of a segment belongs. */
type PlaceKind = 'segment header' | 'record header' | 'block header';

interface Place {
  readonly path: string;
  readonly kind: PlaceKind;
  readonly offset: number;
}

const SEGMENT_FIELDS_BYTES = 88;
const CRC_BYTES = 4;
const RECORD_STEP_BYTES = 64;

const checksums = new NativeChecksums();
const crc32c = checksums.crc32c.bind(checksums);

/** Every byte of every header in a segment, and where its records end. A file that was never used has none. */
export function placesOf(path: string, bytes: Buffer): { headers: Place[]; end: number } {
  const header = decodeSegmentHeader(bytes, crc32c);
  if (header === null || header === 'newer') return { headers: [], end: SEGMENT_HEADER_BYTES };
  const headers: Place[] = [];
  const add = (kind: PlaceKind, from: number, count: number): void => {
    for (let offset = from; offset < from + count; offset += 1) headers.push({ path, kind, offset });
  };
  add('segment header', 0, SEGMENT_FIELDS_BYTES);
  add('segment header', SEGMENT_HEADER_BYTES - CRC_BYTES, CRC_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const check = { ...header, crc32c };
  let end = SEGMENT_HEADER_BYTES;
  for (let at = SEGMENT_HEADER_BYTES; at + RECORD_STEP_BYTES < bytes.length;) {
    const record = looksLikeRecord(view, at, check) ? decodeRecordHeader(bytes, at, bytes.length - at, check) : null;
    if (record === null) {
      at += RECORD_STEP_BYTES;
      continue;
    }
    add('record header', at, headerBytesOf(record.extentCount));
    let block = at + record.payloadOffset;
    for (const extent of record.extents) {
      for (let n = 0; n < extent.count && !extent.zeros; n += 1) {
        add('block header', block, BLOCK.HEADER_BYTES);
        block += storedBytesOf(record.blockBytes);
      }
    }
    at += record.recordBytes;
    end = at;
  }
  return { headers, end };
}
