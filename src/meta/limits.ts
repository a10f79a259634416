import { assert } from '../base/assert.js';

export const KEY_LENGTH_MAX = 512;
/** etcd refuses requests above 1.5 MiB. */
export const VALUE_BYTES_MAX = 1024 * 1024;
/** etcd's own default for operations in one transaction. */
export const TRANSACTION_OPERATIONS_MAX = 128;
/** Changes kept for watches that start late. */
export const HISTORY_CHANGES_MAX = 4096;

export const LEASE_TTL_MS_MIN = 10;
export const LEASE_TTL_MS_MAX = 24 * 3600 * 1000;
/** How long until the keys of an ended lease are tried again after the disk refused. */
export const LEASE_RETRY_MS = 1000;

/** Address space, not disk: the file grows as it is written, and the map grows beyond this when it must. */
export const LMDB_MAP_BYTES = 1024 ** 3;
/** LMDB reports a short write on a full disk as EIO; with less than this free it is taken for what it is. */
export const FULL_BELOW_BYTES = 16 * 1024 * 1024;

/** Records that a copy writes with one commit; the event loop waits that long. */
export const COPY_RECORDS_PER_COMMIT = 512;

export const PROBE_TIMEOUT_MS = 120_000;
/** Damaged keys that the probe names one by one; the rest is counted. */
export const PROBE_KEYS_NAMED_MAX = 100;

assert(HISTORY_CHANGES_MAX >= TRANSACTION_OPERATIONS_MAX, 'the history holds at least one whole transaction');
assert(COPY_RECORDS_PER_COMMIT > 1, 'each commit of a copy gets further than the one before');
