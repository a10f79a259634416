import type { Connection, Volume, VolumeExport } from '../../ipc/generated/control.js';
import { type QosView, toQosView } from './qos-text.js';

/** A volume as `-o json` shows it. Fields are added, never renamed or removed: scripts read this. */
export interface VolumeView {
  readonly id: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly allocatedBytes: number;
  readonly blockBytes: number;
  readonly storageClass: string;
  readonly encrypted: boolean;
  readonly state: string;
  readonly stateReason: string;
  readonly replicas: { readonly current: number; readonly desired: number };
  readonly createdAt: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly volumeType: string;
  readonly protected: boolean;
  readonly retained: boolean;
  readonly retainedAt: string | null;
  readonly reclaimPolicy: string;
  readonly dataKeyNumber: number;
  readonly export: ExportView | null;
  readonly qos: QosView | null;
  readonly snapshots: number;
  /** VOLUME@SNAPSHOT that it was cloned from, as that was called then; '' for none. */
  readonly origin: string;
}

export interface ExportView {
  readonly name: string;
  readonly uri: string;
  readonly socketUri: string;
  readonly readOnly: boolean;
  readonly connections: readonly ConnectionView[];
}

export interface ConnectionView {
  readonly address: string;
  readonly since: string;
  readonly inFlight: number;
  readonly transport: string;
}

/** What the daemon says of a volume, in the form that scripts read. */
export function toVolumeView(volume: Volume): VolumeView {
  const { current = 0, desired = 0 } = volume.replicas ?? {};
  return {
    id: volume.id,
    name: volume.name,
    sizeBytes: volume.sizeBytes,
    allocatedBytes: volume.allocatedBytes,
    blockBytes: volume.blockBytes,
    storageClass: volume.storageClass,
    encrypted: volume.encrypted,
    state: volume.state,
    stateReason: volume.stateReason,
    replicas: { current, desired },
    createdAt: toIso(volume.createdAtMs),
    labels: sortedLabels(volume.labels),
    volumeType: volume.volumeType,
    protected: volume.protected,
    retained: volume.retainedAtMs > 0,
    retainedAt: volume.retainedAtMs > 0 ? toIso(volume.retainedAtMs) : null,
    reclaimPolicy: volume.reclaimPolicy,
    dataKeyNumber: volume.dataKeyNumber,
    export: volume.export === undefined ? null : toExportView(volume.export),
    qos: toQosView(volume.qos),
    snapshots: volume.snapshots,
    origin: volume.origin,
  };
}

/** ISO 8601 in UTC. */
export function toIso(atMs: number): string {
  return new Date(atMs).toISOString();
}

/** `a=1,b=2`, or `-`. */
export function formatLabels(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(sortedLabels(labels)).map(([key, value]) => (value === '' ? key : `${key}=${value}`));
  return pairs.length === 0 ? '-' : pairs.join(',');
}

export function toExportView(exported: VolumeExport): ExportView {
  return {
    name: exported.name,
    uri: exported.uri,
    socketUri: exported.socketUri,
    readOnly: exported.readOnly,
    connections: exported.connections.map(toConnectionView),
  };
}

function toConnectionView(connection: Connection): ConnectionView {
  return {
    address: connection.address,
    since: toIso(connection.sinceMs),
    inFlight: connection.inFlight,
    transport: connection.transport,
  };
}

/** In the order of their keys. */
export function sortedLabels(labels: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).sort(([left], [right]) => (left < right ? -1 : 1)));
}
