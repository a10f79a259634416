import type { Clock, Timer } from '../base/clock.js';
import type { Closable } from '../base/lifecycle.js';
import type { Log } from '../base/log.js';
import type { MetaStore } from '../meta/meta-store.js';
import type { VolumeHost } from '../volume/volume-host.js';
import type { Caller } from './caller.js';
import { ControlError, invalid, refused } from './control-error.js';
import type { EventLog } from './event-log.js';
import { findVolume } from './find-volume.js';
import { SCRUB_LOOK_MS, SCRUB_RATE_MAX, SCRUB_RATE_MIN, SCRUB_RETRY_MS } from './limits.js';
import type { Problem } from './problem.js';
import { ScrubRows } from './scrub-rows.js';
import { ScrubEnd, ScrubRunner, stillBadRows } from './scrub-runner.js';
import {
  badBlocksOf,
  badRangeView,
  bytesToRead,
  resultOf,
  scrubObstacle,
  type ScrubSnapshots,
  type ScrubState,
  type ScrubView,
} from './scrub-view.js';
import type { VolumeRecord } from './volume-record.js';
import type { VolumeTable } from './volume-table.js';

export interface ScrubsOptions {
  /** How long after its last scrub a volume is scrubbed again by itself; 0: never. */
  readonly intervalMs: number;
  /** Rate of scrubs that name none. */
  readonly bytesPerSecond: number;
}

export interface ScrubsDependencies {
  readonly meta: MetaStore;
  readonly table: VolumeTable;
  readonly host: VolumeHost;
  readonly snapshots: ScrubSnapshots;
  readonly events: EventLog;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is measured of the scrubs of a volume. */
export interface ScrubMeasure {
  readonly record: VolumeRecord;
  readonly running: boolean;
  readonly badBlocks: number;
  /** Wall clock; 0: never. */
  readonly lastEndedAtMs: number;
}

/**
 * Scrubs of volumes: asked for, or due by the schedule. One runs at a time on the node. A run that is begun is a row, which
 * says where it is; so it goes on after a restart, and whenever its volume can be read again.
 */
export class Scrubs implements Closable {
  readonly #options: ScrubsOptions;
  readonly #io: ScrubsDependencies;
  readonly #rows: ScrubRows;
  #running: { readonly runner: ScrubRunner; readonly ended: Promise<void> } | null = null;
  #timer: Timer | null = null;
  #looking: Promise<void> = Promise.resolve();
  #closed = false;
  #readBytes = 0;

  constructor(options: ScrubsOptions, dependencies: ScrubsDependencies) {
    this.#options = options;
    this.#io = dependencies;
    this.#rows = new ScrubRows(dependencies);
  }

  /** Takes up what the last run of the node left. Volumes are open by then. */
  async start(): Promise<void> {
    await this.#rows.load();
    this.#arm();
    this.#look();
  }

