/**
 * The small rows of the map's database as JSON: the checkpoint, the layers, the segments. Few and rarely written, so
 * that being readable by a person with a database tool at three in the morning wins over being compact.
 */
import { z } from 'zod';
import { viewOf } from '../base/bytes.js';
import type { SegmentRow } from './journal/segment-table.js';
import type { LayerRow } from './map/layer.js';
import { StoreError } from './store-error.js';

/** Newest format that this program reads and the one that it writes. */
export const MAP_FORMAT = 2;

const count = z.number().int().nonnegative();

const checkpointSchema = z.object({
  format: count,
  /** Replay starts here: every change before is in stored leaves. */
  slot: count,
  generation: count,
  offset: count,
  sequence: count,
  /** The next layer gets this id; ids are never reused. */
  nextLayer: count,
  /** Highest segment generation given out. */
  generationMax: count,
  /** The store was closed with nothing behind the checkpoint. */
  clean: z.boolean(),
});
export type CheckpointRow = z.infer<typeof checkpointSchema>;

const layerSchema = z.object({
  id: count,
  parent: count,
  blockBytes: count,
  sizeBlocks: count,
  // Older rows lack it: as much as the parent has.
  inheritedBlocks: count.default(Number.MAX_SAFE_INTEGER),
  state: z.enum(['head', 'frozen', 'merging', 'merged', 'dropped']),
  // Format 1 has neither.
  hidden: z.boolean().default(false),
  heir: count.default(0),
  damage: z.string(),
  ordinal: count,
});

const segmentSchema = z.object({
  slot: count,
  generation: count,
  stampLow: count,
  stampHigh: count,
  state: z.enum(['free', 'ready', 'chain', 'cold']),
  firstSequence: count,
  liveBytes: z.number(),
  // Format 1 has neither.
  usedBytes: count.default(0),
  tier: count.default(0),
});

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function decode<T>(schema: z.ZodType<T>, bytes: Uint8Array, subject: string): T {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch (thrown) {
    throw new StoreError(`${subject} is not readable`, { code: 'DAMAGED', subject }, { cause: thrown });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new StoreError(`${subject} is not readable`, { code: 'DAMAGED', subject });
  return parsed.data;
}

export function encodeRow(row: CheckpointRow | LayerRow | SegmentRow): Uint8Array {
  return encoder.encode(JSON.stringify(row));
}

/** Throws StoreError DAMAGED, or NEWER_FORMAT for a map that a newer version wrote. */
export function decodeCheckpoint(bytes: Uint8Array): CheckpointRow {
  const row = decode(checkpointSchema, bytes, 'the checkpoint');
  if (row.format > MAP_FORMAT) {
    throw new StoreError(`the map has format ${row.format}, this program knows ${MAP_FORMAT}: use a newer gfs`, {
      code: 'NEWER_FORMAT',
      subject: 'map',
    });
  }
  return row;
}

/** Throws StoreError DAMAGED. */
export function decodeLayer(bytes: Uint8Array): LayerRow {
  return decode(layerSchema, bytes, 'a layer');
}

/** Throws StoreError DAMAGED. */
export function decodeSegment(bytes: Uint8Array): SegmentRow {
  return decode(segmentSchema, bytes, 'a segment row');
}

/** A block count as 8 bytes, a little-endian double. */
export function encodeCount(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  viewOf(bytes).setFloat64(0, value, true);
  return bytes;
}

export function decodeCount(bytes: Uint8Array): number {
  return viewOf(bytes).getFloat64(0, true);
}
