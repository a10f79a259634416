import { FILTER_LEAVES } from '../limits.js';

/**
 * Which leaves of a layer are stored: one bit array per FILTER_LEAVES leaves, loaded when the layer is, so that a miss
 * asks the database only for leaves that exist. Exact: it changes in the same commit as the leaves.
 */
export class LeafFilter {
  readonly #chunks = new Map<number, Uint8Array>();

  load(chunk: number, bits: Uint8Array): void {
    this.#chunks.set(chunk, bits.slice());
  }

  has(leaf: number): boolean {
    const bits = this.#chunks.get(Math.floor(leaf / FILTER_LEAVES));
    if (bits === undefined) return false;
    const bit = leaf % FILTER_LEAVES;
    return (bits[bit >>> 3] & (1 << (bit & 7))) !== 0;
  }

  /** How many leaves are stored. */
  get count(): number {
    let found = 0;
    for (const bits of this.#chunks.values()) {
      for (const byte of bits) for (let rest = byte; rest !== 0; rest &= rest - 1) found += 1;
    }
    return found;
  }

  /** The stored leaves, ascending. */
  *leaves(): Generator<number> {
    const chunks = [...this.#chunks.keys()].toSorted((a, b) => a - b);
    for (const chunk of chunks) yield* this.leavesIn(chunk, chunk * FILTER_LEAVES);
  }

  /** The stored leaves of a chunk from one of its leaves on, ascending. */
  *leavesIn(chunk: number, from: number): Generator<number> {
    for (let bit = from - chunk * FILTER_LEAVES; bit < FILTER_LEAVES; bit += 1) {
      const byte = this.#chunks.get(chunk)?.[bit >>> 3] ?? 0;
      if (byte === 0) bit |= 7;
      else if ((byte & (1 << (bit & 7))) !== 0) yield chunk * FILTER_LEAVES + bit;
    }
  }

  /** Chunks of which a leaf is stored, in no order. */
  chunks(): Iterable<number> {
    return this.#chunks.keys();
  }

  /** Whether any leaf of the chunk that holds `leaf` is stored. */
  hasChunkOf(leaf: number): boolean {
    return this.#chunks.has(Math.floor(leaf / FILTER_LEAVES));
  }

  /** Sets or clears a bit; returns the chunk's number. */
  set(leaf: number, present: boolean): number {
    const chunk = Math.floor(leaf / FILTER_LEAVES);
    let bits = this.#chunks.get(chunk);
    if (bits === undefined) {
      if (!present) return chunk;
      bits = new Uint8Array(FILTER_LEAVES / 8);
      this.#chunks.set(chunk, bits);
    }
    const bit = leaf % FILTER_LEAVES;
    if (present) bits[bit >>> 3] |= 1 << (bit & 7);
    else bits[bit >>> 3] &= ~(1 << (bit & 7));
    return chunk;
  }

  /** The bits of a chunk as stored; null when none is set. */
  chunk(chunk: number): Uint8Array | null {
    const bits = this.#chunks.get(chunk);
    if (bits === undefined) return null;
    if (bits.every((byte) => byte === 0)) {
      this.#chunks.delete(chunk);
      return null;
    }
    return bits;
  }

  clear(): void {
    this.#chunks.clear();
  }
}
