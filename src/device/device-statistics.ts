import type { Operation } from './block-device.js';

/** Upper bounds of the latency buckets in milliseconds; one more bucket counts what is slower. */
export const LATENCY_BOUNDS_MS: readonly number[] = [
  0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000,
];

const OPERATIONS = 6;
const BUCKETS = LATENCY_BOUNDS_MS.length + 1;

/**
 * What one volume served, counted where requests enter (the NBD session), read by metrics and `volume stats`. Plain
 * typed arrays: counting costs a few nanoseconds and no allocation. Counters only grow; readers take differences.
 */
export class DeviceStatistics {
  /** Completed requests per Operation, failures included. */
  readonly operations = new Float64Array(OPERATIONS);
  /** Bytes of successful requests per Operation. */
  readonly bytes = new Float64Array(OPERATIONS);
  /** Failed requests per Operation. */
  readonly errors = new Float64Array(OPERATIONS);
  /** Sum of latencies per Operation, milliseconds. */
  readonly latencyMsSum = new Float64Array(OPERATIONS);
  /** Requests per Operation and latency bucket: row = operation, BUCKETS columns. */
  readonly latencyBuckets = new Float64Array(OPERATIONS * BUCKETS);
  inFlight = 0;

  started(): void {
    this.inFlight += 1;
  }

  finished(operation: Operation, lengthBytes: number, latencyMs: number, failed: boolean): void {
    this.inFlight -= 1;
    this.operations[operation] += 1;
    if (failed) this.errors[operation] += 1;
    else this.bytes[operation] += lengthBytes;
    this.latencyMsSum[operation] += latencyMs;
    let bucket = 0;
    while (bucket < LATENCY_BOUNDS_MS.length && latencyMs > LATENCY_BOUNDS_MS[bucket]) bucket += 1;
    this.latencyBuckets[operation * BUCKETS + bucket] += 1;
  }

  /** A request that was held back and refused, because its client has gone or its server ends: no failure to tell of. */
  abandoned(): void {
    this.inFlight -= 1;
  }

  /** The bucket counts of one operation, `LATENCY_BOUNDS_MS.length + 1` of them. */
  bucketsOf(operation: Operation): Float64Array {
    return this.latencyBuckets.subarray(operation * BUCKETS, (operation + 1) * BUCKETS);
  }
}
