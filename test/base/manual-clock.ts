import type { Clock, Timer } from '../../src/base/clock.js';

interface Due {
  readonly atMs: number;
  readonly callback: () => void;
}

/** A clock that stands still until it is told to move. */
export class ManualClock implements Clock {
  #nowMs = 0;
  readonly #due = new Set<Due>();

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    const due: Due = { atMs: this.#nowMs + delayMs, callback };
    this.#due.add(due);
    return due as unknown as Timer;
  }

  clear(timer: Timer): void {
    this.#due.delete(timer as unknown as Due);
  }

  endOfTurn(callback: () => void): void {
    setImmediate(callback);
  }

  /** Timers that have not fired. */
  get pending(): number {
    return this.#due.size;
  }

  /** Moves on, firing what comes due in order. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const next = [...this.#due].filter((due) => due.atMs <= untilMs).sort((left, right) => left.atMs - right.atMs)[0];
      if (next === undefined) break;
      this.#due.delete(next);
      this.#nowMs = next.atMs;
      next.callback();
    }
    this.#nowMs = untilMs;
  }
}
