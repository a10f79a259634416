import type { Clock } from '../base/clock.js';
import type { VolumeQos } from '../model/qos-settings.js';
import { invalid } from './control-error.js';
import { findVolume } from './find-volume.js';
import { STATS_INTERVAL_MS_MAX, STATS_INTERVAL_MS_MIN } from './limits.js';
import type { VolumeRecord } from './volume-record.js';
import { markOf, ratesBetween, type StatisticsMark, type VolumeRates } from './volume-stats.js';
import type { VolumeTable } from './volume-table.js';

export interface VolumeSample extends VolumeRates {
  readonly id: string;
  readonly name: string;
  readonly clients: number;
  readonly inFlight: number;
  readonly sizeBytes: number;
  readonly allocatedBytes: number;
  /** Limits and guarantees; null: none. */
  readonly qos: VolumeQos | null;
  /** Requests that wait for the limits now. */
  readonly waiting: number;
}

export interface Sample {
  /** Wall clock, milliseconds since 1970. */
  readonly atMs: number;
  /** What the rates are taken over. */
  readonly seconds: number;
  readonly volumes: readonly VolumeSample[];
}

export interface StatsQuery {
  /** '': all. */
  readonly volume: string;
  /** 0: one sample since the start. */
  readonly intervalMs: number;
  /** 0: until cancelled. */
  readonly samples: number;
}

export interface StatsDependencies {
  readonly table: VolumeTable;
  readonly clock: Clock;
  /** `clock.monotonicMs()` of the start. */
  readonly startedMs: number;
  readonly clientsOf: (volumeId: string) => number;
}

/** Samples at even distances, each over the time since the one before it, until `signal` is aborted. */
export async function* sampleStats(
  query: StatsQuery,
  { table, clock, startedMs, clientsOf }: StatsDependencies,
  signal: AbortSignal,
): AsyncGenerator<Sample, void, void> {
  const { intervalMs } = query;
  if (intervalMs !== 0 && (intervalMs < STATS_INTERVAL_MS_MIN || intervalMs > STATS_INTERVAL_MS_MAX)) {
    throw invalid(
      'interval_ms',
      `an interval is ${STATS_INTERVAL_MS_MIN} ms to ${STATS_INTERVAL_MS_MAX} ms, or 0 for one sample since the start`,
    );
  }
  // A volume that is named is looked up once: it keeps its place when it is renamed, and is gone when it is deleted.
  const only = query.volume === '' ? null : findVolume(table, query.volume, 'live');
  const chosen = (): VolumeRecord[] =>
    table.all().filter((record) => record.row.phase === 'live' && (only === null || record === only));

  let marks = new Map<string, StatisticsMark>();
  const sample = (sinceMs: number, nowMs: number, before: ReadonlyMap<string, StatisticsMark>): Sample => {
    const seconds = (nowMs - sinceMs) / 1000;
    marks = new Map();
    const volumes: VolumeSample[] = [];
    for (const record of chosen()) {
      const { handle } = record;
      if (handle === null) continue;
      const mark = markOf(handle);
      marks.set(record.id, mark);
      volumes.push({
        id: record.id,
        name: record.row.name,
        ...ratesBetween(before.get(record.id) ?? null, mark, seconds),
        clients: clientsOf(record.id),
        inFlight: handle.statistics.inFlight,
        sizeBytes: record.row.sizeBytes,
        allocatedBytes: handle.allocatedBytes,
        qos: record.row.qos,
        waiting: handle.throttling.waiting,
      });
    }
    return { atMs: clock.wallMs(), seconds, volumes };
  };

  let sinceMs = clock.monotonicMs();
  const sinceStart = sample(startedMs, sinceMs, new Map());
  if (intervalMs === 0) {
    yield sinceStart;
    return;
  }
  for (let taken = 0; query.samples === 0 || taken < query.samples; taken += 1) {
    await waitMs(clock, intervalMs, signal);
    if (signal.aborted) return;
    const nowMs = clock.monotonicMs();
    yield sample(sinceMs, nowMs, marks);
    sinceMs = nowMs;
  }
}

/** Resolves after the time, or as soon as `signal` is aborted. */
function waitMs(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const end = (): void => {
      clock.clear(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = clock.after(delayMs, end);
    signal.addEventListener('abort', end);
  });
}
