import { assert } from '../../base/assert.js';

const MIB = 1024 * 1024;

/** A request; the largest is a message of an image import with its 1 MiB of data. */
export const REQUEST_BYTES_MAX = 4 * MIB;
/** A reply; the largest is a list of volumes. */
export const REPLY_BYTES_MAX = 32 * MIB;
/** Calls under way on the whole server, streams included. */
export const CALLS_MAX = 256;
/** Calls under way on one connection. */
export const CALLS_PER_CONNECTION_MAX = 64;
/** Connections that have shown the token. */
export const CONNECTIONS_MAX = 256;
/** Connections that have not shown it yet: strangers, and clients in their first milliseconds. */
export const UNPROVEN_CONNECTIONS_MAX = 64;
/** How long a connection may take to its first call with the token, its TLS handshake included. */
export const PROOF_MS_MAX = 10_000;
/** Text of a status: it travels in an HTTP/2 header. */
export const STATUS_TEXT_LENGTH_MAX = 2_000;
/** How long a shutdown waits for calls under way before it cuts them off. */
export const SHUTDOWN_MS_MAX = 5_000;
/** A silent connection is asked so often whether its client still lives, and cut when it does not answer in time. */
export const KEEPALIVE_MS = 30_000;
export const KEEPALIVE_ANSWER_MS_MAX = 20_000;
/** Bytes of a token file that are looked at. */
export const TOKEN_BYTES_MAX = 4_096;
/** What a client says about itself in `galleon-actor`. */
export const ACTOR_LENGTH_MAX = 100;

assert(CALLS_PER_CONNECTION_MAX <= CALLS_MAX, 'the calls of a connection are calls of the server');
assert(UNPROVEN_CONNECTIONS_MAX <= CONNECTIONS_MAX, 'strangers take less room than clients');
