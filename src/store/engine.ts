import type { Clock, Random } from '../base/clock.js';
import type { Closable } from '../base/lifecycle.js';
import type { Log } from '../base/log.js';
import type { BlockKeys, Checksums } from '../io/block-keys.js';
import type { Files } from '../io/files.js';
import type { Checkpointer } from './checkpointer.js';
import type { Journal } from './journal/journal.js';
import type { SegmentFiles } from './journal/segment-files.js';
import type { SegmentPool } from './journal/segment-pool.js';
import type { SegmentRow, SegmentTable } from './journal/segment-table.js';
import type { BlockMap } from './map/block-map.js';
import type { LeafMoves } from './map/leaf-moves.js';
import type { MapEnvironment } from './map/map-environment.js';
import type { LeafWriter } from './leaf-writer.js';
import type { MapReserve } from './map-reserve.js';
import type { MapRows } from './map/map-rows.js';
import type { SealingKeys } from './sealing-keys.js';
import type { StoreError } from './store-error.js';

export interface EngineOptions {
  readonly storagePath: string;
  /** 16 bytes; segments of another node are left alone. */
  readonly nodeId: Uint8Array;
  readonly segmentBytes: number;
  readonly mapCacheBytes: number;
  readonly journalCacheBytes: number;
  /** The journal takes no more of the disk; Infinity: as much as there is. */
  readonly capacityBytes: number;
}

/** What the engine tells its owner while it runs. */
export interface EngineEvents {
  readonly wantPad: () => void;
  /** Fewer bytes are unwritten, fewer leaves dirty, or a checkpoint has ended: changes that a limit held back may go on. */
  readonly progressed: () => void;
  readonly failed: (error: StoreError) => void;
}

export interface EngineDependencies {
  readonly files: Files;
  readonly keys: BlockKeys;
  readonly checksums: Checksums;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Opens the map's database in a folder that exists. */
  readonly openEnvironment: (path: string) => Promise<MapEnvironment>;
  /** Looks at the map's database from a child process: '' or what is wrong with it. */
  readonly probeEnvironment: (path: string) => Promise<string>;
}

export interface Recovery {
  /** The line that was logged. */
  readonly summary: string;
  /** Sequence of the first record after the recovered prefix. */
  readonly sequence: number;
}

/** Everything that lives between two openings of the store. */
export interface Engine {
  readonly rows: MapRows;
  readonly table: SegmentTable;
  readonly segmentFiles: SegmentFiles;
  readonly pool: SegmentPool;
  readonly map: BlockMap;
  readonly journal: Journal;
  readonly checkpointer: Checkpointer;
  readonly leaves: LeafWriter;
  readonly moves: LeafMoves;
  readonly reserve: MapReserve;
  readonly sealing: SealingKeys;
  readonly recovery: Recovery;
  /** Makes a segment's row durable. */
  readonly register: (row: SegmentRow) => Promise<void>;
  /** What works beside the requests; disposing ends it first. */
  readonly background: Closable[];
  takeLayerId(): number;
  /** Releases everything without syncing; idempotent. */
  dispose(): Promise<void>;
}
