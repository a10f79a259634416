import { assert } from '../base/assert.js';

/** Bounds of everything a user may name, size or label. */
export const VOLUME_NAME_LENGTH_MAX = 63;
export const CLASS_NAME_LENGTH_MAX = 63;

/** 1 PiB: well inside what a journal location and a safe integer can address. */
export const VOLUME_BYTES_MAX = 2 ** 50;

export const BLOCK_BYTES_MIN = 4096;
export const BLOCK_BYTES_MAX = 65536;

export const REPLICAS_MAX = 7;

/** Label bounds follow Kubernetes, so that labels can travel to and from it. */
export const LABELS_MAX = 64;
export const LABEL_PREFIX_LENGTH_MAX = 253;
export const LABEL_NAME_LENGTH_MAX = 63;
export const LABEL_VALUE_LENGTH_MAX = 63;

/** Text of a schedule; real ones have twenty characters. */
export const CRON_LENGTH_MAX = 200;
/** Snapshots that one rule of a retention keeps. */
export const RETENTION_MAX = 10_000;
/** A document (a storage class, a policy of quality of service) is read into memory whole. */
export const CLASS_DOCUMENT_BYTES_MAX = 64 * 1024;
/** Things inside one another, the document among them; a topology's value is the deepest that means anything, at 6. */
export const CLASS_DOCUMENT_DEPTH_MAX = 16;
/** Problems of one document that are listed; whoever has more has written something else. */
export const CLASS_DOCUMENT_PROBLEMS_MAX = 100;
export const PROVISIONER_LENGTH_MAX = 253;
export const MOUNT_OPTIONS_MAX = 64;
export const MOUNT_OPTION_LENGTH_MAX = 255;
export const TOPOLOGIES_MAX = 64;
export const TOPOLOGY_VALUES_MAX = 64;

/** Of a second. Above the highest nobody would notice the limit, below the least a client would give up waiting. */
export const QOS_IOPS_MIN = 1;
export const QOS_IOPS_MAX = 10_000_000;
export const QOS_THROUGHPUT_MIN = 64 * 1024;
export const QOS_THROUGHPUT_MAX = 2 ** 40;
export const QOS_BURST_MULTIPLIER_MAX = 100;
export const QOS_BURST_MS_MIN = 1_000;
export const QOS_BURST_MS_MAX = 24 * 3_600_000;

assert(Number.isSafeInteger(VOLUME_BYTES_MAX), 'a volume size is a safe integer');
assert(VOLUME_BYTES_MAX % BLOCK_BYTES_MAX === 0, 'the largest volume holds whole blocks of every size');
