import type { Clock, Timer } from '../../base/clock.js';
import { messageOf } from '../../base/errors.js';
import type { Log } from '../../base/log.js';
import { decodeJson, encodeJson } from '../../meta/json-value.js';
import type { MetaStore } from '../../meta/meta-store.js';
import { checkCron, nextRunMs } from '../../model/cron-schedule.js';
import { checkRetention, expired, type Retention } from '../../model/retention.js';
import { parseScheduleRow } from '../../model/row-shape.js';
import type { ScheduleResult, ScheduleRow } from '../../model/schedule-row.js';
import { pointName } from '../../model/snapshot-name.js';
import type { Caller } from '../caller.js';
import { ControlError, stepOf } from '../control-error.js';
import type { EventLog } from '../event-log.js';
import { findVolume } from '../find-volume.js';
import { EVENT_TEXT_LENGTH_MAX, SCHEDULE_LOOK_MS_MAX } from '../limits.js';
import { SCHEDULE_PREFIX, scheduleKey } from '../meta-keys.js';
import type { Problem } from '../problem.js';
import { eventOf } from '../volume-event.js';
import type { VolumeRecord } from '../volume-record.js';
import { wrongState } from '../volume-refusals.js';
import type { VolumeTable } from '../volume-table.js';
import type { SnapshotRemover } from './snapshot-remover.js';
import type { SnapshotTable } from './snapshot-table.js';
import type { SnapshotTaker } from './snapshot-taker.js';

export interface SnapshotSchedulesOptions {
  /** Zone of schedules that name none. */
  readonly timeZoneDefault: string;
}

export interface SnapshotSchedulesDependencies {
  readonly meta: MetaStore;
  readonly table: VolumeTable;
  readonly snapshots: SnapshotTable;
  readonly taker: SnapshotTaker;
  readonly remover: SnapshotRemover;
  readonly events: EventLog;
  readonly clock: Clock;
  readonly log: Log;
}

export interface ScheduleRequest {
  readonly cron: string;
  /** '': the daemon's own. */
  readonly timeZone: string;
  readonly keep: Retention;
}

/** A schedule as people see it. */
export interface ScheduleView {
  readonly volume: string;
  readonly volumeId: string;
  readonly cron: string;
  readonly timeZone: string;
  readonly keep: Retention;
  /** Wall clock, milliseconds since 1970; 0: none while the volume is deleted and retained. */
  readonly nextRunMs: number;
  readonly last: ScheduleResult | null;
}

interface Schedule {
  row: ScheduleRow;
  revision: number;
}

const CALLER: Caller = { actor: 'schedule' };

/**
 * Takes snapshots when they are due and gives up those that retention does not keep. A run that was missed, because the
 * daemon did not run or the clock jumped, is made up for once.
 */
export class SnapshotSchedules {
  readonly #timeZoneDefault: string;
  readonly #dependencies: SnapshotSchedulesDependencies;
  readonly #schedules = new Map<string, Schedule>();
  #lost: readonly string[] = [];
  #timer: Timer | null = null;
  #looking: Promise<void> = Promise.resolve();
  #state: 'new' | 'running' | 'closed' = 'new';

  constructor(options: SnapshotSchedulesOptions, dependencies: SnapshotSchedulesDependencies) {
    this.#timeZoneDefault = options.timeZoneDefault;
    this.#dependencies = dependencies;
  }

  /** Reads the rows; a damaged one costs its schedule, and is named among the problems. */
  async load(): Promise<void> {
    const { entries, damaged } = await this.#dependencies.meta.list(SCHEDULE_PREFIX);
    const lost = [...damaged];
    for (const entry of entries) {
      try {
        const row = parseScheduleRow(decodeJson(entry), entry.key);
        this.#schedules.set(row.volumeId, { row, revision: entry.revision });
      } catch (thrown) {
        lost.push(entry.key);
        this.#dependencies.log.warn({ key: entry.key, error: messageOf(thrown) }, 'a schedule cannot be read');
      }
    }
    this.#lost = lost;
  }

  /** Runs what was missed, and from now on what comes due. */
  start(): void {
    this.#state = 'running';
    this.#look();
  }

