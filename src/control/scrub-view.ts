import type { BadRangeRow, ScrubResult, ScrubRow, ScrubRun } from '../model/scrub-row.js';
import type { LayerSummary } from '../volume/volume-host.js';
import type { VolumeRecord } from './volume-record.js';

/** What a scrub must know of snapshots, which other parts of this room keep. */
export interface ScrubSnapshots {
  /** Layers of the snapshots of a volume. */
  layersOf(volumeId: string): readonly number[];
  /** What people call the snapshot that a layer belongs to, of whichever volume; '' when there is none. */
  nameOf(layer: number): string;
}

/** A snapshot that was deleted and whose blocks something else still shows. */
const DELETED_SNAPSHOT = '(deleted)';

/** idle: nothing to do. queued: its turn comes. running. waiting: it goes on by itself when its volume can be read. */
export type ScrubState = 'idle' | 'queued' | 'running' | 'waiting';

export interface BadRangeView extends Omit<BadRangeRow, 'run' | 'status'> {
  /** '' when it belongs to the volume as it is written now. */
  readonly snapshot: string;
}

export interface ScrubView {
  readonly volumeId: string;
  readonly name: string;
  readonly state: ScrubState;
  /** Why it waits, or cannot be scrubbed; '' when nothing is in its way. */
  readonly stateReason: string;
  /** Of the run that is not at its end; null: there is none. */
  readonly run: null | {
    readonly startedAtMs: number;
    readonly actor: string;
    readonly bytesPerSecond: number;
    readonly bytes: number;
    /** Bytes that a whole run reads, about: the volume changes meanwhile. */
    readonly totalBytes: number;
    readonly blocks: number;
    readonly activeMs: number;
  };
  readonly last: ScrubResult | null;
  readonly badBlocks: number;
  readonly bad: readonly BadRangeView[];
  /** Of `badBlocks`, those that are not among `bad`. */
  readonly moreBadBlocks: number;
  /** When the schedule begins the next one, wall clock; 0: never. */
  readonly nextAtMs: number;
}

/** Blocks that are known to be bad. */
export function badBlocksOf(row: Pick<ScrubRow, 'bad' | 'moreBadBlocks'>, blockBytes: number): number {
  return row.bad.reduce((sum, range) => sum + range.lengthBytes / blockBytes, row.moreBadBlocks);
}

export function badRangeView(range: BadRangeRow, record: VolumeRecord, snapshots: ScrubSnapshots): BadRangeView {
  const { layer, offsetBytes, lengthBytes, segment, generation, fileOffset, reason, shown } = range;
  const snapshot = layer === record.row.layer ? '' : snapshots.nameOf(layer) || DELETED_SNAPSHOT;
  return { layer, offsetBytes, lengthBytes, segment, generation, fileOffset, reason, shown, snapshot };
}

/** What is kept of a run that has ended. */
export function resultOf(
  { startedAtMs, actor, activeMs, blocks, bytes }: ScrubRun,
  end: Pick<ScrubResult, 'endedAtMs' | 'outcome' | 'reason' | 'badBlocks'>,
): ScrubResult {
  return { startedAtMs, actor, activeMs, blocks, bytes, ...end };
}

/** Why a volume cannot be scrubbed now; '' when it can. */
export function scrubObstacle(record: VolumeRecord): string {
  const { row, serving } = record;
  if (row.phase === 'retained') return 'it is deleted and kept: bring it back first (`gfs volume restore`)';
  if (row.phase !== 'live') return 'it is being deleted';
  switch (serving.state) {
    case 'open':
      return '';
    case 'locked':
      return `it is locked, and without its key its blocks cannot be authenticated: ${serving.reason}`;
    case 'damaged':
      return `it is refused as a whole: ${serving.reason}`;
    case 'closed':
      return 'it is not open yet';
  }
}

/** Bytes in the journal that a whole run reads: the volume's layer, its ancestors and its snapshots', each once. */
export function bytesToRead(record: VolumeRecord, snapshots: ScrubSnapshots, layers: readonly LayerSummary[]): number {
  const known = new Map(layers.map((layer) => [layer.layer as number, layer]));
  const wanted = new Map<number, LayerSummary>();
  for (const start of [record.row.layer, ...snapshots.layersOf(record.id)]) {
    let layer = known.get(start);
    while (layer !== undefined && !wanted.has(layer.layer)) {
      wanted.set(layer.layer, layer);
      layer = layer.parent === null ? undefined : known.get(layer.parent);
    }
  }
  let bytes = 0;
  for (const { allocatedBytes } of wanted.values()) bytes += allocatedBytes + allocatedBytes / 64;
  return bytes;
}
