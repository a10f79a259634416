/** What metrics asks of the rooms that it shows. They are read when somebody scrapes, never per request. */

/** Counters of one volume. Rows follow `MetricsOptions.operationNames`; all of them only grow, but for `inFlight`. */
export interface OperationCounters {
  readonly operations: Float64Array;
  /** Bytes of successful requests. */
  readonly bytes: Float64Array;
  readonly errors: Float64Array;
  readonly latencyMsSum: Float64Array;
  /** Row = operation; one column per bound of `latencyBoundsMs`, and one more. */
  readonly latencyBuckets: Float64Array;
  readonly inFlight: number;
}

export interface VolumeMeasure {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly sizeBytes: number;
  /** Live data in bytes, without headers. */
  readonly allocatedBytes: number;
  readonly connections: number;
  /** null: it is not open. */
  readonly counters: OperationCounters | null;
}

/** The journal, the map and the disk under them. Bytes, milliseconds, counts since start. */
export interface StoreMeasure {
  readonly state: string;
  readonly liveBytes: number;
  readonly journalBytes: number;
  readonly replayBytes: number;
  readonly freeBytes: number;
  readonly totalBytes: number;
  readonly mapCacheHits: number;
  readonly mapCacheMisses: number;
  readonly mapCacheBytes: number;
  readonly appendedBytes: number;
  readonly checkpoints: number;
  readonly checkpointMsLast: number;
  readonly syncs: number;
  readonly syncMsSum: number;
  readonly syncBuckets: Float64Array;
  readonly unauthenticBlocks: number;
}

export interface Measures {
  volumes(): readonly VolumeMeasure[];
  store(): StoreMeasure;
}

export interface Health {
  readonly healthy: boolean;
  /** One line: why not, or the state. */
  readonly reason: string;
}
