import { assert } from '../base/assert.js';

/**
 * Tokens that come at an even rate, up to as many as the bucket holds. A request that costs more than the bucket holds
 * may go when it is full and leaves a debt, so that the long-run rate is exact whatever the size of requests.
 */
export class TokenBucket {
  readonly #perMs: number;
  readonly #depth: number;
  #tokens: number;
  #atMs: number;

  /** It starts full. `perSecond`: tokens; `depth`: tokens that it holds, at least one. */
  constructor(options: { readonly perSecond: number; readonly depth: number }, nowMs: number) {
    assert(options.perSecond > 0 && options.depth >= 1, 'a bucket fills, and holds a token');
    this.#perMs = options.perSecond / 1000;
    this.#depth = options.depth;
    this.#tokens = options.depth;
    this.#atMs = nowMs;
  }

  /** Milliseconds until a request of this cost may go; 0: now. */
  waitMs(nowMs: number, cost: number): number {
    this.#fill(nowMs);
    const missing = Math.min(cost, this.#depth) - this.#tokens;
    return missing <= 0 ? 0 : missing / this.#perMs;
  }

  /** Pays for a request, on credit if need be. */
  take(cost: number): void {
    this.#tokens -= cost;
  }

  /** Tokens that were taken before they came; 0 when there are none. */
  debt(nowMs: number): number {
    this.#fill(nowMs);
    return Math.max(0, -this.#tokens);
  }

  #fill(nowMs: number): void {
    // Clocks of two threads, or one that was set back, must not take tokens away.
    const passedMs = Math.max(0, nowMs - this.#atMs);
    this.#atMs = nowMs;
    this.#tokens = Math.min(this.#depth, this.#tokens + passedMs * this.#perMs);
  }
}
