import { formatSize } from '../../base/size.js';
import type { Retention, Schedule, Snapshot } from '../../ipc/generated/snapshots.js';
import { formatAge } from './age.js';
import type { Output } from './output.js';
import { pointOf } from './snapshot-view.js';
import type { Column } from './table.js';
import { exportFacts, paintState } from './volume-text.js';
import { formatLabels, toIso } from './volume-view.js';

/** The table of `gfs volume snapshot list`. */
export function snapshotTable(snapshots: readonly Snapshot[], output: Output, nowMs: number): string {
  const columns: Column<Snapshot>[] = [
    { title: 'SNAPSHOT', value: pointOf, widthMin: 16 },
    { title: 'SIZE', value: (of) => formatSize(of.sizeBytes), align: 'right', dropOrder: 4 },
    { title: 'EXCLUSIVE', value: (of) => formatSize(of.exclusiveBytes), align: 'right' },
    { title: 'REFERENCED', value: (of) => formatSize(of.referencedBytes), align: 'right', dropOrder: 2 },
    { title: 'STATE', value: stateText, paint: (text, of) => paintState(text, of.state, output.colours) },
    { title: 'HELD', value: (of) => (of.held ? 'yes' : '-'), dropOrder: 3 },
    { title: 'ORIGIN', value: (of) => of.origin, dropOrder: 5 },
    { title: 'AGE', value: (of) => formatAge(nowMs - of.createdAtMs), align: 'right', dropOrder: 1 },
    { title: 'LABELS', value: (of) => formatLabels(of.labels), widthMin: 10, dropOrder: 6 },
  ];
  return output.table(columns, snapshots);
}

/** The text of `gfs volume snapshot get`. */
export function snapshotFacts(snapshot: Snapshot, output: Output): string {
  return output.facts([
    ['name', pointOf(snapshot)],
    ['id', snapshot.id],
    ['state', stateText(snapshot)],
    ['reason', snapshot.stateReason],
    ['size', `${formatSize(snapshot.sizeBytes)} (${String(snapshot.sizeBytes)} bytes)`],
    ['exclusive', `${formatSize(snapshot.exclusiveBytes)}, which deleting it would free`],
    ['referenced', `${formatSize(snapshot.referencedBytes)}, which it shows`],
    ['encrypted', snapshot.encrypted ? 'yes' : 'no'],
    ['held', snapshot.held ? 'yes' : 'no'],
    ['origin', snapshot.origin],
    ['labels', formatLabels(snapshot.labels)],
    ['created', toIso(snapshot.createdAtMs)],
    ...exportFacts(snapshot.export),
  ]);
}

/** The table of `gfs volume snapshot schedules`. */
export function scheduleTable(schedules: readonly Schedule[], output: Output): string {
  const columns: Column<Schedule>[] = [
    { title: 'VOLUME', value: (of) => of.volume, widthMin: 12 },
    { title: 'CRON', value: (of) => of.cron },
    { title: 'TIME ZONE', value: (of) => of.timeZone },
    { title: 'KEEP', value: (of) => keepText(of.keep) },
    { title: 'NEXT RUN', value: (of) => nextRunText(of) },
    {
      title: 'LAST RESULT',
      value: resultText,
      widthMin: 16,
      dropOrder: 1,
      paint: (text, of) => (of.last?.ok === false ? output.colours.red(text) : text),
    },
  ];
  return output.table(columns, schedules);
}

/** In the zone that the schedule is written in; that zone stands beside it. */
export function nextRunText({ nextRunMs, timeZone }: Schedule): string {
  if (nextRunMs === 0) return 'none while the volume is retained';
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'short' });
  return format.format(nextRunMs);
}

/** `last 24, daily 7`. */
export function keepText(keep: Retention | undefined): string {
  const rules = Object.entries(keep ?? {}) as [string, number][];
  const kept = rules.filter(([, count]) => count > 0).map(([rule, count]) => `${rule} ${String(count)}`);
  return kept.length === 0 ? '-' : kept.join(', ');
}

function stateText({ state, progress }: Snapshot): string {
  return progress === undefined ? state : `${state}, ${String(Math.floor(progress * 100))}%`;
}

function resultText({ last }: Schedule): string {
  if (last === undefined) return 'has not run yet';
  const deleted = last.deleted > 0 ? `, ${String(last.deleted)} deleted` : '';
  return last.ok ? `${last.text}${deleted}` : `failed: ${last.text}`;
}
