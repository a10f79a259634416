import { Operation } from '../../src/device/block-device.js';
import type { VolumeHandle } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { perform } from './store-world.js';

const BLOCK_BYTES = 4096;
const STEP_BLOCKS = 64;
const TOGETHER = 8;
const WRITE_BLOCKS_MAX = 4;

/** What every block says in clear behind its number: what a file shows where it is not encrypted. */
export const CLEAR_TEXT = 'every block says this in clear. ';

/** What a volume is to hold: in each block of 4 KiB a number of its own, 0 where it is zeros. */
export class NumberedBlocks {
  readonly shows: Float64Array;
  readonly #random: SeededRandom;
  #last = 0;

  constructor(blocks: number, seed: number) {
    this.shows = new Float64Array(blocks);
    this.#random = new SeededRandom(seed);
  }

  async write(volume: VolumeHandle, first: number, count: number): Promise<void> {
    const data = Buffer.alloc(count * BLOCK_BYTES, CLEAR_TEXT);
    for (let n = 0; n < count; n += 1) {
      this.#last += 1;
      data.writeDoubleLE(this.#last, n * BLOCK_BYTES);
      this.shows[first + n] = this.#last;
    }
    await perform(volume, Operation.WRITE, first * BLOCK_BYTES, data.length, { data });
  }

  async fill(volume: VolumeHandle): Promise<void> {
    for (let first = 0; first < this.shows.length; first += STEP_BLOCKS) {
      await this.write(volume, first, Math.min(STEP_BLOCKS, this.shows.length - first));
    }
  }

  /** At least so many blocks, in writes of 1 to 4 of them at random places, several at a time and none over another. */
  async overwrite(volume: VolumeHandle, blocks: number): Promise<void> {
    for (let done = 0; done < blocks;) {
      const writes: Promise<void>[] = [];
      const taken = new Set<number>();
      while (writes.length < TOGETHER) {
        const first = this.#random.below(this.shows.length - WRITE_BLOCKS_MAX);
        const all = Array.from({ length: WRITE_BLOCKS_MAX }, (_, n) => first + n);
        if (all.some((block) => taken.has(block))) continue;
        const own = all.slice(0, 1 + this.#random.below(WRITE_BLOCKS_MAX));
        for (const block of own) taken.add(block);
        writes.push(this.write(volume, first, own.length));
        done += own.length;
      }
      await Promise.all(writes);
    }
  }

  /** Throws an Error that names the first block that does not show what it should. */
  async check(volume: VolumeHandle, shows: Float64Array = this.shows): Promise<void> {
    const into = Buffer.alloc(STEP_BLOCKS * BLOCK_BYTES);
    for (let first = 0; first < shows.length; first += STEP_BLOCKS) {
      const count = Math.min(STEP_BLOCKS, shows.length - first);
      await perform(volume, Operation.READ, first * BLOCK_BYTES, count * BLOCK_BYTES, { data: into });
      for (let n = 0; n < count; n += 1) {
        const found = into.readDoubleLE(n * BLOCK_BYTES);
        if (found !== shows[first + n]) throw new Error(`block ${first + n}: ${found}, not ${shows[first + n]}`);
      }
    }
  }
}
