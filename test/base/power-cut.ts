import type { SeededRandom } from './seeded-random.js';

export const SECTOR_BYTES = 512;
export const PAGE_BYTES = 4096;

/** Which unsynced sectors a power cut keeps. Each finds other mistakes. */
export type CutPolicy = 'all lost' | 'all kept' | 'coins' | 'few lost' | 'one lost' | 'pages' | 'older versions';

/** Tosses for the unsynced sectors of one file, in the order in which they are asked about. */
export class PowerCut {
  readonly #policy: CutPolicy;
  readonly #random: SeededRandom;
  /** The one that is lost, where one is. */
  readonly #victim: number;
  readonly #pages = new Map<number, boolean>();

  /** `count`: sectors that will be asked about. */
  constructor(policy: CutPolicy, random: SeededRandom, count: number) {
    this.#policy = policy;
    this.#random = random;
    this.#victim = random.below(Math.max(count, 1));
  }

  /** Whether sector number `n` of those that are asked about, in page `page`, is lost. */
  loses(n: number, page: number): boolean {
    const random = this.#random;
    if (!this.#pages.has(page)) this.#pages.set(page, random.below(2) === 0);
    switch (this.#policy) {
      case 'all lost':
        return true;
      case 'all kept':
        return false;
      case 'coins':
        return random.below(2) === 0;
      case 'few lost':
        return random.below(16) === 0;
      case 'one lost':
        return n === this.#victim;
      case 'pages':
        return this.#pages.get(page) === true;
      case 'older versions':
        return random.below(4) === 0;
    }
  }
}
