import type { BlockDevice } from '../device/block-device.js';
import type { DeviceStatistics } from '../device/device-statistics.js';
import type { QosSettings } from '../model/qos-settings.js';
import type { ThrottleReading } from '../qos/throttle-statistics.js';
import type { DataKey, HeadKeys, PlainBlocks } from '../store/head.js';
import type { ResealOptions, ResealOutcome, ResealProgress } from '../store/cleaner/resealer.js';
import type { BadRange, ScrubProgress, ScrubRequest } from './volume-scrub.js';

export type { DataKey, PlainBlocks, ResealOptions, ResealOutcome, ResealProgress, ThrottleReading };

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
  /** The layer that it was made from and still shows; null: none. */
  readonly parent: LayerId | null;
  readonly state: 'head' | 'frozen';
  /** Dropped while others were made from it: nobody's any more, it goes by itself. */
  readonly hidden: boolean;
  /** Its map is being taken over by its only child; null: it is not. */
  readonly merge: { readonly doneLeaves: number; readonly totalLeaves: number } | null;
  readonly blockBytes: number;
  readonly sizeBytes: number;
  /** Live data of its own in bytes, without headers and without what it shows of its parents. */
  readonly allocatedBytes: number;
  /** '' or why it is refused: which damage made its content unprovable. */
  readonly damage: string;
}

export interface ChangedRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** false: it reads as zeros now. */
  readonly data: boolean;
}

export interface ChangedRanges {
  /** Ascending, neighbours of one kind merged. */
  readonly ranges: readonly ChangedRange[];
  /** Where to go on; null: this was all. */
  readonly nextOffsetBytes: number | null;
}

/** What a layer takes, bytes of live data without headers. */
export interface LayerUsage {
  /** What goes when it is deleted: its own blocks that nothing made from it shows. */
  readonly exclusiveBytes: number;
  /** What it shows, its parents' blocks included. */
  readonly referencedBytes: number;
}

export interface StoreReport {
  readonly state: 'starting' | 'ready' | 'reopening' | 'closed';
  /** Why it is not ready, with the last error and when it is tried next; '' when ready. */
  readonly stateReason: string;
  readonly liveBytes: number;
  readonly journalBytes: number;
  /** Journal that a start would replay now. */
  readonly replayBytes: number;
  /** What volumes can still write, dead blocks included, and what that makes with what they take. */
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
  /** Segments that the cleaner has emptied, blocks that it moved for that, and bytes that it appended for them. */
  readonly cleaned: { readonly segments: number; readonly blocks: number; readonly bytes: number };
  /** Blocks that failed authentication since start. */
  readonly unauthenticBlocks: number;
}

/** An open volume: a device plus what the control plane may do to it. */
export interface VolumeHandle extends BlockDevice {
  readonly volumeId: string;
  readonly statistics: DeviceStatistics;
  /** Live data in bytes, without headers. */
  readonly allocatedBytes: number;
  /** What its limits have made requests wait since it was opened. */
  readonly throttling: ThrottleReading;
  /** Limits and guarantees from now on, also for what waits; null: none. Without effect once it is closing. */
  setQos(settings: QosSettings | null): void;
  /** Grows it; resolves when the new size is durable. Bytes past the old end read as zeros. */
  expand(sizeBytes: number): Promise<void>;
  /**
   * Gives it other keys while it is in use. `decided` makes the change durable; writes from then on are sealed as `next`
   * says, in order and without a failure, and when this resolves no write under the keys before is under way any more.
   * Rejects as `decided` does, with nothing changed, and with DeviceError CLOSED.
   */
  rekey(next: VolumeKeys, decided: () => Promise<void>): Promise<void>;
  /**
   * Reads and authenticates all that the volume and its snapshots hold, one batch a step, behind everybody else. Ends when all
   * is read or the signal says so; throws DeviceError CLOSED when the volume is closed meanwhile.
   */
  scrub(request: ScrubRequest): AsyncGenerator<ScrubProgress, void, void>;
  /**
   * Seals its blocks and those of its snapshots anew that are under keys which are to go, behind everybody else. Whatever
   * opens the snapshots must have the present key before. Resolves with nothing proven when the signal ends it or its keys
   * are changed; throws DeviceError CLOSED when the volume is closed meanwhile, and StoreError.
   */
  reseal(options: ResealOptions): Promise<ResealOutcome>;
  /** Completes what is in flight, then refuses requests with CLOSED. Idempotent. */
  close(): Promise<void>;
}

/** The volumes of one node, over its store. Layer verbs resolve when their journal record is durable. */
export interface VolumeHost {
  /**
   * An empty layer, or with `parent` a clone of a frozen one, whose block size it has. A crash before the caller has
   * recorded it leaves an orphan that `layers()` shows.
   */
  createLayer(blockBytes: number, sizeBytes: number, parent?: LayerId): Promise<LayerId>;
  /**
   * Freezes heads at one point of the journal and gives each a new head: between two requests, without a failed or
   * reordered one. Open volumes go on through their handles. Resolves to the new heads, in order. A crash before the caller
   * has recorded them leaves frozen layers whose newest child nobody knows.
   */
  freeze(layers: readonly LayerId[]): Promise<LayerId[]>;
  /**
   * Removes a layer and everything in it. Its volume must be closed. Fine if it is already gone. A frozen one that others
   * were made from is hidden, and goes by itself once at most one of them is left.
   */
  dropLayer(layer: LayerId): Promise<void>;
  usage(layer: LayerId): Promise<LayerUsage>;
  /**
   * What has changed in `to` since `from` (null: since it was empty), from an offset on, at most `rangesMax` ranges. A range
   * may hold the same bytes as before; what is not in one is the same. Throws StoreError UNRELATED, which names both, when
   * neither was made from the other nor both from a third; UNKNOWN_LAYER, DAMAGED, CLOSED.
   */
  diff(from: LayerId | null, to: LayerId, fromOffsetBytes: number, rangesMax: number): Promise<ChangedRanges>;
  /** Which of the ranges that scrubs found damaged the map still names there; the others are clean. */
  stillBad(ranges: readonly BadRange[]): Promise<BadRange[]>;
  layers(): LayerSummary[];
  /** Opens a layer for I/O, a frozen one for reading alone; every request to a damaged one fails with IO. Throws DeviceError IO when the layer is unknown. */
  open(options: OpenVolume): VolumeHandle;
  report(): StoreReport;
  /** Writes a checkpoint now. */
  checkpoint(): Promise<void>;
}
