import { FILTER_LEAVES } from '../limits.js';

const CAPACITY_MIN = 16;
/** Fibonacci hashing: neighbours, which is what sequential work touches, lie far apart. */
const MULTIPLIER = 0x9e37_79b1;
/** Of a table in use: a key that no leaf has. */
const EMPTY = -1;

/**
 * Cache rows of one layer's leaves: a hash table with linear probing in typed arrays, 24 bytes a leaf or fewer, where a
 * Map of a quarter of a million leaves takes seven times that and moves it at each collection. It also counts them per
 * FILTER_LEAVES leaves, the measure of the layer's filter, so that a trim of a huge sparse layer steps over what is
 * neither cached nor stored in large strides.
 */
export class LeafIndex {
  #keys = new Float64Array(0);
  #rows = new Int32Array(0);
  #count = 0;
  readonly #chunks = new Map<number, number>();

  get(leaf: number): number | undefined {
    if (this.#count === 0) return undefined;
    const at = this.#find(leaf);
    return this.#keys[at] === leaf ? this.#rows[at] : undefined;
  }

  has(leaf: number): boolean {
    return this.#count > 0 && this.#keys[this.#find(leaf)] === leaf;
  }

  /** Whether any leaf of the chunk that holds `leaf` is cached. */
  hasChunkOf(leaf: number): boolean {
    return this.#chunks.has(Math.floor(leaf / FILTER_LEAVES));
  }

  /** Chunks of which a leaf is cached, in no order. */
  chunks(): Iterable<number> {
    return this.#chunks.keys();
  }

  set(leaf: number, row: number): void {
    if ((this.#count + 1) * 2 > this.#keys.length) this.#grow();
    const at = this.#find(leaf);
    this.#rows[at] = row;
    if (this.#keys[at] === leaf) return;
    this.#keys[at] = leaf;
    this.#count += 1;
    const chunk = Math.floor(leaf / FILTER_LEAVES);
    this.#chunks.set(chunk, (this.#chunks.get(chunk) ?? 0) + 1);
  }

  delete(leaf: number): void {
    if (!this.has(leaf)) return;
    this.#vacate(this.#find(leaf));
    this.#count -= 1;
    const chunk = Math.floor(leaf / FILTER_LEAVES);
    const left = (this.#chunks.get(chunk) ?? 0) - 1;
    if (left > 0) this.#chunks.set(chunk, left);
    else this.#chunks.delete(chunk);
  }

  /** Nothing may be added or deleted while it is read. */
  *leaves(): Generator<number> {
    for (const key of this.#keys) if (key !== EMPTY) yield key;
  }

  /** Nothing may be added or deleted while it is read. */
  *rows(): Generator<number> {
    for (let at = 0; at < this.#keys.length; at += 1) if (this.#keys[at] !== EMPTY) yield this.#rows[at];
  }

  clear(): void {
    this.#keys = new Float64Array(0);
    this.#rows = new Int32Array(0);
    this.#count = 0;
    this.#chunks.clear();
  }

  /** Where a leaf is, or the free place that it would take. */
  #find(leaf: number): number {
    const keys = this.#keys;
    const mask = keys.length - 1;
    let at = this.#home(leaf);
    while (keys[at] !== leaf && keys[at] !== EMPTY) at = (at + 1) & mask;
    return at;
  }

  #home(leaf: number): number {
    const mixed = Math.imul((leaf | 0) ^ Math.floor(leaf / 0x1_0000_0000), MULTIPLIER);
    return (mixed ^ (mixed >>> 15)) & (this.#keys.length - 1);
  }

  /** Frees a place. Those behind it that were only pushed there move up, so that probing never meets a gap. */
  #vacate(place: number): void {
    const mask = this.#keys.length - 1;
    let gap = place;
    for (let at = (gap + 1) & mask; this.#keys[at] !== EMPTY; at = (at + 1) & mask) {
      const pushed = (at - this.#home(this.#keys[at])) & mask;
      if (pushed < ((at - gap) & mask)) continue;
      this.#keys[gap] = this.#keys[at];
      this.#rows[gap] = this.#rows[at];
      gap = at;
    }
    this.#keys[gap] = EMPTY;
  }

  #grow(): void {
    const [keys, rows] = [this.#keys, this.#rows];
    const capacity = Math.max(CAPACITY_MIN, keys.length * 2);
    this.#keys = new Float64Array(capacity).fill(EMPTY);
    this.#rows = new Int32Array(capacity);
    for (let from = 0; from < keys.length; from += 1) {
      if (keys[from] === EMPTY) continue;
      const at = this.#find(keys[from]);
      this.#keys[at] = keys[from];
      this.#rows[at] = rows[from];
    }
  }
}
