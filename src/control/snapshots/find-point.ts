import { parsePoint, pointName } from '../../model/snapshot-name.js';
import { ControlError, invalid } from '../control-error.js';
import { type Among, findVolume } from '../find-volume.js';
import { REFERENCE_LENGTH_MAX } from '../limits.js';
import type { VolumeRecord } from '../volume-record.js';
import type { VolumeTable } from '../volume-table.js';
import type { SnapshotRecord } from './snapshot-record.js';
import type { SnapshotTable } from './snapshot-table.js';

export interface PointSources {
  readonly table: VolumeTable;
  readonly snapshots: SnapshotTable;
}

/** A moment of a volume: a snapshot, or (null) what it holds now. */
export interface Point {
  readonly record: VolumeRecord;
  readonly snapshot: SnapshotRecord | null;
}

export interface SnapshotPoint extends Point {
  readonly snapshot: SnapshotRecord;
}

/** VOLUME or VOLUME@SNAPSHOT. Throws NOT_FOUND, AMBIGUOUS or INVALID. */
export function findPoint(sources: PointSources, reference: string, among: Among = 'live'): Point {
  return parsePoint(reference).snapshot === null && sources.snapshots.get(reference) === undefined
    ? { record: findVolume(sources.table, reference, among), snapshot: null }
    : findSnapshot(sources, reference, among);
}

/**
 * VOLUME@SNAPSHOT, where SNAPSHOT is its name or its id, or the id alone. A deleted one that is not gone yet is found when
 * nothing else has its name.
 */
export function findSnapshot(sources: PointSources, reference: string, among: Among = 'live'): SnapshotPoint {
  const { table, snapshots } = sources;
  if (reference.length > 2 * REFERENCE_LENGTH_MAX) throw invalid('snapshot', 'that is too long for a snapshot');
  const alone = snapshots.get(reference);
  if (alone !== undefined) {
    const record = table.get(alone.row.volumeId);
    if (record !== undefined) return { record, snapshot: alone };
  }
  const { volume, snapshot: name } = parsePoint(reference);
  if (name === null || name === '') {
    throw invalid(
      'snapshot',
      `"${reference}" names no snapshot; it is written VOLUME@SNAPSHOT, such as web-data@monday`,
    );
  }
  const record = findVolume(table, volume, among);
  const all = snapshots.ofVolume(record.id);
  const found =
    snapshots.named(record.id, name) ??
    all.find(({ id }) => id === name) ??
    all.findLast(({ row }) => row.name === name && row.phase === 'deleting');
  if (found !== undefined) return { record, snapshot: found };
  throw snapshotNotFound(record, name);
}

/** How people write it. */
export function nameOf({ record, snapshot }: Point): string {
  return snapshot === null ? record.displayName : pointName(record.displayName, snapshot.row.name);
}

export function snapshotNotFound(record: VolumeRecord, name: string): ControlError {
  const volume = record.displayName;
  return new ControlError(
    `volume ${volume} has no snapshot "${name}"; \`gfs volume snapshot list ${volume}\` lists them`,
    { code: 'NOT_FOUND', what: 'snapshot', reference: pointName(volume, name) },
  );
}
