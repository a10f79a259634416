import type { Retention, Schedule, Snapshot } from '../../ipc/generated/snapshots.js';
import { type ExportView, sortedLabels, toExportView, toIso } from './volume-view.js';

/** A snapshot as `-o json` shows it. Fields are added, never renamed or removed: scripts read this. */
export interface SnapshotView {
  readonly id: string;
  readonly name: string;
  readonly volume: string;
  readonly volumeId: string;
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly createdAt: string;
  readonly exclusiveBytes: number;
  readonly referencedBytes: number;
  readonly held: boolean;
  readonly origin: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly encrypted: boolean;
  readonly state: string;
  readonly stateReason: string;
  readonly progress: number | null;
  readonly export: ExportView | null;
}

/** A schedule as `-o json` shows it. */
export interface ScheduleView {
  readonly volume: string;
  readonly volumeId: string;
  readonly cron: string;
  readonly timeZone: string;
  readonly keep: Retention;
  readonly nextRunAt: string | null;
  readonly last: { readonly at: string; readonly ok: boolean; readonly text: string; readonly deleted: number } | null;
}

export function toSnapshotView(snapshot: Snapshot): SnapshotView {
  return {
    id: snapshot.id,
    name: snapshot.name,
    volume: snapshot.volume,
    volumeId: snapshot.volumeId,
    sizeBytes: snapshot.sizeBytes,
    blockBytes: snapshot.blockBytes,
    createdAt: toIso(snapshot.createdAtMs),
    exclusiveBytes: snapshot.exclusiveBytes,
    referencedBytes: snapshot.referencedBytes,
    held: snapshot.held,
    origin: snapshot.origin,
    labels: sortedLabels(snapshot.labels),
    encrypted: snapshot.encrypted,
    state: snapshot.state,
    stateReason: snapshot.stateReason,
    progress: snapshot.progress ?? null,
    export: snapshot.export === undefined ? null : toExportView(snapshot.export),
  };
}

export function toScheduleView(schedule: Schedule): ScheduleView {
  const { volume, volumeId, cron, timeZone, keep, nextRunMs, last } = schedule;
  return {
    volume,
    volumeId,
    cron,
    timeZone,
    keep: { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, ...keep },
    nextRunAt: nextRunMs > 0 ? toIso(nextRunMs) : null,
    last: last === undefined ? null : { at: toIso(last.atMs), ok: last.ok, text: last.text, deleted: last.deleted },
  };
}

/** `web-data@monday`. */
export function pointOf({ volume, name }: { readonly volume: string; readonly name: string }): string {
  return `${volume}@${name}`;
}