  /** Begins a scrub; nothing new when one is under way. `bytesPerSecond` 0: the default. Throws ControlError. */
  async begin(reference: string, bytesPerSecond: number, caller: Caller): Promise<ScrubView> {
    const record = findVolume(this.#io.table, reference, 'live');
    const obstacle = scrubObstacle(record);
    if (obstacle !== '') {
      const reason =
        record.serving.state === 'locked' ? 'locked' : record.serving.state === 'damaged' ? 'damaged' : 'state';
      throw refused(reason, `volume ${record.displayName} cannot be scrubbed: ${obstacle}`);
    }
    await this.#begin(record, this.#rateOf(bytesPerSecond), caller.actor);
    return this.#view(record);
  }

  /** Begins a scrub of every volume that can be read; `stateReason` tells why the others cannot. */
  async beginAll(bytesPerSecond: number, caller: Caller): Promise<ScrubView[]> {
    const rate = this.#rateOf(bytesPerSecond);
    const records = this.#liveRecords();
    for (const record of records) if (scrubObstacle(record) === '') await this.#begin(record, rate, caller.actor);
    return records.map((record) => this.#view(record));
  }

  /** Ends the run of a volume; fine if there is none. What it has found stays marked. */
  async cancel(reference: string, caller: Caller): Promise<ScrubView> {
    const record = findVolume(this.#io.table, reference, 'any');
    await this.#cancel(record, caller);
    return this.#view(record);
  }

  async cancelAll(caller: Caller): Promise<ScrubView[]> {
    const records = this.#liveRecords().filter(({ id }) => this.#rows.get(id).run !== null);
    // The one that runs last: another would begin in its place.
    records.sort((one, other) => Number(this.#isRunning(one)) - Number(this.#isRunning(other)));
    for (const record of records) await this.#cancel(record, caller);
    return records.map((record) => this.#view(record));
  }

  /** Of one volume, or ('') of all; marks of what is clean again are gone. */
  async status(reference: string): Promise<ScrubView[]> {
    const records = reference === '' ? this.#liveRecords() : [findVolume(this.#io.table, reference, 'any')];
    for (const record of records) await this.#refresh(record);
    return records.map((record) => this.#view(record));
  }

  measures(): ScrubMeasure[] {
    return this.#liveRecords().map((record) => {
      const row = this.#rows.get(record.id);
      return {
        record,
        running: this.#isRunning(record),
        badBlocks: badBlocksOf(row, record.row.blockBytes),
        lastEndedAtMs: row.last?.endedAtMs ?? 0,
      };
    });
  }

  /** Bytes that scrubs have read from the journal since the node started. */
  get readBytes(): number {
    return this.#readBytes;
  }

  problems(): Problem[] {
    return this.measures()
      .filter(({ badBlocks }) => badBlocks > 0)
      .map(({ record, badBlocks }) => ({
        subject: `volume ${record.displayName}`,
        reason: `${badBlocks} ${badBlocks === 1 ? 'block' : 'blocks'} of it cannot be read: found by a scrub`,
        remedy: `see \`gfs volume scrub status ${record.displayName}\`; restore those ranges from a copy, and check the disk`,
        lastError: '',
        nextTryMs: 0,
      }));
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) this.#io.clock.clear(this.#timer);
    this.#running?.runner.end(ScrubEnd.CLOSING);
    await this.#running?.ended;
    await this.#looking;
  }

  #liveRecords(): VolumeRecord[] {
    const live = this.#io.table.all().filter(({ row }) => row.phase === 'live');
    return live.sort((one, other) => (one.row.name < other.row.name ? -1 : 1));
  }

  #isRunning(record: VolumeRecord): boolean {
    return this.#running?.runner.record === record;
  }

  #rateOf(bytesPerSecond: number): number {
    const rate = bytesPerSecond === 0 ? this.#options.bytesPerSecond : bytesPerSecond;
    if (Number.isSafeInteger(rate) && rate >= SCRUB_RATE_MIN && rate <= SCRUB_RATE_MAX) return rate;
    throw invalid('rate', `a scrub reads ${SCRUB_RATE_MIN / 1024}K to ${SCRUB_RATE_MAX / 2 ** 30}G bytes a second`);
  }

  async #begin(record: VolumeRecord, bytesPerSecond: number, actor: string): Promise<void> {
    if (this.#closed) throw new ControlError('the node is stopping', { code: 'UNAVAILABLE' });
    const row = this.#rows.get(record.id);
    if (row.run !== null) return;
    // It names the run as well: marks say by it which run saw them last, also when the clock was set back.
    const startedAtMs = Math.max(Math.trunc(this.#io.clock.wallMs()), (row.last?.startedAtMs ?? 0) + 1);
    const run = { startedAtMs, actor, bytesPerSecond, position: null, blocks: 0, bytes: 0, activeMs: 0 };
    // Blocks that were counted alone have no mark that this run could renew: it counts them anew.
    await this.#rows.put({ ...row, run, moreBadBlocks: 0 });
    this.#pump();
  }

  async #cancel(record: VolumeRecord, caller: Caller): Promise<void> {
    if (this.#running !== null && this.#isRunning(record)) {
      this.#running.runner.end(ScrubEnd.CANCELLED);
      await this.#running.ended;
      return;
    }
    const row = this.#rows.get(record.id);
    if (row.run === null) return;
    const badBlocks = badBlocksOf(row, record.row.blockBytes);
    const endedAtMs = Math.trunc(this.#io.clock.wallMs());
    const last = resultOf(row.run, { endedAtMs, outcome: 'cancelled', reason: '', badBlocks });
    await this.#rows.put({ ...row, run: null, last });
    this.#io.events.append({
      kind: 'scrub.ended',
      volume: record.displayName,
      volumeId: record.id,
      actor: caller.actor,
      message: `the scrub of volume ${record.displayName} was cancelled before its turn`,
      level: 'info',
    });
  }

  /** Runs what waits, if nothing runs: the oldest that can be read. */
  #pump(): void {
    if (this.#closed || this.#running !== null) return;
    const waiting = this.#rows
      .all()
      .filter(({ run }) => run !== null)
      .sort((one, other) => (one.run?.startedAtMs ?? 0) - (other.run?.startedAtMs ?? 0));
    for (const { volumeId } of waiting) {
      const record = this.#io.table.get(volumeId);
      if (record === undefined || scrubObstacle(record) !== '') continue;
      const runner = new ScrubRunner(record, {
        ...this.#io,
        rows: this.#rows,
        read: (bytes) => {
          this.#readBytes += bytes;
        },
      });
      const ended = runner.run().then(() => {
        this.#running = null;
        // One that could not go on waits for the next look, or it would be tried without a pause.
        if (this.#rows.get(volumeId).run === null) this.#pump();
      });
      this.#running = { runner, ended };
      return;
    }
  }

  #arm(): void {
    this.#timer = this.#io.clock.after(SCRUB_LOOK_MS, () => {
      this.#arm();
      this.#look();
    });
  }

