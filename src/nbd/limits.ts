import { assert } from '../base/assert.js';

/**
 * Everything that a client can make the server hold, wait for or say. A session that reaches one of the limits on
 * requests, memory or output is not read until it is below again, which stalls that client and nobody else.
 */
export interface NbdLimits {
  /** Connections of all kinds. One more is closed as soon as it is accepted. */
  readonly connectionsMax: number;
  /** Connections that have not chosen an export yet. One more is closed as soon as it is accepted. */
  readonly negotiatingMax: number;
  /** Connections that use one volume; a further one is refused with NBD_REP_ERR_POLICY. */
  readonly connectionsPerVolumeMax: number;
  /** From accept to transmission, TLS included. */
  readonly handshakeMsMax: number;
  /** Data of one option that is read; longer options are skipped and refused with NBD_REP_ERR_TOO_BIG. */
  readonly optionBytesMax: number;
  /** Longer options than this are not even skipped: the connection is closed. */
  readonly optionSkipBytesMax: number;
  /** Options in one negotiation. */
  readonly optionsMax: number;
  /** Negotiation replies that wait for the client to read them. */
  readonly negotiationOutputBytesMax: number;
  /** Longest READ or WRITE, told to clients as the maximum block size. */
  readonly payloadBytesMax: number;
  /** Requests between their decoding and their completion, per session. */
  readonly requestsInFlightMax: number;
  /** Buffers held by one session for payloads and replies, counted by their full capacity. */
  readonly sessionBytesMax: number;
  /** The same over all sessions. Above it a session may only go on with one request at a time. */
  readonly serverBytesMax: number;
  /** Replies that wait for the client to read them, per session. */
  readonly outputBytesMax: number;
  /** Free buffers that are kept for reuse. */
  readonly poolBytesMax: number;
  /** Descriptors in one BLOCK_STATUS reply. */
  readonly extentsMax: number;
  /** Metadata contexts that a client may select; each one's descriptors are in every BLOCK_STATUS reply. */
  readonly contextsMax: number;
  /** `requestFailed` events per session and second; more are counted in the next one's `suppressed`. */
  readonly failureReportsPerSecondMax: number;
  /** How long `drain` waits for requests in flight. */
  readonly drainMsMax: number;
  /** How long a connection that was told to end may take to do so, before it is cut. */
  readonly lingerMsMax: number;
  /** Silence after which the kernel asks a TCP peer whether it is still there. */
  readonly keepAliveMs: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

/** A buffer of the pool, unless a payload needs a larger one. */
export const CHUNK_BYTES = 256 * KIB;
/** Room beside the power of two in every buffer, for reply headers and the receive reserve. */
export const CHUNK_SLACK_BYTES = 4 * KIB;
/** A payload up to this size waits for its rest where it is; a longer one moves to a buffer of its own at once. */
export const PAYLOAD_IN_CHUNK_BYTES_MAX = 64 * KIB;
/** Receives are offered at least this much room. */
export const RECEIVE_ROOM_BYTES_MIN = PAYLOAD_IN_CHUNK_BYTES_MAX + 4 * KIB;
/** Replies are handed to the socket when this much is ready, also in the middle of a turn. */
export const FLUSH_BYTES = 256 * KIB;
/**
 * How long the event loop stays awake for the next request: what a client on the same machine needs to take an answer
 * and ask again, when both are woken for that (100 us in a virtual machine). An fdatasync takes longer, and its thread
 * may want the core that polling would keep.
 */
export const BUSY_POLL_MS = 0.2;
/** Only after so many answers that followed each other that quickly. */
export const BUSY_POLL_ANSWERS_MIN = 8;

export const DEFAULT_NBD_LIMITS: NbdLimits = {
  connectionsMax: 512,
  negotiatingMax: 128,
  connectionsPerVolumeMax: 64,
  handshakeMsMax: 30_000,
  optionBytesMax: 16 * KIB,
  optionSkipBytesMax: MIB,
  optionsMax: 4096,
  negotiationOutputBytesMax: 256 * KIB,
  payloadBytesMax: 32 * MIB,
  requestsInFlightMax: 512,
  sessionBytesMax: 64 * MIB,
  serverBytesMax: 1024 * MIB,
  outputBytesMax: 8 * MIB,
  poolBytesMax: 64 * MIB,
  extentsMax: 1024,
  contextsMax: 8,
  failureReportsPerSecondMax: 10,
  drainMsMax: 10_000,
  lingerMsMax: 2_000,
  keepAliveMs: 30_000,
};

/** States the relations between limits; called for the defaults at load and for every server's own. */
export function assertNbdLimits(limits: NbdLimits): void {
  for (const [name, value] of Object.entries(limits) as [string, number][]) {
    assert(Number.isSafeInteger(value) && value > 0, `limit ${name} is a positive integer`);
  }
  assert(limits.negotiatingMax <= limits.connectionsMax, 'negotiating connections are connections');
  assert(limits.connectionsPerVolumeMax <= limits.connectionsMax, 'connections of a volume are connections');
  assert(limits.optionBytesMax >= 4096 + 64, 'an option can carry the longest export name');
  assert(limits.optionSkipBytesMax >= limits.optionBytesMax, 'what can be read can be skipped');
  assert(limits.payloadBytesMax <= 0xffff_ffff - 64, 'a payload and its header fit the 32-bit length of a reply chunk');
  assert(limits.payloadBytesMax >= 65_536, 'unfragmented reads of 65,536 bytes MUST be supported');
  assert(limits.serverBytesMax >= limits.sessionBytesMax, 'one session fits the server');
  assert(limits.sessionBytesMax >= 4 * CHUNK_BYTES, 'a session has room to receive and to reply');
}

assert(PAYLOAD_IN_CHUNK_BYTES_MAX + RECEIVE_ROOM_BYTES_MIN < CHUNK_BYTES, 'a moved payload leaves room to receive');
assert((CHUNK_BYTES & (CHUNK_BYTES - 1)) === 0, 'buffers are powers of two plus slack');
assertNbdLimits(DEFAULT_NBD_LIMITS);
