import { Operation } from '../device/block-device.js';
import { LATENCY_BOUNDS_MS } from '../device/device-statistics.js';
import type { ThrottleReading, VolumeHandle } from '../volume/volume-host.js';

/** What one volume did between two looks at its counters. */
export interface VolumeRates {
  readonly readIops: number;
  readonly writeIops: number;
  readonly readBytesPerSecond: number;
  readonly writeBytesPerSecond: number;
  readonly readLatencyMsP50: number;
  readonly readLatencyMsP99: number;
  readonly writeLatencyMsP50: number;
  readonly writeLatencyMsP99: number;
  readonly errors: number;
  readonly reads: number;
  readonly writes: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** Time in which requests waited for the volume's limits. */
  readonly throttledSeconds: number;
  /** Requests that had to. */
  readonly throttledOperations: number;
}

/** The counters of one moment. */
export interface StatisticsMark {
  readonly operations: Float64Array;
  readonly bytes: Float64Array;
  readonly errors: Float64Array;
  readonly readBuckets: Float64Array;
  readonly writeBuckets: Float64Array;
  readonly throttling: ThrottleReading;
}

/** A copy of the counters as they are now. */
export function markOf({ statistics, throttling }: VolumeHandle): StatisticsMark {
  return {
    operations: statistics.operations.slice(),
    bytes: statistics.bytes.slice(),
    errors: statistics.errors.slice(),
    readBuckets: statistics.bucketsOf(Operation.READ).slice(),
    writeBuckets: statistics.bucketsOf(Operation.WRITE).slice(),
    throttling,
  };
}

/** `before` null: since the volume was opened. */
export function ratesBetween(before: StatisticsMark | null, after: StatisticsMark, seconds: number): VolumeRates {
  const difference = (array: (mark: StatisticsMark) => Float64Array, index: number): number =>
    // A volume that was opened anew counts from zero again.
    Math.max(0, array(after)[index] - (before === null ? 0 : array(before)[index]));
  const reads = difference((mark) => mark.operations, Operation.READ);
  const writes = difference((mark) => mark.operations, Operation.WRITE);
  const readBytes = difference((mark) => mark.bytes, Operation.READ);
  const writtenBytes = difference((mark) => mark.bytes, Operation.WRITE);
  const buckets = (array: (mark: StatisticsMark) => Float64Array): number[] =>
    Array.from(array(after), (_, index) => difference(array, index));
  const readBuckets = buckets((mark) => mark.readBuckets);
  const writeBuckets = buckets((mark) => mark.writeBuckets);
  const per = (count: number): number => (seconds > 0 ? count / seconds : 0);
  return {
    readIops: per(reads),
    writeIops: per(writes),
    readBytesPerSecond: per(readBytes),
    writeBytesPerSecond: per(writtenBytes),
    readLatencyMsP50: latencyQuantile(readBuckets, 0.5),
    readLatencyMsP99: latencyQuantile(readBuckets, 0.99),
    writeLatencyMsP50: latencyQuantile(writeBuckets, 0.5),
    writeLatencyMsP99: latencyQuantile(writeBuckets, 0.99),
    errors: after.errors.reduce((sum, _, index) => sum + difference((mark) => mark.errors, index), 0),
    reads,
    writes,
    readBytes,
    writtenBytes,
    throttledSeconds: Math.max(0, after.throttling.throttledMs - (before?.throttling.throttledMs ?? 0)) / 1000,
    throttledOperations: Math.max(0, after.throttling.throttledRequests - (before?.throttling.throttledRequests ?? 0)),
  };
}

/**
 * The latency, in milliseconds, that a share of the requests stayed within, interpolated inside its bucket as
 * Prometheus' histogram_quantile does; what fell past the last bound counts as that bound. 0 without requests.
 */
export function latencyQuantile(counts: readonly number[], share: number): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return 0;
  const rank = share * total;
  let below = 0;
  for (let index = 0; index < LATENCY_BOUNDS_MS.length; index += 1) {
    const count = counts[index];
    if (count > 0 && below + count >= rank) {
      const lower = index === 0 ? 0 : LATENCY_BOUNDS_MS[index - 1];
      return lower + ((LATENCY_BOUNDS_MS[index] - lower) * (rank - below)) / count;
    }
    below += count;
  }
  return LATENCY_BOUNDS_MS[LATENCY_BOUNDS_MS.length - 1];
}