  /** What time brings: rows of volumes that are gone go, marks are looked at, and what is due begins. */
  #look(): void {
    this.#looking = this.#looking.then(async () => {
      if (this.#closed) return;
      const { table, clock } = this.#io;
      for (const { volumeId } of this.#rows.all()) {
        const record = table.get(volumeId);
        if (record === undefined) await this.#rows.remove(volumeId);
        else await this.#refresh(record);
      }
      for (const record of this.#liveRecords()) {
        const dueMs = this.#dueMs(record);
        if (dueMs === 0 || clock.wallMs() < dueMs || scrubObstacle(record) !== '') continue;
        if (!this.#closed) await this.#begin(record, this.#options.bytesPerSecond, 'schedule');
      }
      this.#pump();
    });
  }

  /** Wall clock; 0: never, or one is under way. */
  #dueMs(record: VolumeRecord): number {
    const { intervalMs } = this.#options;
    const { run, last } = this.#rows.get(record.id);
    if (intervalMs === 0 || run !== null) return 0;
    if (last === null) return record.row.createdAtMs + intervalMs;
    return last.endedAtMs + (last.outcome === 'failed' ? Math.min(intervalMs, SCRUB_RETRY_MS) : intervalMs);
  }

  /** Takes the marks away that the map no longer bears out. While the store reopens they stay. */
  async #refresh(record: VolumeRecord): Promise<void> {
    const { bad } = this.#rows.get(record.id);
    if (bad.length === 0 || this.#io.host.report().state !== 'ready') return;
    const left = await stillBadRows(this.#io.host, bad).catch(() => bad);
    const row = this.#rows.get(record.id);
    // A run that has found more meanwhile is looked at the next time.
    if (row.bad !== bad || sameRanges(left, bad)) return;
    await this.#rows.put({ ...row, bad: left });
  }

  #view(record: VolumeRecord): ScrubView {
    const { snapshots, host } = this.#io;
    const row = this.#rows.get(record.id);
    const obstacle = scrubObstacle(record);
    let state: ScrubState = 'idle';
    if (this.#isRunning(record)) state = 'running';
    else if (row.run !== null) state = obstacle === '' ? 'queued' : 'waiting';
    const run =
      row.run === null
        ? null
        : {
            startedAtMs: row.run.startedAtMs,
            actor: row.run.actor,
            bytesPerSecond: row.run.bytesPerSecond,
            bytes: row.run.bytes,
            totalBytes: bytesToRead(record, snapshots, host.layers()),
            blocks: row.run.blocks,
            activeMs: row.run.activeMs,
          };
    return {
      volumeId: record.id,
      name: record.displayName,
      state,
      stateReason: obstacle,
      run,
      last: row.last,
      badBlocks: badBlocksOf(row, record.row.blockBytes),
      bad: row.bad.map((range) => badRangeView(range, record, snapshots)),
      moreBadBlocks: row.moreBadBlocks,
      nextAtMs: this.#dueMs(record),
    };
  }
}

function sameRanges(one: readonly { lengthBytes: number }[], other: readonly { lengthBytes: number }[]): boolean {
  return one.length === other.length && one.every((range, n) => range.lengthBytes === other[n].lengthBytes);
}
