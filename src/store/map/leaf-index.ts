import { FILTER_LEAVES } from '../limits.js';

/**
 * Cache rows of one layer's leaves. It also counts them per FILTER_LEAVES leaves, the measure of the layer's filter, so
 * that a trim of a huge sparse layer steps over what is neither cached nor stored in large strides.
 */
export class LeafIndex {
  readonly #rows = new Map<number, number>();
  readonly #chunks = new Map<number, number>();

  get(leaf: number): number | undefined {
    return this.#rows.get(leaf);
  }

  has(leaf: number): boolean {
    return this.#rows.has(leaf);
  }

  /** Whether any leaf of the chunk that holds `leaf` is cached. */
  hasChunkOf(leaf: number): boolean {
    return this.#chunks.has(Math.floor(leaf / FILTER_LEAVES));
  }

  set(leaf: number, row: number): void {
    if (!this.#rows.has(leaf)) {
      const chunk = Math.floor(leaf / FILTER_LEAVES);
      this.#chunks.set(chunk, (this.#chunks.get(chunk) ?? 0) + 1);
    }
    this.#rows.set(leaf, row);
  }

  delete(leaf: number): void {
    if (!this.#rows.delete(leaf)) return;
    const chunk = Math.floor(leaf / FILTER_LEAVES);
    const left = (this.#chunks.get(chunk) ?? 0) - 1;
    if (left > 0) this.#chunks.set(chunk, left);
    else this.#chunks.delete(chunk);
  }

  leaves(): IterableIterator<number> {
    return this.#rows.keys();
  }

  rows(): IterableIterator<number> {
    return this.#rows.values();
  }

  clear(): void {
    this.#rows.clear();
    this.#chunks.clear();
  }
}
