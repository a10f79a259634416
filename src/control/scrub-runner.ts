import type { Clock } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { BadRangeRow, ScrubResult, ScrubRow, ScrubRun } from '../model/scrub-row.js';
import type { VolumeHost } from '../volume/volume-host.js';
import type { BadRange } from '../volume/volume-scrub.js';
import { withRange } from './bad-ranges.js';
import { codeOf } from './control-error.js';
import type { EventLog } from './event-log.js';
import { SCRUB_DAMAGE_EVENTS_MAX, SCRUB_SAVE_MS } from './limits.js';
import type { ScrubRows } from './scrub-rows.js';
import { badBlocksOf, badRangeView, resultOf, type ScrubSnapshots } from './scrub-view.js';
import type { VolumeRecord } from './volume-record.js';

export interface ScrubRunnerDependencies {
  readonly rows: ScrubRows;
  readonly host: VolumeHost;
  readonly snapshots: ScrubSnapshots;
  readonly events: EventLog;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of the bytes that each step has read. */
  readonly read: (bytes: number) => void;
}

/** Why the signal of a run was given. */
export const ScrubEnd = { CANCELLED: 'cancelled', CLOSING: 'closing' } as const;

/** Takes one run of one volume on: from where it is to its end, to a cancellation, or to the end of the node. */
export class ScrubRunner {
  readonly #io: ScrubRunnerDependencies;
  readonly record: VolumeRecord;
  readonly #controller = new AbortController();
  #damageEvents = 0;
  #savedAtMs = 0;

  constructor(record: VolumeRecord, dependencies: ScrubRunnerDependencies) {
    this.record = record;
    this.#io = dependencies;
  }

  end(why: (typeof ScrubEnd)[keyof typeof ScrubEnd]): void {
    this.#controller.abort(why);
  }

  /** Resolves when it is over, or cannot go on now: then its row still has the run. Never throws. */
  async run(): Promise<void> {
    const { rows, clock } = this.#io;
    const { run } = rows.get(this.record.id);
    const { handle } = this.record;
    if (run === null || handle === null) return;
    if (run.position === null) this.#begun(run);
    const { signal } = this.#controller;
    this.#savedAtMs = clock.monotonicMs();
    try {
      const steps = handle.scrub({
        snapshotLayers: () => this.#io.snapshots.layersOf(this.record.id),
        from: run.position,
        bytesPerSecond: run.bytesPerSecond,
        signal,
      });
      const fromMs = clock.monotonicMs();
      for await (const { position, blocks, bytes, bad } of steps) {
        const row = rows.get(this.record.id);
        if (row.run === null) return;
        const activeMs = run.activeMs + clock.monotonicMs() - fromMs;
        const next = { ...row.run, position, activeMs, blocks: row.run.blocks + blocks, bytes: row.run.bytes + bytes };
        rows.note({ ...row, run: next });
        this.#io.read(bytes);
        for (const range of bad) this.#found(range);
        this.#saveSometimes(bad.length > 0);
      }
    } catch (thrown) {
      // The volume, or the store under it, was closed: it goes on when both are back.
      if (codeOf(thrown) === 'CLOSED') await rows.put(rows.get(this.record.id));
      else await this.#ended('failed', messageOf(thrown));
      return;
    }
    if (!signal.aborted) await this.#complete();
    else if (signal.reason === ScrubEnd.CANCELLED) await this.#ended('cancelled', '');
    else await rows.put(rows.get(this.record.id));
  }

