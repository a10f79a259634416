import type { Clock, Timer } from '../base/clock.js';
import type { Closable } from '../base/lifecycle.js';
import type { Log } from '../base/log.js';
import { formatSize } from '../base/size.js';
import type { VolumeHost } from '../volume/volume-host.js';
import type { EventLog } from './event-log.js';
import { SPACE_LEVELS, SPACE_LEVEL_BACK, SPACE_WATCH_MS } from './limits.js';
import type { Problem } from './problem.js';

const REMEDY = 'delete or trim what is not needed, or give the node more room: a larger disk, or a larger --capacity';

/** Says it in time when the space for volumes gets short: in the log and as an event once, in the status as long as it is. */
export class SpaceWatch implements Closable {
  readonly #io: { host: Pick<VolumeHost, 'report'>; events: EventLog; clock: Clock; log: Log };
  /** How many of SPACE_LEVELS are reached. */
  #level = 0;
  #timer: Timer | null = null;
  #isClosed = false;

  constructor(dependencies: { host: Pick<VolumeHost, 'report'>; events: EventLog; clock: Clock; log: Log }) {
    this.#io = dependencies;
  }

  start(): void {
    if (this.#isClosed) return;
    this.#look();
    this.#timer = this.#io.clock.after(SPACE_WATCH_MS, () => {
      this.start();
    });
  }

  #look(): void {
    const { events, log } = this.#io;
    const report = this.#io.host.report();
    if (report.state !== 'ready' || report.totalBytes === 0) return;
    const share = 1 - report.freeBytes / report.totalBytes;
    const level = levelOf(share, this.#level);
    if (level === this.#level) return;
    const isWorse = level > this.#level;
    this.#level = level;
    const said = { volume: '', volumeId: '', actor: 'daemon', message: textOf(report) };
    const { freeBytes, totalBytes } = report;
    if (isWorse) {
      log.warn({ freeBytes, totalBytes }, `space: ${said.message}; ${REMEDY}`);
      events.append({ ...said, kind: 'space.low', level: level === SPACE_LEVELS.length ? 'error' : 'warn' });
    } else {
      log.info({ freeBytes, totalBytes }, `space: ${said.message}`);
      events.append({ ...said, kind: 'space.freed', level: 'info' });
    }
  }

  problems(): Problem[] {
    this.#look();
    if (this.#level === 0) return [];
    const reason = textOf(this.#io.host.report());
    return [{ subject: 'space', reason, remedy: REMEDY, lastError: '', nextTryMs: 0 }];
  }

  close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) this.#io.clock.clear(this.#timer);
    return Promise.resolve();
  }
}

/** A level is left a little below where it is reached, so that nobody is told again and again. */
function levelOf(share: number, present: number): number {
  let level = 0;
  for (const [n, from] of SPACE_LEVELS.entries())
    if (share >= (n < present ? from - SPACE_LEVEL_BACK : from)) level += 1;
  return level;
}

function textOf({ freeBytes, totalBytes }: { readonly freeBytes: number; readonly totalBytes: number }): string {
  const percent = Math.floor((1 - freeBytes / totalBytes) * 100);
  return `${percent}% of the space for volumes is used: ${formatSize(freeBytes)} left of ${formatSize(totalBytes)}`;
}
