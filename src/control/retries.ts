import type { Clock, Timer } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { RETRY_MS_MAX, RETRY_MS_MIN } from './limits.js';

export interface RetryState {
  readonly attempts: number;
  readonly lastError: string;
  /** Wall clock, milliseconds since 1970. */
  readonly nextTryMs: number;
}

interface Entry extends RetryState {
  readonly attempt: () => Promise<void>;
  readonly timer: Timer | null;
}

/** Work that failed and is tried again by itself, later each time. The desired state lies elsewhere; this only pushes. */
export class Retries {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #entries = new Map<string, Entry>();
  readonly #running = new Set<Promise<void>>();
  #closed = false;

  constructor({ clock, log }: { clock: Clock; log: Log }) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Notes a failure of `subject` and plans the next attempt; each attempt in a row waits twice as long. */
  failed(subject: string, thrown: unknown, attempt: () => Promise<void>): void {
    if (this.#closed) return;
    const before = this.#entries.get(subject);
    if (before?.timer) this.#clock.clear(before.timer);
    const attempts = (before?.attempts ?? 0) + 1;
    const delayMs = Math.min(RETRY_MS_MIN * 2 ** (attempts - 1), RETRY_MS_MAX);
    const lastError = messageOf(thrown);
    this.#log.warn({ subject, attempts, delayMs, error: lastError }, 'will be tried again');
    const timer = this.#clock.after(delayMs, () => {
      this.#start(subject);
    });
    const nextTryMs = this.#clock.wallMs() + delayMs;
    this.#entries.set(subject, { attempts, lastError, nextTryMs, attempt, timer });
  }

  /** It has worked, or is no longer wanted. */
  settled(subject: string): void {
    const entry = this.#entries.get(subject);
    if (entry?.timer) this.#clock.clear(entry.timer);
    this.#entries.delete(subject);
  }

  stateOf(subject: string): RetryState | null {
    return this.#entries.get(subject) ?? null;
  }

  /** Plans nothing more and waits for the attempt that is running. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const entry of this.#entries.values()) if (entry.timer) this.#clock.clear(entry.timer);
    await Promise.all(this.#running);
  }

  #start(subject: string): void {
    const entry = this.#entries.get(subject);
    if (entry === undefined || this.#closed) return;
    const run = this.#run(subject, entry).finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  async #run(subject: string, entry: Entry): Promise<void> {
    try {
      await entry.attempt();
      // The attempt itself may have noted a new failure, or that it is settled.
      if (this.#entries.get(subject) === entry) this.settled(subject);
    } catch (thrown) {
      this.failed(subject, thrown, entry.attempt);
    }
  }
}
