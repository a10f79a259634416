import type { ScheduleView } from '../../control/snapshots/snapshot-schedules.js';
import type { SnapshotView } from '../../control/snapshots/snapshot-view.js';
import type { Schedule, Snapshot } from '../generated/snapshots.js';
import { toExport } from './volume-messages.js';

export function toSnapshot(view: SnapshotView): Snapshot {
  return {
    ...view,
    labels: { ...view.labels },
    progress: view.progress ?? undefined,
    export: view.export === null ? undefined : toExport(view.export),
  };
}

export function toSchedule(view: ScheduleView): Schedule {
  return { ...view, keep: { ...view.keep }, last: view.last === null ? undefined : { ...view.last } };
}
