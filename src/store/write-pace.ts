import type { Clock, Timer } from '../base/clock.js';
import { PACE_MS_LEAST, PACE_MS_MAX } from './limits.js';

/**
 * Holds appends of data back to a rate while the cleaner makes room: many short waits in place of a standstill each time
 * when the last segment is full.
 */
export class WritePace {
  readonly #clock: Clock;
  readonly #rate: () => number;
  readonly #wake: () => void;
  /** What was appended so far has had its time then. */
  #dueMs = 0;
  #timer: Timer | null = null;

  /** `rate`: bytes a second, Infinity when nothing holds data back. `wake`: called when `waits` may have ended. */
  constructor(dependencies: { clock: Clock; rate: () => number; wake: () => void }) {
    this.#clock = dependencies.clock;
    this.#rate = dependencies.rate;
    this.#wake = dependencies.wake;
  }

  /** Data was appended. */
  took(bytes: number): void {
    const rate = this.#rate();
    const nowMs = this.#clock.monotonicMs();
    this.#dueMs = Number.isFinite(rate) ? Math.max(nowMs, this.#dueMs) + (bytes / rate) * 1000 : 0;
  }

  /** Whether the next append has to wait; `wake` is called then. */
  get waits(): boolean {
    if (this.#dueMs === 0) return false;
    const leftMs = this.#dueMs - this.#clock.monotonicMs();
    if (leftMs < PACE_MS_LEAST) return false;
    this.#timer ??= this.#clock.after(Math.min(leftMs, PACE_MS_MAX), () => {
      this.#timer = null;
      this.#wake();
    });
    return true;
  }
}
