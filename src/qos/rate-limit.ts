import { BUCKET_MS } from './limits.js';
import { TokenBucket } from './token-bucket.js';

export interface Burst {
  /** Times the rate; 1: none. */
  readonly multiplier: number;
  /** How long a rested volume may go on at that rate. */
  readonly durationMs: number;
}

export const NO_BURST: Burst = { multiplier: 1, durationMs: 0 };

/**
 * One limit of one kind, operations or bytes a second. Without burst it is one bucket. With burst it is two: one that
 * gives the rate and has saved up what a burst takes beyond it, and one that holds the burst itself to its multiple.
 * What was saved comes back at the rate that is not used.
 */
export class RateLimit {
  readonly #sustained: TokenBucket;
  readonly #peak: TokenBucket | null;

  /** Starts rested, but for what the limit that it replaces was still owed. */
  constructor(perSecond: number, burst: Burst, nowMs: number, replaced: RateLimit | null = null) {
    const { multiplier, durationMs } = burst;
    const pause = (rate: number): number => Math.max(1, (rate * BUCKET_MS) / 1000);
    const saved = (perSecond * (multiplier - 1) * durationMs) / 1000;
    this.#sustained = new TokenBucket({ perSecond, depth: pause(perSecond) + saved }, nowMs);
    const peak = perSecond * multiplier;
    this.#peak = multiplier > 1 ? new TokenBucket({ perSecond: peak, depth: pause(peak) }, nowMs) : null;
    const debt = replaced === null ? 0 : replaced.#debt(nowMs);
    if (debt > 0) (this.#peak ?? this.#sustained).take(debt);
  }

  /** Milliseconds until a request of this cost may go; 0: now. */
  waitMs(nowMs: number, cost: number): number {
    const waitMs = this.#sustained.waitMs(nowMs, cost);
    return this.#peak === null ? waitMs : Math.max(waitMs, this.#peak.waitMs(nowMs, cost));
  }

  take(cost: number): void {
    this.#sustained.take(cost);
    this.#peak?.take(cost);
  }

  #debt(nowMs: number): number {
    return Math.max(this.#sustained.debt(nowMs), this.#peak?.debt(nowMs) ?? 0);
  }
}
