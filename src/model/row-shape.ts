/** Rows come back from a disk, perhaps written by another version: their shape is reported when wrong, never assumed. */
import { z } from 'zod';
import { BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, REPLICAS_MAX, VOLUME_BYTES_MAX } from './limits.js';
import { ModelError } from './model-error.js';
import {
  BINDING_MODES,
  CONSISTENCY_LEVELS,
  FS_TYPES,
  RECLAIM_POLICIES,
  REPLICATION_STRATEGIES,
  type StorageClass,
} from './storage-class.js';
import { VOLUME_PHASES, VOLUME_TYPES, type VolumeRow } from './volume-row.js';

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

const volumeRow = z
  .strictObject({
    id: z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
    name: z.string().min(1),
    layer: count,
    sizeBytes: z.number().int().min(1).max(VOLUME_BYTES_MAX),
    blockBytes: z.number().int().min(BLOCK_BYTES_MIN).max(BLOCK_BYTES_MAX),
    storageClass: z.string().min(1),
    volumeType: z.enum(VOLUME_TYPES),
    replicasDesired: z.number().int().min(1).max(REPLICAS_MAX),
    createdAtMs: count,
    labels: z.record(z.string(), z.string()),
    protected: z.boolean(),
    epoch: z.number().int().min(0).max(0xffffffff),
    dataKeyNumbers: z.array(z.number().int().min(1).max(0xffffffff)),
    encrypted: z.boolean(),
    // Rows from before encryption could be turned on and off have none.
    plainBlocks: z.boolean().optional(),
    export: z.strictObject({ readOnly: z.boolean() }).nullable(),
    retained: z.strictObject({ sinceMs: count, formerName: z.string().min(1) }).nullable(),
    phase: z.enum(VOLUME_PHASES),
  })
  .transform((row) => ({ ...row, plainBlocks: row.plainBlocks ?? !row.encrypted }))
  .refine((row) => !row.encrypted || row.dataKeyNumbers.length > 0, 'an encrypted volume has data keys')
  .refine((row) => row.encrypted || row.plainBlocks, 'a volume that is not encrypted has plain blocks')
  .refine((row) => row.phase !== 'retained' || row.retained !== null, 'a retained volume says since when')
  .refine((row) => row.phase !== 'live' || row.retained === null, 'a live volume is not retained');

const storageClass = z.strictObject({
  name: z.string().min(1),
  provisioner: z.string().min(1),
  parameters: z.strictObject({
    encryption: z.boolean(),
    fsType: z.enum(FS_TYPES),
    replication: z.number().int().min(1).max(REPLICAS_MAX),
    consistencyLevel: z.enum(CONSISTENCY_LEVELS),
    replicationStrategy: z.enum(REPLICATION_STRATEGIES),
  }),
  givenParameters: z.record(z.string(), z.string()),
  reclaimPolicy: z.enum(RECLAIM_POLICIES),
  volumeBindingMode: z.enum(BINDING_MODES),
  allowedTopologies: z.array(z.strictObject({ key: z.string(), values: z.array(z.string()) })),
  mountOptions: z.array(z.string()),
  builtIn: z.boolean(),
  createdAtMs: count,
});

/** `subject` names the row in the error, such as its key. Throws ModelError ROW. */
export function parseVolumeRow(value: unknown, subject: string): VolumeRow {
  return parse(volumeRow, value, subject);
}

/** As `parseVolumeRow`. */
export function parseStorageClassRow(value: unknown, subject: string): StorageClass {
  return parse(storageClass, value, subject);
}

function parse<T>(schema: z.ZodType<T>, value: unknown, subject: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const detail = z.prettifyError(result.error).replaceAll(/\s+/g, ' ');
  throw new ModelError(`${subject} does not have the shape this version knows: ${detail}`, { code: 'ROW', subject });
}
