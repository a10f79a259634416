import { LEAF_BLOCKS } from '../limits.js';
import { ABSENT, UNLOADED } from '../location.js';
import { inheritedOf, type Layer } from './layer.js';
import { LeafFlag, type LeafCache } from './leaf-cache.js';
import { leafKey } from './map-keys.js';
import type { MapRows } from './map-rows.js';
import { readLeaf } from './stored-leaf.js';

/**
 * What a layer with ancestors shows, leaf by leaf: its own entries, and under those that are absent what the nearest
 * ancestor has. A view is made when its leaf is first asked for, and is cache only: whatever changes an entry of a layer
 * changes the views that show it in the same turn. So a read costs the same whatever the number of snapshots.
 */
export class LayerViews {
  readonly #cache: LeafCache;
  readonly #rows: MapRows;
  readonly #layers: ReadonlyMap<number, Layer>;
  /** One decoded leaf. */
  readonly #stored = new Float64Array(LEAF_BLOCKS);
  /** Layers that have views. */
  readonly #shown = new Set<Layer>();

  constructor(dependencies: { cache: LeafCache; rows: MapRows; layers: ReadonlyMap<number, Layer> }) {
    this.#cache = dependencies.cache;
    this.#rows = dependencies.rows;
    this.#layers = dependencies.layers;
  }

  parentOf(layer: Layer): Layer | undefined {
    return layer.parent === 0 ? undefined : this.#layers.get(layer.parent);
  }

  /** Entry `n` of a leaf as the layer shows it; UNLOADED when stored leaves must be fetched first. */
  locate(layer: Layer, leaf: number, n: number): number {
    let row = layer.views.get(leaf);
    if (row === undefined) {
      if (this.#wants(layer, leaf).length > 0) return UNLOADED;
      row = this.build(layer, leaf);
    }
    this.#cache.add(row, LeafFlag.USED);
    return this.#cache.entriesOf(row)[this.#cache.baseOf(row) + n];
  }

  /** Keys of the stored leaves that a view of this leaf is made of. */
  wanted(layer: Layer, leaf: number): Uint8Array[] {
    return this.#wants(layer, leaf).map((each) => leafKey(each.id, leaf));
  }

  #wants(layer: Layer, leaf: number): Layer[] {
    const found: Layer[] = [];
    for (let each: Layer | undefined = layer; each !== undefined; each = this.parentOf(each)) {
      const row = each.leaves.get(leaf);
      if (row === undefined ? each.filter.has(leaf) : this.#cache.has(row, LeafFlag.PARTIAL)) found.push(each);
    }
    return found;
  }

  /** Makes the view of a leaf; the stored leaves that it wants should have been prefetched. Throws StoreError DAMAGED. */
  build(layer: Layer, leaf: number): number {
    const shown = this.shown(layer, leaf);
    const row = this.#cache.allocate(layer.id, leaf, ABSENT);
    this.#cache.add(row, LeafFlag.VIEW);
    this.#cache.entriesOf(row).set(shown, this.#cache.baseOf(row));
    layer.views.set(leaf, row);
    this.#shown.add(layer);
    return row;
  }

  /** The entries of a leaf as the layer shows them, without keeping them. Throws StoreError DAMAGED. */
  shown(layer: Layer, leaf: number): Float64Array {
    const shown = new Float64Array(LEAF_BLOCKS);
    let open = LEAF_BLOCKS;
    let end = LEAF_BLOCKS;
    for (let each: Layer | undefined = layer; each !== undefined && open > 0 && end > 0; each = this.parentOf(each)) {
      const own = this.own(each, leaf);
      for (let n = 0; own !== null && n < end; n += 1) {
        if (shown[n] !== ABSENT || own[n] === ABSENT) continue;
        shown[n] = own[n];
        open -= 1;
      }
      end = Math.min(end, inheritedOf(each, leaf));
    }
    return shown;
  }

  /** A layer's own entries of a leaf, until the next call; null when it has none. Throws StoreError DAMAGED. */
  own(layer: Layer, leaf: number): Float64Array | null {
    const row = layer.leaves.get(leaf);
    if (row === undefined) {
      if (!layer.filter.has(leaf)) return null;
      readLeaf(this.#rows, layer.id, leaf, this.#stored, 0);
      return this.#stored;
    }
    const partial = this.#cache.has(row, LeafFlag.PARTIAL);
    if (partial) readLeaf(this.#rows, layer.id, leaf, this.#stored, 0);
    const base = this.#cache.baseOf(row);
    const entries = this.#cache.entriesOf(row);
    for (let n = 0; n < LEAF_BLOCKS; n += 1) {
      if (!partial || entries[base + n] !== UNLOADED) this.#stored[n] = entries[base + n];
    }
    return this.#stored;
  }

  /** The layer's own entries [from, to) of a leaf were published: its view shows them. */
  published(layer: Layer, leaf: number, row: number, from: number, to: number): void {
    const view = layer.views.get(leaf);
    if (view === undefined) return;
    const base = this.#cache.baseOf(row);
    const own = this.#cache.entriesOf(row).subarray(base + from, base + to);
    this.#cache.entriesOf(view).set(own, this.#cache.baseOf(view) + from);
  }

  /** A block has moved: every view that shows it at `from` shows it at `to`. */
  moved(leaf: number, n: number, from: number, to: number): void {
    for (const layer of this.#shown) {
      const view = layer.views.get(leaf);
      if (view === undefined) continue;
      const at = this.#cache.baseOf(view) + n;
      const entries = this.#cache.entriesOf(view);
      if (entries[at] === from) entries[at] = to;
    }
  }

  /** Lets go of the views of a layer that is gone. */
  release(layer: Layer): void {
    for (const row of layer.views.rows()) this.#cache.release(row);
    layer.views.clear();
    this.#shown.delete(layer);
  }
}
