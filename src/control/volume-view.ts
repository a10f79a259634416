import type { VolumeQos } from '../model/qos-settings.js';
import type { ReclaimPolicy } from '../model/storage-class.js';
import type { VolumeType } from '../model/volume-row.js';
import type { ExportConnection, Exports } from './exports.js';
import { sealingNumberOf } from './volume-keys.js';
import type { VolumeRecord } from './volume-record.js';

export type VolumeState = 'available' | 'in-use' | 'retained' | 'damaged' | 'locked' | 'deleting';

export interface ExportView {
  readonly name: string;
  readonly uri: string;
  readonly socketUri: string;
  readonly readOnly: boolean;
  readonly connections: readonly ExportConnection[];
}

/** A volume as people see it. */
export interface VolumeView {
  readonly id: string;
  /** The former name when it is retained. */
  readonly name: string;
  readonly sizeBytes: number;
  /** Live data in bytes, without headers. */
  readonly allocatedBytes: number;
  readonly blockBytes: number;
  readonly storageClass: string;
  readonly encrypted: boolean;
  readonly state: VolumeState;
  /** '' when all is well. */
  readonly stateReason: string;
  readonly replicas: { readonly current: number; readonly desired: number };
  readonly createdAtMs: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly export: ExportView | null;
  readonly volumeType: VolumeType;
  readonly protected: boolean;
  /** 0 unless retained. */
  readonly retainedAtMs: number;
  readonly reclaimPolicy: ReclaimPolicy;
  /** The key that new writes use; 0: not encrypted. */
  readonly dataKeyNumber: number;
  /** Limits and guarantees; null: none. */
  readonly qos: VolumeQos | null;
  /** Live snapshots of it. */
  readonly snapshots: number;
  /** What it was cloned from, as it was called then; '' when it was made empty. */
  readonly origin: string;
}

export interface ViewSources {
  readonly exports: Exports;
  /** Live bytes of a layer that is not open. */
  allocatedOf(layer: number): number;
  snapshotsOf(record: VolumeRecord): number;
  reclaimPolicyOf(record: VolumeRecord): ReclaimPolicy;
  /** Why a deletion has not come to its end, with the next try; '' when it is under way. */
  deletionTrouble(record: VolumeRecord): string;
}

/** Reads rows and counters of this moment; changes nothing. */
export function viewOf(record: VolumeRecord, sources: ViewSources): VolumeView {
  const { row } = record;
  const connections = sources.exports.connections(record.id);
  const [state, stateReason] = stateOf(record, connections.length, sources);
  return {
    id: row.id,
    name: record.displayName,
    sizeBytes: row.sizeBytes,
    allocatedBytes: record.handle?.allocatedBytes ?? sources.allocatedOf(row.layer),
    blockBytes: row.blockBytes,
    storageClass: row.storageClass,
    encrypted: row.encrypted,
    state,
    stateReason,
    // Until there is a cluster this node is the one replica, and a volume that is not served has none.
    replicas: { current: state === 'damaged' ? 0 : 1, desired: row.replicasDesired },
    createdAtMs: row.createdAtMs,
    labels: row.labels,
    export:
      row.export === null || row.phase !== 'live'
        ? null
        : { name: row.name, ...sources.exports.uris(row.name), readOnly: row.export.readOnly, connections },
    volumeType: row.volumeType,
    protected: row.protected,
    retainedAtMs: row.retained?.sinceMs ?? 0,
    reclaimPolicy: sources.reclaimPolicyOf(record),
    snapshots: sources.snapshotsOf(record),
    origin: row.origin,
    dataKeyNumber: sealingNumberOf(row),
    qos: row.qos,
  };
}

function stateOf(record: VolumeRecord, connections: number, sources: ViewSources): [VolumeState, string] {
  const { row, serving } = record;
  if (row.phase === 'deleting') return ['deleting', sources.deletionTrouble(record)];
  if (row.phase === 'retained') return ['retained', ''];
  switch (serving.state) {
    case 'locked':
    case 'damaged':
      return [serving.state, serving.reason];
    case 'closed':
      return ['locked', 'it is not open yet'];
    case 'open':
      return [connections > 0 ? 'in-use' : 'available', ''];
  }
}