  #begun(run: ScrubRun): void {
    this.#note('scrub.started', run.actor, 'info', `a scrub of volume ${this.record.displayName} has begun`);
  }

  #found(range: BadRange): void {
    const { rows, log, snapshots } = this.#io;
    const row = rows.get(this.record.id);
    if (row.run === null) return;
    const found: BadRangeRow = { ...range, run: row.run.startedAtMs };
    const { ranges, leftOutBytes } = withRange(row.bad, found);
    const moreBadBlocks = row.moreBadBlocks + leftOutBytes / this.record.row.blockBytes;
    rows.note({ ...row, bad: ranges, moreBadBlocks });
    const { snapshot, offsetBytes, lengthBytes, segment, fileOffset, reason } = badRangeView(
      found,
      this.record,
      snapshots,
    );
    const volume = this.record.displayName;
    const place = segment < 0 ? '' : ` (journal segment ${segment} at ${fileOffset})`;
    const whose = snapshot === '' ? '' : ` of snapshot ${snapshot}`;
    const message = `${lengthBytes} bytes at ${offsetBytes}${whose}: ${reason}${place}`;
    this.#damageEvents += 1;
    if (this.#damageEvents > SCRUB_DAMAGE_EVENTS_MAX) return;
    log.error({ volume, snapshot, offsetBytes, lengthBytes, segment, fileOffset, reason }, 'scrub: damage');
    this.#note('scrub.damage', 'daemon', 'error', message);
  }

  #saveSometimes(found: boolean): void {
    const { rows, clock } = this.#io;
    const nowMs = clock.monotonicMs();
    // What was found may not be lost with the process; a store that is bad all over is not written all the time.
    if (nowMs - this.#savedAtMs < (found ? SCRUB_SAVE_MS / 10 : SCRUB_SAVE_MS)) return;
    this.#savedAtMs = nowMs;
    void rows.put(rows.get(this.record.id));
  }

  /** Everything was read: what this run has not seen bad is not bad any more. */
  async #complete(): Promise<void> {
    const { rows, host } = this.#io;
    const { run, bad } = rows.get(this.record.id);
    if (run === null) return;
    const ranges = bad.filter((range) => range.run === run.startedAtMs);
    const left = await stillBadRows(host, ranges).catch(() => ranges);
    const row = rows.get(this.record.id);
    rows.note({ ...row, bad: left });
    const badBlocks = badBlocksOf({ bad: left, moreBadBlocks: row.moreBadBlocks }, this.record.row.blockBytes);
    await this.#ended(badBlocks > 0 ? 'damaged' : 'clean', '');
  }

  async #ended(outcome: ScrubResult['outcome'], reason: string): Promise<void> {
    const { rows, clock } = this.#io;
    const row: ScrubRow = rows.get(this.record.id);
    if (row.run === null) return;
    const { run } = row;
    const badBlocks = badBlocksOf(row, this.record.row.blockBytes);
    const last = resultOf(run, { endedAtMs: Math.trunc(clock.wallMs()), outcome, reason, badBlocks });
    const name = this.record.displayName;
    const level = outcome === 'failed' || outcome === 'damaged' ? 'error' : 'info';
    const read = `${run.bytes} bytes were read`;
    const told: Record<ScrubResult['outcome'], string> = {
      clean: `the scrub of volume ${name} found everything right; ${read}`,
      damaged: `the scrub of volume ${name} found ${badBlocks} damaged blocks; ${read}`,
      cancelled: `the scrub of volume ${name} was cancelled; ${read}`,
      failed: `the scrub of volume ${name} failed: ${reason}`,
    };
    this.#note('scrub.ended', run.actor, level, told[outcome]);
    await rows.put({ ...row, run: null, last });
  }

  #note(kind: string, actor: string, level: 'info' | 'error', message: string): void {
    const volume = this.record.displayName;
    this.#io.events.append({ kind, volume, volumeId: this.record.id, actor, message, level });
  }
}

/** The ranges that are damaged still, each as it was marked. */
export async function stillBadRows(host: VolumeHost, ranges: readonly BadRangeRow[]): Promise<BadRangeRow[]> {
  const left: BadRangeRow[] = [];
  for (const range of ranges) {
    for (const part of await host.stillBad([range])) left.push({ ...part, run: range.run });
  }
  return left;
}
