/** Rows come back from a disk, perhaps written by another version: their shape is reported when wrong, never assumed. */
import { z } from 'zod';
import { BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, REPLICAS_MAX, VOLUME_BYTES_MAX } from './limits.js';
import { ModelError } from './model-error.js';
import { type QosPolicy, qosProblems } from './qos-settings.js';
import {
  BINDING_MODES,
  CONSISTENCY_LEVELS,
  FS_TYPES,
  RECLAIM_POLICIES,
  REPLICATION_STRATEGIES,
  type StorageClass,
} from './storage-class.js';
import type { ScheduleRow } from './schedule-row.js';
import { SNAPSHOT_ORIGINS, SNAPSHOT_PHASES, type SnapshotRow } from './snapshot-row.js';
import { VOLUME_PHASES, VOLUME_TYPES, type VolumeRow } from './volume-row.js';

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

const uuid = z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
const epoch = z.number().int().min(0).max(0xffffffff);
const keyNumbers = z.array(z.number().int().min(1).max(0xffffffff));
const qosSettings = z
  .strictObject({
    iops: count,
    throughput: count,
    readIops: count,
    writeIops: count,
    readThroughput: count,
    writeThroughput: count,
    burstMultiplier: z.number(),
    burstDurationMs: count,
    guaranteedIops: count,
    guaranteedThroughput: count,
  })
  .refine((settings) => qosProblems(settings).length === 0, 'limits and guarantees fit together');

const qosPolicy = z.strictObject({ name: z.string().min(1), settings: qosSettings, createdAtMs: count });

const volumeRow = z
  .strictObject({
    id: uuid,
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
    epoch,
    dataKeyNumbers: keyNumbers,
    encrypted: z.boolean(),
    // Rows from before encryption could be turned on and off have none.
    plainBlocks: z.boolean().optional(),
    export: z.strictObject({ readOnly: z.boolean() }).nullable(),
    retained: z.strictObject({ sinceMs: count, formerName: z.string().min(1) }).nullable(),
    phase: z.enum(VOLUME_PHASES),
    // Rows that are older than clones have none.
    origin: z.string().default(''),
    // Rows of versions before it have none.
    qos: z.strictObject({ policy: z.string(), settings: qosSettings }).nullable().default(null),
  })
  .transform((row) => ({ ...row, plainBlocks: row.plainBlocks ?? !row.encrypted }))
  .refine((row) => !row.encrypted || row.dataKeyNumbers.length > 0, 'an encrypted volume has data keys')
  .refine((row) => row.encrypted || row.plainBlocks, 'a volume that is not encrypted has plain blocks')
  .refine((row) => row.phase !== 'retained' || row.retained !== null, 'a retained volume says since when')
  .refine((row) => row.phase !== 'live' || row.retained === null, 'a live volume is not retained');

const snapshotRow = z.strictObject({
  id: uuid,
  name: z.string().min(1),
  volumeId: uuid,
  layer: count,
  sizeBytes: z.number().int().min(1).max(VOLUME_BYTES_MAX),
  blockBytes: z.number().int().min(BLOCK_BYTES_MIN).max(BLOCK_BYTES_MAX),
  createdAtMs: count,
  epoch,
  dataKeyNumbers: keyNumbers,
  encrypted: z.boolean(),
  plainBlocks: z.boolean(),
  held: z.boolean(),
  origin: z.enum(SNAPSHOT_ORIGINS),
  labels: z.record(z.string(), z.string()),
  exported: z.boolean(),
  streamId: uuid,
  phase: z.enum(SNAPSHOT_PHASES),
});

const scheduleRow = z.strictObject({
  volumeId: uuid,
  cron: z.string().min(1),
  timeZone: z.string().min(1),
  keep: z.strictObject({ last: count, hourly: count, daily: count, weekly: count, monthly: count }),
  sinceMs: count,
  last: z.strictObject({ atMs: count, ok: z.boolean(), text: z.string(), deleted: count }).nullable(),
});

const storageClass = z.strictObject({
  name: z.string().min(1),
  provisioner: z.string().min(1),
  parameters: z.strictObject({
    encryption: z.boolean(),
    fsType: z.enum(FS_TYPES),
    replication: z.number().int().min(1).max(REPLICAS_MAX),
    consistencyLevel: z.enum(CONSISTENCY_LEVELS),
    replicationStrategy: z.enum(REPLICATION_STRATEGIES),
    qosPolicy: z.string().default(''),
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

/** As `parseVolumeRow`. */
export function parseSnapshotRow(value: unknown, subject: string): SnapshotRow {
  return parse(snapshotRow, value, subject);
}

/** As `parseVolumeRow`. */
export function parseScheduleRow(value: unknown, subject: string): ScheduleRow {
  return parse(scheduleRow, value, subject);
}

/** As `parseVolumeRow`. */
export function parseQosPolicyRow(value: unknown, subject: string): QosPolicy {
  return parse(qosPolicy, value, subject);
}

function parse<T>(schema: z.ZodType<T>, value: unknown, subject: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const detail = z.prettifyError(result.error).replaceAll(/\s+/g, ' ');
  throw new ModelError(`${subject} does not have the shape this version knows: ${detail}`, { code: 'ROW', subject });
}
