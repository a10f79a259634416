import { assert } from '../base/assert.js';

/** A volume list of tens of thousands of rows fits; gRPC's own limit of 4 MiB would not hold it. */
export const CLIENT_MESSAGE_BYTES_MAX = 32 * 1024 * 1024;

/** Data of one image message, as control.proto promises. */
export const IMAGE_MESSAGE_BYTES_MAX = 1024 * 1024;

/** How long a connection may take to stand. A daemon on the same machine needs a millisecond. */
export const CONNECT_MS_MAX = 3_000;

/** Deadline of a unary call when the user names none. Verbs that drop or purge may have to wait for a checkpoint. */
export const CALL_MS_DEFAULT = 60_000;

/** How long an image stream may stand still before it is given up. */
export const STREAM_IDLE_MS_MAX = 120_000;

/** How long the last message of an import may take: everything before it becomes durable. */
export const IMPORT_FINISH_MS_MAX = 600_000;

/** How long an abandoned import waits for the daemon to confirm that nothing of it is left. */
export const IMPORT_ABANDON_MS_MAX = 30_000;

assert(IMAGE_MESSAGE_BYTES_MAX * 2 < CLIENT_MESSAGE_BYTES_MAX, 'an image message fits the message limit');
assert(CONNECT_MS_MAX < CALL_MS_DEFAULT, 'a dead daemon is noticed before the deadline of a call');
