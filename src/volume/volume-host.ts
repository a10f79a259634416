import type { BlockDevice } from '../device/block-device.js';
import type { DeviceStatistics } from '../device/device-statistics.js';
import type { DataKey, HeadKeys, PlainBlocks } from '../store/head.js';

export type { DataKey, PlainBlocks };

/**
 * The keys of a volume, and whether it has blocks without encryption. Whoever is given them copies the secrets into the
 * addon and overwrites these arrays with zeros.
 */
export type VolumeKeys = HeadKeys;

/** Number of a layer; never reused on a node. */
export type LayerId = number & { readonly unit: 'layer' };

export interface OpenVolume extends VolumeKeys {
  readonly volumeId: string;
  readonly layer: LayerId;
  /** Greater than every epoch this volume was opened with before. */
  readonly epoch: number;
  readonly readOnly?: boolean;
}

export interface LayerSummary {
  readonly layer: LayerId;
  readonly blockBytes: number;
  readonly sizeBytes: number;
  /** Live data in bytes, without headers. */
  readonly allocatedBytes: number;
  /** '' or why it is refused: which damage made its content unprovable. */
  readonly damage: string;
}

export interface StoreReport {
  readonly state: 'starting' | 'ready' | 'reopening' | 'closed';
  /** Why it is not ready, with the last error and when it is tried next; '' when ready. */
  readonly stateReason: string;
  readonly liveBytes: number;
  readonly journalBytes: number;
  /** Journal that a start would replay now. */
  readonly replayBytes: number;
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** The line that the last recovery logged. */
  readonly lastRecovery: string;
  readonly mapCacheHits: number;
  readonly mapCacheMisses: number;
  readonly mapCacheBytes: number;
  readonly appendedBytes: number;
  readonly checkpoints: number;
  readonly checkpointMsLast: number;
  readonly syncs: number;
  /** Sum of fdatasync latencies, milliseconds, and counts per bucket of LATENCY_BOUNDS_MS (plus one). */
  readonly syncMsSum: number;
  readonly syncBuckets: Float64Array;
  /** Blocks that failed authentication since start. */
  readonly unauthenticBlocks: number;
}

/** An open volume: a device plus what the control plane may do to it. */
export interface VolumeHandle extends BlockDevice {
  readonly volumeId: string;
  readonly statistics: DeviceStatistics;
  /** Live data in bytes, without headers. */
  readonly allocatedBytes: number;
  /** Grows it; resolves when the new size is durable. Bytes past the old end read as zeros. */
  expand(sizeBytes: number): Promise<void>;
  /**
   * Gives it other keys while it is in use. `decided` makes the change durable; writes from then on are sealed as `next`
   * says, in order and without a failure, and when this resolves no write under the keys before is under way any more.
   * Rejects as `decided` does, with nothing changed, and with DeviceError CLOSED.
   */
  rekey(next: VolumeKeys, decided: () => Promise<void>): Promise<void>;
  /** Completes what is in flight, then refuses requests with CLOSED. Idempotent. */
  close(): Promise<void>;
}

/** The volumes of one node, over its store. Layer verbs resolve when their journal record is durable. */
export interface VolumeHost {
  /** An empty layer. A crash before the caller has recorded it leaves an orphan that `layers()` shows. */
  createLayer(blockBytes: number, sizeBytes: number): Promise<LayerId>;
  /** Removes a layer and everything in it. Its volume must be closed. Fine if it is already gone. */
  dropLayer(layer: LayerId): Promise<void>;
  layers(): LayerSummary[];
  /** Opens a layer for I/O; every request to a damaged one fails with IO. Throws DeviceError IO when the layer is unknown. */
  open(options: OpenVolume): VolumeHandle;
  report(): StoreReport;
  /** Writes a checkpoint now. */
  checkpoint(): Promise<void>;
}
