/** The damaged parts of a volume that are kept: sorted, apart from each other, and of a bounded number. */
import type { BadRangeRow } from '../model/scrub-row.js';
import { BAD_RANGES_KEPT_MAX } from './limits.js';

/** Bytes in a file for each byte of data: every 64th belongs to headers. */
const STORED_PER_BYTE = 65 / 64;

export interface KeptRanges {
  readonly ranges: BadRangeRow[];
  /** Bytes of data that found no place. */
  readonly leftOutBytes: number;
}

/** The ranges with one more, which takes the place of whatever was known of the same blocks. */
export function withRange(known: readonly BadRangeRow[], found: BadRangeRow): KeptRanges {
  const apart = known.flatMap((range) => without(range, found));
  const at = apart.findIndex((range) => order(range, found) > 0);
  const place = at < 0 ? apart.length : at;
  const before = place > 0 ? apart[place - 1] : undefined;
  if (before !== undefined && continues(before, found)) {
    apart[place - 1] = {
      ...before,
      lengthBytes: before.lengthBytes + found.lengthBytes,
      shown: before.shown || found.shown,
    };
    return { ranges: apart, leftOutBytes: 0 };
  }
  if (apart.length >= BAD_RANGES_KEPT_MAX) return { ranges: apart, leftOutBytes: found.lengthBytes };
  apart.splice(place, 0, found);
  return { ranges: apart, leftOutBytes: 0 };
}

/** What of a range lies outside of another one: none, one or two parts. */
function without(range: BadRangeRow, other: BadRangeRow): BadRangeRow[] {
  const [from, end] = [range.offsetBytes, range.offsetBytes + range.lengthBytes];
  const [otherFrom, otherEnd] = [other.offsetBytes, other.offsetBytes + other.lengthBytes];
  if (range.layer !== other.layer || otherEnd <= from || otherFrom >= end) return [range];
  const parts: BadRangeRow[] = [];
  if (otherFrom > from) parts.push({ ...range, lengthBytes: otherFrom - from });
  if (otherEnd < end) {
    const fileOffset = range.fileOffset < 0 ? -1 : range.fileOffset + (otherEnd - from) * STORED_PER_BYTE;
    parts.push({ ...range, offsetBytes: otherEnd, lengthBytes: end - otherEnd, fileOffset });
  }
  return parts;
}

function order(one: BadRangeRow, other: BadRangeRow): number {
  return one.layer - other.layer || one.offsetBytes - other.offsetBytes;
}

function continues(before: BadRangeRow, next: BadRangeRow): boolean {
  const fileEnd = before.fileOffset < 0 ? -1 : before.fileOffset + before.lengthBytes * STORED_PER_BYTE;
  return (
    before.layer === next.layer &&
    before.offsetBytes + before.lengthBytes === next.offsetBytes &&
    before.segment === next.segment &&
    before.generation === next.generation &&
    fileEnd === next.fileOffset &&
    before.status === next.status &&
    before.run === next.run
  );
}
