import type { SnapshotOrigin } from '../../model/snapshot-row.js';
import { pointName } from '../../model/snapshot-name.js';
import type { LayerUsage } from '../../volume/volume-host.js';
import type { Exports } from '../exports.js';
import type { VolumeRecord } from '../volume-record.js';
import type { ExportView } from '../volume-view.js';
import type { SnapshotRecord } from './snapshot-record.js';

export type SnapshotState = 'available' | 'in-use' | 'locked' | 'damaged' | 'deleting';

/** A snapshot as people see it. */
export interface SnapshotView {
  readonly id: string;
  /** Without its volume. */
  readonly name: string;
  readonly volume: string;
  readonly volumeId: string;
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly createdAtMs: number;
  /** What deleting it would free. */
  readonly exclusiveBytes: number;
  /** Live data that it shows. */
  readonly referencedBytes: number;
  readonly held: boolean;
  readonly origin: SnapshotOrigin;
  readonly labels: Readonly<Record<string, string>>;
  readonly encrypted: boolean;
  readonly state: SnapshotState;
  /** '' when all is well. */
  readonly stateReason: string;
  /** Of a deletion that goes on, from 0 to 1; null: there is nothing to tell. */
  readonly progress: number | null;
  readonly export: ExportView | null;
}

export interface SnapshotViewSources {
  readonly exports: Exports;
  /** '' or why the store refuses its layer. */
  damageOf(snapshot: SnapshotRecord): string;
  progressOf(snapshot: SnapshotRecord): number | null;
  /** Why a deletion has not come to its end, with the next try; '' when it is under way. */
  deletionTrouble(snapshot: SnapshotRecord): string;
}

/** Reads rows and counters of this moment; changes nothing. */
export function snapshotViewOf(
  record: VolumeRecord,
  snapshot: SnapshotRecord,
  usage: LayerUsage,
  sources: SnapshotViewSources,
): SnapshotView {
  const { row } = snapshot;
  const name = pointName(record.row.name, row.name);
  const connections = sources.exports.connections(row.id);
  const [state, stateReason] = stateOf(snapshot, connections.length, sources);
  return {
    id: row.id,
    name: row.name,
    volume: record.displayName,
    volumeId: record.id,
    sizeBytes: row.sizeBytes,
    blockBytes: row.blockBytes,
    createdAtMs: row.createdAtMs,
    ...usage,
    held: row.held,
    origin: row.origin,
    labels: row.labels,
    encrypted: row.encrypted,
    state,
    stateReason,
    progress: sources.progressOf(snapshot),
    export:
      row.exported && record.row.phase === 'live'
        ? { name, ...sources.exports.uris(name), readOnly: true, connections }
        : null,
  };
}

function stateOf(snapshot: SnapshotRecord, connections: number, sources: SnapshotViewSources): [SnapshotState, string] {
  if (snapshot.row.phase === 'deleting') return ['deleting', sources.deletionTrouble(snapshot)];
  const damage = sources.damageOf(snapshot);
  if (damage !== '') return ['damaged', damage];
  const { serving } = snapshot;
  if (serving.state !== 'ready') return [serving.state, serving.reason];
  return [connections > 0 ? 'in-use' : 'available', ''];
}