  /** In the order of their volumes' names. */
  list(): ScheduleView[] {
    const views: ScheduleView[] = [];
    for (const { row } of this.#schedules.values()) {
      const record = this.#dependencies.table.get(row.volumeId);
      if (record !== undefined && record.row.phase !== 'deleting') views.push(this.#view(record, row));
    }
    return views.sort((a, b) => (a.volume < b.volume ? -1 : 1));
  }

  /** Gives a volume its schedule, in place of one that it has. */
  set(reference: string, request: ScheduleRequest, caller: Caller): Promise<ScheduleView> {
    const { table, clock, events } = this.#dependencies;
    const record = findVolume(table, reference, 'live');
    return record.mutex.run(async () => {
      if (record.row.phase !== 'live') throw wrongState(record, 'scheduled');
      const nowMs = clock.wallMs();
      const timeZone = request.timeZone === '' ? this.#timeZoneDefault : request.timeZone;
      checkCron(request.cron, timeZone, nowMs);
      const keep = checkRetention(request.keep);
      const before = this.#schedules.get(record.id);
      const last = before?.row.last ?? null;
      const row: ScheduleRow = { volumeId: record.id, cron: request.cron.trim(), timeZone, keep, sinceMs: nowMs, last };
      await stepOf('store schedule', this.#store(row, before?.revision ?? 0));
      const message = `volume ${record.row.name} is snapshotted at "${row.cron}" (${timeZone})`;
      events.append({ ...eventOf(record, caller), kind: 'schedule.set', message });
      this.#look();
      return this.#view(record, row);
    });
  }

  /** Ends a schedule; its snapshots stay. */
  remove(reference: string, caller: Caller): Promise<ScheduleView> {
    const { meta, table, events } = this.#dependencies;
    const record = findVolume(table, reference, 'any');
    return record.mutex.run(async () => {
      const schedule = this.#schedules.get(record.id);
      if (schedule === undefined) {
        throw new ControlError(
          `volume ${record.displayName} has no schedule; \`gfs volume snapshot schedules\` lists those that there are`,
          { code: 'NOT_FOUND', what: 'schedule', reference: record.displayName },
        );
      }
      const view = this.#view(record, schedule.row);
      await stepOf('remove schedule', meta.transaction({ delete: [scheduleKey(record.id)] }));
      this.#schedules.delete(record.id);
      const message = `volume ${record.displayName} is no longer snapshotted by itself`;
      events.append({ ...eventOf(record, caller), kind: 'schedule.removed', message });
      return view;
    });
  }

  /** Its volume is gone, and its row with it. */
  forget(volumeId: string): void {
    this.#schedules.delete(volumeId);
  }

  problems(): Problem[] {
    const problems: Problem[] = this.#lost.map((key) => ({
      subject: `record ${key}`,
      reason: 'the schedule of a volume cannot be read: it takes no snapshots',
      remedy: 'set it again with `gfs volume snapshot schedule`',
      lastError: '',
      nextTryMs: 0,
    }));
    for (const { volume, last, nextRunMs: nextTryMs } of this.list()) {
      if (last === null || last.ok) continue;
      problems.push({
        subject: `schedule of volume ${volume}`,
        reason: `its last snapshot failed: ${last.text}`,
        remedy: 'none needed: the next one is taken when it is due',
        lastError: last.text,
        nextTryMs,
      });
    }
    return problems;
  }

  async close(): Promise<void> {
    this.#state = 'closed';
    if (this.#timer !== null) this.#dependencies.clock.clear(this.#timer);
    await this.#looking;
  }

  /** After what is under way: everything that is due, one after another, then the next look is planned. */
  #look(): void {
    if (this.#state !== 'running') return;
    this.#looking = this.#looking.then(async () => {
      for (const schedule of [...this.#schedules.values()]) await this.#runIfDue(schedule);
      this.#plan();
    });
  }

  #plan(): void {
    if (this.#state !== 'running') return;
    const { clock } = this.#dependencies;
    if (this.#timer !== null) clock.clear(this.#timer);
    this.#timer = null;
    const nowMs = clock.wallMs();
    const due = [...this.#schedules.values()].flatMap(({ row }) => {
      const isLive = this.#dependencies.table.get(row.volumeId)?.row.phase === 'live';
      return isLive ? (this.#nextRunMs(row) ?? []) : [];
    });
    // Also with nothing due: a retained volume may come back.
    if (this.#schedules.size === 0) return;
    const delayMs = Math.min(Math.max(0, Math.min(...due) - nowMs), SCHEDULE_LOOK_MS_MAX);
    this.#timer = clock.after(delayMs, () => {
      this.#timer = null;
      this.#look();
    });
  }

  async #runIfDue(schedule: Schedule): Promise<void> {
    const { table, clock } = this.#dependencies;
    const nextMs = this.#nextRunMs(schedule.row);
    const record = table.get(schedule.row.volumeId);
    if (nextMs === null || nextMs > clock.wallMs() || record === undefined || this.#state !== 'running') return;
    await record.mutex.run(async () => {
      if (this.#schedules.get(record.id) !== schedule || record.row.phase !== 'live') return;
      const last = await this.#run(record, schedule.row);
      try {
        await this.#store({ ...schedule.row, last }, schedule.revision);
      } catch (thrown) {
        // Known here all the same, so that it is not run again at once.
        schedule.row = { ...schedule.row, last };
        this.#dependencies.log.warn(
          { volume: record.row.name, error: messageOf(thrown) },
          'the result of a schedule could not be stored',
        );
      }
    });
  }

  async #run(record: VolumeRecord, row: ScheduleRow): Promise<ScheduleResult> {
    const { taker, clock, events } = this.#dependencies;
    const atMs = clock.wallMs();
    try {
      const [taken] = await taker.takeLocked([record], { name: '', labels: {}, origin: 'schedule' }, CALLER);
      const deleted = await this.#giveUp(record, row);
      return { atMs, ok: true, text: taken.row.name, deleted };
    } catch (thrown) {
      const text = messageOf(thrown).slice(0, EVENT_TEXT_LENGTH_MAX);
      const message = `the scheduled snapshot of volume ${record.row.name} failed: ${text}`;
      events.append({ ...eventOf(record, CALLER), kind: 'schedule.failed', message, level: 'error' });
      return { atMs, ok: false, text, deleted: 0 };
    }
  }

  /** Resolves to how many snapshots went. What is held or in use stays, and is looked at again after the next run. */
  async #giveUp(record: VolumeRecord, { keep, timeZone }: ScheduleRow): Promise<number> {
    const { snapshots, remover, log } = this.#dependencies;
    const own = snapshots.liveOf(record.id).filter(({ row }) => row.origin === 'schedule');
    const dated = own.map((snapshot) => ({ snapshot, createdAtMs: snapshot.row.createdAtMs }));
    let deleted = 0;
    for (const { snapshot } of expired(dated, keep, timeZone)) {
      if (snapshot.row.held) continue;
      try {
        await remover.delete({ record, snapshot }, false, CALLER);
        deleted += 1;
      } catch (thrown) {
        const name = pointName(record.row.name, snapshot.row.name);
        log.info({ snapshot: name, reason: messageOf(thrown) }, 'a snapshot outlives its retention');
      }
    }
    return deleted;
  }

  async #store(row: ScheduleRow, revision: number): Promise<void> {
    const key = scheduleKey(row.volumeId);
    const outcome = await this.#dependencies.meta.transaction({
      // One that cannot be read is replaced.
      compare: this.#lost.includes(key) ? [] : [{ key, revision }],
      set: [{ key, value: encodeJson(row) }],
    });
    if (!outcome.committed) {
      throw new ControlError('the schedule was changed by someone else; try again', {
        code: 'FAILED',
        step: 'store schedule',
      });
    }
    this.#lost = this.#lost.filter((lost) => lost !== key);
    const schedule = this.#schedules.get(row.volumeId);
    if (schedule === undefined) this.#schedules.set(row.volumeId, { row, revision: outcome.revision });
    else Object.assign(schedule, { row, revision: outcome.revision });
  }

  #nextRunMs(row: ScheduleRow): number | null {
    return nextRunMs(row.cron, row.timeZone, Math.max(row.sinceMs, row.last?.atMs ?? 0));
  }

  #view(record: VolumeRecord, row: ScheduleRow): ScheduleView {
    const { volumeId, cron, timeZone, keep, last } = row;
    const next = record.row.phase === 'live' ? this.#nextRunMs(row) : null;
    return { volume: record.displayName, volumeId, cron, timeZone, keep, nextRunMs: next ?? 0, last };
  }
}
