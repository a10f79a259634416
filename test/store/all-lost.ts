import { SeededRandom } from '../base/seeded-random.js';

class AllLost extends SeededRandom {
  override below(limit: number): number {
    return limit === 2 ? 1 : 0;
  }
}

/** Has `VolatileDisk.cut` take back every unsynced sector and leave the names of files alone. */
export const ALL_LOST: SeededRandom = new AllLost(1);
