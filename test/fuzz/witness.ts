import { expect } from 'vitest';
import { SeededRandom } from '../base/seeded-random.js';
import { type WireClient } from '../nbd/wire-client.js';
import type { TestServer } from '../nbd/test-server.js';

const READ = 0;
const WRITE = 1;
const FLUSH = 3;
const BLOCK = 4096;
const BLOCKS = 64;

/** Stands in everything that a witness writes: nobody else's replies may hold it. */
export const WITNESS_MARK = Buffer.from('only-the-witness-may-read-this:');
export const WITNESS_BYTES = BLOCK * BLOCKS;

/**
 * A client that behaves, on a volume of its own, for as long as others do not: every block that it reads must be the one
 * that it wrote last.
 */
export class Witness {
  readonly #client: WireClient;
  readonly #dice: SeededRandom;
  readonly #versions = new Array<number>(BLOCKS).fill(0);
  readonly #work: Promise<void>;
  #rounds = 0;
  #stopped = false;

  private constructor(client: WireClient, seed: number) {
    this.#client = client;
    this.#dice = new SeededRandom(seed);
    this.#work = this.#run();
    // Heard again in `stop`; until then a failure must not end the process.
    this.#work.catch(() => undefined);
  }

  static async start(server: TestServer, name: string, seed: number): Promise<Witness> {
    const client = await (seed % 2 === 0 ? server.connect() : server.connectTcp());
    await client.go(name, { structured: seed % 2 === 0 });
    return new Witness(client, seed);
  }

  /** Rounds that went well: a write, a read of it and of another block each. */
  get rounds(): number {
    return this.#rounds;
  }

  /** Throws what went wrong. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#work;
    this.#client.destroy();
    await this.#client.whenClosed;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const block = this.#dice.below(BLOCKS);
      const version = (this.#versions[block] ?? 0) + 1;
      const written = await this.#client.ask({ type: WRITE, offset: block * BLOCK, payload: content(block, version) });
      expect(written.error).toBe(0);
      this.#versions[block] = version;
      await this.#readBack(block);
      await this.#readBack(this.#dice.below(BLOCKS));
      if (this.#dice.below(10) === 0) expect((await this.#client.ask({ type: FLUSH })).error).toBe(0);
      this.#rounds += 1;
    }
  }

  async #readBack(block: number): Promise<void> {
    const reply = await this.#client.ask({ type: READ, offset: block * BLOCK, length: BLOCK });
    expect(reply.error).toBe(0);
    const data = reply.structured ? reply.payload.subarray(8) : reply.payload;
    const version = this.#versions[block] ?? 0;
    const wanted = version === 0 ? Buffer.alloc(BLOCK) : content(block, version);
    if (!data.equals(wanted)) throw new Error(`the witness read something else in block ${String(block)}`);
  }
}

function content(block: number, version: number): Buffer {
  return Buffer.alloc(BLOCK, `${WITNESS_MARK.toString()}${String(block)}.${String(version)};`);
}
