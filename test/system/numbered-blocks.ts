import type { SeededRandom } from '../base/seeded-random.js';
import type { PipelinedClient } from './pipelined-client.js';

export const BLOCK = 4096;
const ZEROS = Buffer.alloc(BLOCK);
const MAGIC = 'GALLEON NUMBERED BLOCK';
const RUN_BLOCKS_MAX = 24;
const WRITE = 1;
const FLUSH = 3;
const TRIM = 4;
const WRITE_ZEROES = 6;
const FUA = 1;
const READ_BYTES = 1 << 20;
/** Of a hundred requests: flushes, then trims, then zeroes; the rest are writes. */
const FLUSHES = 3;
const TRIMS = 6;
const ZEROES = 10;

/** Version 0 of every block is zeros; a trim makes a version that is zeros too. */
interface Version {
  readonly number: number;
  readonly zeros: boolean;
}

/**
 * What a volume must hold: each block says which volume, which index and which version it is, and the model knows for
 * each block the version that was acknowledged last and the one whose outcome is not known. Requests in flight never
 * overlap, so there is at most one of those.
 */
export class NumberedBlocks {
  readonly name: string;
  readonly blocks: number;
  acknowledged = 0;
  flushed = 0;
  readonly #certain: Version[];
  readonly #pending: (Version | null)[];
  /** Our blocks in one block of the volume. */
  readonly #grain: number;
  #lastNumber = 0;

  /** `blockBytes`: the volume's own. A trim leaves its blocks alone that it covers in part only. */
  constructor(name: string, blocks: number, blockBytes: number) {
    this.name = name;
    this.blocks = blocks;
    this.#grain = blockBytes / BLOCK;
    this.#certain = Array.from({ length: blocks }, () => ({ number: 0, zeros: true }));
    this.#pending = Array.from({ length: blocks }, () => null);
  }

  /** One request of a random kind at a random place; resolves when it was answered or the connection ended. */
  async step(client: PipelinedClient, random: SeededRandom): Promise<void> {
    const kind = random.below(100);
    if (kind < FLUSHES) {
      const { outcome } = await client.send(FLUSH, 0, { length: 0 });
      if (outcome === 0) this.flushed += 1;
      else if (outcome !== 'unknown') throw new Error(`flush failed: ${String(outcome)}`);
      return;
    }
    // Mostly small, as databases write; sometimes a long run.
    const wanted = random.below(4) === 0 ? 1 + random.below(RUN_BLOCKS_MAX) : 1 + random.below(2);
    const first = random.below(this.blocks);
    let count = 0;
    while (count < wanted && first + count < this.blocks && this.#pending[first + count] === null) count += 1;
    if (count === 0) return;
    const zeros = kind < ZEROES;
    const version = { number: (this.#lastNumber += 1), zeros };
    for (let index = first; index < first + count; index += 1) this.#pending[index] = version;
    const flags = random.below(20) === 0 ? FUA : 0;
    const { outcome } = zeros
      ? await client.send(kind < TRIMS ? TRIM : WRITE_ZEROES, first * BLOCK, { length: count * BLOCK, flags })
      : await client.send(WRITE, first * BLOCK, { payload: this.#content(first, count, version.number), flags });
    if (outcome === 'unknown') return;
    if (outcome !== 0) throw new Error(`a request failed: error ${String(outcome)}`);
    this.acknowledged += 1;
    for (let index = first; index < first + count; index += 1) {
      if (kind >= TRIMS || this.#isCovered(index, first, count)) this.#certain[index] = version;
      this.#pending[index] = null;
    }
  }

  /** Whether a request covers the whole block of the volume in which ours lies. */
  #isCovered(index: number, first: number, count: number): boolean {
    const start = index - (index % this.#grain);
    return start >= first && start + this.#grain <= first + count;
  }

  /** Reads the whole volume: what breaks the promises, one line each. What was found becomes certain. */
  async verify(client: PipelinedClient): Promise<string[]> {
    const wrong: string[] = [];
    for (let at = 0; at < this.blocks * BLOCK; at += READ_BYTES) {
      const data = await client.read(at, Math.min(READ_BYTES, this.blocks * BLOCK - at));
      for (let offset = 0; offset < data.length; offset += BLOCK) {
        const fault = this.#judge((at + offset) / BLOCK, data.subarray(offset, offset + BLOCK));
        if (fault !== '') wrong.push(fault);
      }
    }
    return wrong;
  }

  #judge(index: number, found: Buffer): string {
    const certain = this.#certain[index];
    const pending = this.#pending[index] ?? null;
    this.#pending[index] = null;
    for (const version of [certain, pending]) {
      if (version === null || !this.#is(index, version, found)) continue;
      this.#certain[index] = version;
      return '';
    }
    const expected = [certain, pending].map((v) => (v === null ? 'nothing' : `${v.zeros ? 'zeros ' : ''}${v.number}`));
    return `${this.name} block ${index}: acknowledged ${expected[0]}, in flight ${expected[1]}, found ${describe(found)}`;
  }

  #is(index: number, version: Version, found: Buffer): boolean {
    if (version.zeros) return found.equals(ZEROS);
    return found.equals(this.#content(index, 1, version.number));
  }

  #content(first: number, count: number, number: number): Buffer {
    const data = Buffer.allocUnsafe(count * BLOCK);
    for (let offset = 0; offset < data.length; offset += BLOCK) {
      const index = first + offset / BLOCK;
      const block = data.subarray(offset, offset + BLOCK);
      // The whole block follows from its label, so a single foreign byte is seen.
      block.fill(`${MAGIC} ${this.name} ${index} ${number} `);
      block.writeUInt32LE((index ^ Math.imul(number, 0x9e3779b1)) >>> 0, BLOCK - 4);
    }
    return data;
  }
}

function describe(found: Buffer): string {
  if (found.equals(ZEROS)) return 'zeros';
  const text = found.toString('latin1', 0, 80);
  return text.startsWith(MAGIC)
    ? `"${text.split(' ').slice(3, 6).join(' ')}"`
    : `foreign bytes ${found.toString('hex', 0, 32)}`;
}
