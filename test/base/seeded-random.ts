import type { Random } from '../../src/base/clock.js';

/** Bytes that look random and come again for the same seed (xorshift32). Never for keys that matter. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => {
      this.#state ^= this.#state << 13;
      this.#state ^= this.#state >>> 17;
      this.#state ^= this.#state << 5;
      return this.#state & 0xff;
    });
  }
}
