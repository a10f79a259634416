/** What the MetaStore keeps of the scrubs of one volume. */
import { z } from 'zod';
import { ModelError } from './model-error.js';

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
/** -1: the map cannot tell. */
const place = z.number().int().min(-1).max(Number.MAX_SAFE_INTEGER);

const badRow = z.strictObject({
  layer: count,
  offsetBytes: count,
  lengthBytes: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
  segment: place,
  generation: place,
  fileOffset: place,
  status: z.number().int(),
  reason: z.string(),
  shown: z.boolean(),
  /** `startedAtMs` of the run that saw it last. */
  run: count,
});

const scrubRow = z.strictObject({
  volumeId: z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
  /** A run that has not come to its end; null: none. */
  run: z
    .strictObject({
      startedAtMs: count,
      actor: z.string(),
      bytesPerSecond: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
      /** Where it goes on; null: at the beginning. */
      position: z.strictObject({ layer: count, leaf: count }).nullable(),
      blocks: count,
      bytes: count,
      /** How long it has been running, pauses between runs of the daemon left out. */
      activeMs: z.number().min(0),
    })
    .nullable(),
  /** The last run that ended; null: there was none. */
  last: z
    .strictObject({
      startedAtMs: count,
      endedAtMs: count,
      actor: z.string(),
      activeMs: z.number().min(0),
      blocks: count,
      bytes: count,
      badBlocks: count,
      outcome: z.enum(['clean', 'damaged', 'cancelled', 'failed']),
      reason: z.string(),
    })
    .nullable(),
  /** What cannot be opened, by layer and offset. */
  bad: z.array(badRow),
  /** Blocks that were found bad beyond what is kept one by one. */
  moreBadBlocks: count,
});

export type ScrubRow = z.infer<typeof scrubRow>;
export type ScrubRun = NonNullable<ScrubRow['run']>;
export type ScrubResult = NonNullable<ScrubRow['last']>;
export type BadRangeRow = z.infer<typeof badRow>;

/** `subject` names the row in the error. Throws ModelError ROW. */
export function parseScrubRow(value: unknown, subject: string): ScrubRow {
  const result = scrubRow.safeParse(value);
  if (result.success) return result.data;
  const detail = z.prettifyError(result.error).replaceAll(/\s+/g, ' ');
  throw new ModelError(`${subject} does not have the shape this version knows: ${detail}`, { code: 'ROW', subject });
}

/** A row of a volume that was never scrubbed. */
export function emptyScrubRow(volumeId: string): ScrubRow {
  return { volumeId, run: null, last: null, bad: [], moreBadBlocks: 0 };
}
