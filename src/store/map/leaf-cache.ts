import { CACHED_LEAF_BYTES, LEAF_BLOCKS } from '../limits.js';

/**
 * A chunk of 32 MiB: memory of that size comes from the kernel by itself, and page by page as it is touched, so that a
 * chunk costs what is used of it and leaves no holes between other allocations.
 */
const CHUNK_BITS_MAX = 15;
/** Rows become available so many at a time. */
const GROWTH_ROWS = 1024;

/** Flags of a cached leaf. */
export const LeafFlag = {
  /** Some entries are UNLOADED: the stored leaf must be merged in before they can be read. */
  PARTIAL: 1,
  /** Differs from the stored leaf. */
  DIRTY: 2,
  /** Its encoded form is on its way to the database. */
  WRITING: 4,
  /** Used since the clock hand last passed. */
  USED: 8,
  /** What a layer with ancestors shows: made from stored leaves and other rows, stored nowhere. */
  VIEW: 16,
  /** Its stored leaf is being removed: only this row knows what it said, until all know that it is gone. */
  HELD: 32,
  /** Stands in the list of those that turned dirty. */
  LISTED: 64,
} as const;

/** Tells the owner of an evicted leaf that its row is gone. */
export type Evicted = (layer: number, leaf: number, view: boolean) => void;

/**
 * Leaves as rows of large typed arrays: no object per leaf, no work for the collector. Rows are given out in chunks up
 * to the limit; beyond it a clock hand evicts clean rows. Dirty rows and rows being written stay; their number is
 * bounded by the writers' own limit.
 */
export class LeafCache {
  readonly #rowsMax: number;
  /** Leaves of a chunk, as a power of two. */
  readonly #chunkBits: number;
  readonly #evicted: Evicted;
  readonly #chunks: Float64Array[] = [];
  #flags = new Uint8Array(0);
  #layer = new Float64Array(0);
  #leaf = new Float64Array(0);
  /** Sequence of the newest change. */
  #newest = new Float64Array(0);
  /** Entries that are locations in the stored leaf. */
  #storedMapped = new Uint8Array(0);
  #inUse = new Uint8Array(0);
  readonly #free: number[] = [];
  #rows = 0;
  #used = 0;
  #hand = 0;

  constructor(options: { cacheBytes: number }, evicted: Evicted) {
    this.#rowsMax = Math.max(64, Math.floor(options.cacheBytes / CACHED_LEAF_BYTES));
    this.#chunkBits = Math.min(CHUNK_BITS_MAX, Math.ceil(Math.log2(this.#rowsMax)));
    this.#evicted = evicted;
  }

  get rowsMax(): number {
    return this.#rowsMax;
  }

  get bytes(): number {
    return this.#used * CACHED_LEAF_BYTES;
  }

  /** The typed array that holds a row; its entries start at `baseOf(row)`. */
  entriesOf(row: number): Float64Array {
    return this.#chunks[row >>> this.#chunkBits];
  }

  baseOf(row: number): number {
    return (row & ((1 << this.#chunkBits) - 1)) * LEAF_BLOCKS;
  }

  layerOf(row: number): number {
    return this.#layer[row];
  }

  leafOf(row: number): number {
    return this.#leaf[row];
  }

  newestOf(row: number): number {
    return this.#newest[row];
  }

  storedMappedOf(row: number): number {
    return this.#storedMapped[row];
  }

  setStoredMapped(row: number, mapped: number): void {
    this.#storedMapped[row] = mapped;
  }

  has(row: number, flag: number): boolean {
    return (this.#flags[row] & flag) !== 0;
  }

  add(row: number, flags: number): void {
    this.#flags[row] |= flags;
  }

  drop(row: number, flags: number): void {
    this.#flags[row] &= ~flags;
  }

  changed(row: number, sequence: number): void {
    this.#newest[row] = sequence;
    this.#flags[row] |= LeafFlag.DIRTY | LeafFlag.USED;
  }

  /** A row for a leaf, its entries filled with `fill`. */
  allocate(layer: number, leaf: number, fill: number): number {
    const row = this.#takeRow();
    this.#flags[row] = LeafFlag.USED;
    this.#layer[row] = layer;
    this.#leaf[row] = leaf;
    this.#newest[row] = 0;
    this.#storedMapped[row] = 0;
    this.#inUse[row] = 1;
    this.#used += 1;
    const base = this.baseOf(row);
    this.entriesOf(row).fill(fill, base, base + LEAF_BLOCKS);
    return row;
  }

  #takeRow(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const evicted = this.#rows >= this.#rowsMax ? this.#evict() : undefined;
    return evicted ?? this.#addRows();
  }

  release(row: number): void {
    this.#inUse[row] = 0;
    this.#flags[row] = 0;
    this.#used -= 1;
    this.#free.push(row);
  }

  /** A clean row that was not used since the hand's last round, taken from its owner; undefined when two rounds found none. */
  #evict(): number | undefined {
    for (let step = 0; step < this.#rows * 2; step += 1) {
      const row = this.#hand;
      this.#hand = row + 1 === this.#rows ? 0 : row + 1;
      if (this.#inUse[row] === 0) continue;
      const flags = this.#flags[row];
      if ((flags & (LeafFlag.DIRTY | LeafFlag.WRITING | LeafFlag.HELD)) !== 0) continue;
      if ((flags & LeafFlag.USED) !== 0) {
        this.#flags[row] = flags & ~LeafFlag.USED;
        continue;
      }
      this.#evicted(this.#layer[row], this.#leaf[row], (flags & LeafFlag.VIEW) !== 0);
      this.#used -= 1;
      this.#inUse[row] = 0;
      return row;
    }
    return undefined;
  }

  /** Adds free rows and takes the first. */
  #addRows(): number {
    const from = this.#rows;
    if (from === this.#chunks.length << this.#chunkBits) this.#addChunk();
    this.#rows = Math.min(from + GROWTH_ROWS, this.#chunks.length << this.#chunkBits);
    for (let row = this.#rows - 1; row > from; row -= 1) this.#free.push(row);
    return from;
  }

  #addChunk(): void {
    this.#chunks.push(new Float64Array(LEAF_BLOCKS << this.#chunkBits));
    const capacity = this.#chunks.length << this.#chunkBits;
    const grown = <T extends Float64Array | Uint8Array>(to: T, old: T): T => {
      to.set(old);
      return to;
    };
    this.#flags = grown(new Uint8Array(capacity), this.#flags);
    this.#layer = grown(new Float64Array(capacity), this.#layer);
    this.#leaf = grown(new Float64Array(capacity), this.#leaf);
    this.#newest = grown(new Float64Array(capacity), this.#newest);
    this.#storedMapped = grown(new Uint8Array(capacity), this.#storedMapped);
    this.#inUse = grown(new Uint8Array(capacity), this.#inUse);
  }
}
