import type { Random } from '../../src/base/clock.js';

/** Numbers that look random and come again for the same seed (xorshift32). Never for keys that matter. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    // Spread, so that neighbouring seeds differ from the first number on; never 0, where xorshift stands still.
    this.#state = Math.imul(seed + 1, 0x9e3779b1) | 0 || 1;
  }

  #next(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return this.#state >>> 0;
  }

  /** A whole number from 0 to limit - 1. */
  below(limit: number): number {
    return Math.floor((this.#next() / 2 ** 32) * limit);
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let n = 0; n < count; n += 1) bytes[n] = this.#next() >>> 11;
    return bytes;
  }
}
