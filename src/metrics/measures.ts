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

/** What the limits of one volume are, and what they make its requests wait. Counters only grow, but for `waiting`. */
export interface ThrottleMeasure {
  /** Operations or bytes a second by name of the limit; those that are not set are left out. */
  readonly limits: readonly { readonly name: string; readonly perSecond: number }[];
  /** Time in which any request waited, milliseconds. */
  readonly throttledMs: number;
  /** Sum of what each request waited, milliseconds. */
  readonly waitedMs: number;
  readonly throttledRequests: number;
  readonly waiting: number;
}

export interface VolumeMeasure {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly sizeBytes: number;
  /** Live data in bytes, without headers. */
  readonly allocatedBytes: number;
  readonly connections: number;
  readonly snapshots: number;
  /** null: it is not open. */
  readonly counters: OperationCounters | null;
  /** null: it is not open. */
  readonly throttle: ThrottleMeasure | null;
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
  /** Segments that the cleaner has emptied, blocks that it moved for that, and bytes that it appended for them. */
  readonly cleaned: { readonly segments: number; readonly blocks: number; readonly bytes: number };
  readonly unauthenticBlocks: number;
}

/** What scrubs have found. */
export interface ScrubsMeasure {
  /** Since the start. */
  readonly readBytes: number;
  readonly volumes: readonly {
    readonly id: string;
    readonly name: string;
    readonly running: boolean;
    readonly badBlocks: number;
    /** Wall clock, milliseconds; 0: never scrubbed. */
    readonly lastEndedAtMs: number;
  }[];
}

export interface Measures {
  scrubs(): ScrubsMeasure;
  volumes(): readonly VolumeMeasure[];
  store(): StoreMeasure;
}

export interface Health {
  readonly healthy: boolean;
  /** One line: why not, or the state. */
  readonly reason: string;
}
