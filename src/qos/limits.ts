import { assert } from '../base/assert.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * A bucket without burst holds what its rate gives in this time: as much a volume may do at once after a pause, and as
 * late a timer may be before tokens are lost.
 */
export const BUCKET_MS = 100;
/**
 * What waits is looked at no more often than this. The bucket fills meanwhile, so it costs no throughput; it keeps a
 * throttled volume at a few hundred wakeups a second, whatever its rate.
 */
export const TICK_MS = 4;
/** ... and where the last of a long queue waits much longer anyway, no more often than this. */
export const LONG_TICK_MS = 25;
/** What a tick may be of the time that the last of the queue waits. */
export const TICK_SHARE = 1 / 8;
/** A timer is set again at the latest after this, so that no wait is longer than a timer can be. */
export const WAIT_MS_MAX = 60_000;
/** A request counts as one operation for each part of this size, its last one included. */
export const OPERATION_BYTES = 256 * KIB;
/** The same for TRIM and WRITE_ZEROES, which carry no data: what they cost is changes of the map. */
export const HOLE_OPERATION_BYTES = 64 * MIB;

/**
 * Requests and bytes that the store may have of volumes that take turns, and as many again of those that use their
 * guarantee: enough to keep it busy, short enough to wait for.
 */
export const IN_STORE_REQUESTS_MAX = 64;
export const IN_STORE_BYTES_MAX = 4 * MIB;
/** What a request costs beside its bytes, in bytes: taking one in and answering it takes as long as this much data. */
export const REQUEST_COST_BYTES = 8 * KIB;
/** What a volume of weight 1 may do in its turn, in cost. */
export const QUANTUM_BYTES = 64 * KIB;
/** Volumes with a guarantee that one completion looks at: it must not get dearer with their number. */
export const GUARANTEES_LOOKED_AT_MAX = 8;
/** A guarantee adds 1 to the weight of its volume for so many operations, or bytes, a second. */
export const WEIGHT_IOPS = 1000;
export const WEIGHT_BYTES = 64 * MIB;

assert(TICK_MS <= LONG_TICK_MS, 'a longer tick is longer');
assert(LONG_TICK_MS * 2 <= BUCKET_MS, 'a bucket does not run over between two looks');
assert(IN_STORE_BYTES_MAX >= OPERATION_BYTES, 'the store may have a whole operation');
assert(REQUEST_COST_BYTES <= QUANTUM_BYTES, 'a turn serves a small request');
