import { LEAF_BLOCKS } from '../limits.js';
import { ABSENT, slotOf, storedUnitsOf, UNLOADED } from '../location.js';
import type { BlockMap, LiveChange } from './block-map.js';
import { inheritedOf, type Layer } from './layer.js';
import { LeafFlag, type LeafCache } from './leaf-cache.js';
import type { MovedBlocks } from './moved-blocks.js';

/** A leaf of a layer that is being merged, as its heir has taken it over in memory. */
export interface TakenLeaf {
  readonly leaf: number;
  /** The heir's row; null when there was nothing to take. */
  readonly row: number | null;
  readonly dead: readonly number[];
  readonly mapped: number;
}

/** Changes of the map that change nothing of what any layer shows: blocks move, or go from a layer to its heir. */
export class LeafMoves {
  readonly map: BlockMap;
  readonly #cache: LeafCache;
  readonly #live: LiveChange;

  constructor(dependencies: { map: BlockMap; live: LiveChange }) {
    this.map = dependencies.map;
    this.#cache = dependencies.map.cache;
    this.#live = dependencies.live;
  }

  /**
   * Publishes that blocks of a leaf have moved, those at `places` of the list: each entry that still says `from` says `to`.
   * What is stored of the leaf should have been prefetched. The moved blocks are durable already, and the old ones are still there, so the leaf may be
   * stored at any time, and need not be before the next checkpoint. Returns how many entries changed.
   */
  relocate(layer: Layer, leaf: number, moved: MovedBlocks, places: Int32Array): number {
    if (layer.filter.has(leaf)) this.map.install(layer, leaf);
    const row = layer.leaves.get(leaf);
    if (row === undefined) return 0;
    const unitBytes = layer.blockBytes / 64;
    const entries = this.#cache.entriesOf(row);
    const base = this.#cache.baseOf(row);
    let changed = 0;
    for (const place of places) {
      const n = moved.blocks[place] - leaf * LEAF_BLOCKS;
      const from = moved.from[place];
      const to = moved.to[place];
      if (entries[base + n] !== from) continue;
      entries[base + n] = to;
      this.#live(slotOf(from), -storedUnitsOf(from) * unitBytes, layer, leaf);
      this.#live(slotOf(to), storedUnitsOf(to) * unitBytes, layer, leaf);
      this.map.views.moved(leaf, n, from, to);
      changed += 1;
    }
    if (changed > 0) this.map.touch(row, 0);
    return changed;
  }

  /** Whether a layer's own entries of a leaf are stored, and not all in memory. */
  isCold(layer: Layer, leaf: number): boolean {
    const row = layer.leaves.get(leaf);
    return row === undefined ? layer.filter.has(leaf) : this.#cache.has(row, LeafFlag.PARTIAL);
  }

  /** A layer's own entry of a block; what is stored of its leaf should have been prefetched. Throws StoreError DAMAGED. */
  ownEntry(layer: Layer, leaf: number, n: number): number {
    const row = layer.leaves.get(leaf);
    if (row !== undefined) {
      const entry = this.#cache.entriesOf(row)[this.#cache.baseOf(row) + n];
      if (entry !== UNLOADED) return entry;
    }
    return this.map.views.own(layer, leaf)?.[n] ?? ABSENT;
  }

  /**
   * Gives the heir the entries of a leaf that it has none of its own for. What both show stays the same, so views stay as
   * they are. The stored leaves of both should have been prefetched. Returns the heir's row if it changed or must be
   * stored, the locations that nobody shows once the layer's own leaf is gone, and how many it maps. The layer's row stays in
   * memory until `takenOver` or `letGo`: whoever reads meanwhile may find its stored leaf gone.
   */
  takeOver(layer: Layer, heir: Layer, leaf: number): TakenLeaf {
    const dead: number[] = [];
    if (!layer.leaves.has(leaf) || this.#cache.has(layer.leaves.get(leaf) as number, LeafFlag.PARTIAL)) {
      if (layer.filter.has(leaf)) this.map.install(layer, leaf);
    }
    const from = layer.leaves.get(leaf);
    if (from === undefined) return { leaf, row: null, dead, mapped: 0 };
    this.#cache.add(from, LeafFlag.HELD);
    // A copy: making room for the heir's row may put this one out.
    const base = this.#cache.baseOf(from);
    const given = this.#cache.entriesOf(from).slice(base, base + LEAF_BLOCKS);
    const newest = Math.max(this.#cache.newestOf(from), layer.newest);
    if (heir.filter.has(leaf)) this.map.install(heir, leaf);
    let row = heir.leaves.get(leaf);
    if (row === undefined) {
      row = this.#cache.allocate(heir.id, leaf, ABSENT);
      heir.leaves.set(leaf, row);
    }
    const entries = this.#cache.entriesOf(row);
    const at = this.#cache.baseOf(row);
    const inherited = inheritedOf(heir, leaf);
    let mapped = 0;
    for (let n = 0; n < LEAF_BLOCKS; n += 1) {
      if (given[n] === ABSENT) continue;
      if (given[n] > 0) mapped += 1;
      if (entries[at + n] === ABSENT && n < inherited) {
        entries[at + n] = given[n];
        if (given[n] > 0) heir.mappedBlocks += 1;
      } else if (given[n] > 0 && entries[at + n] !== given[n]) {
        dead.push(given[n]);
      }
    }
    this.map.touch(row, newest);
    return { leaf, row, dead, mapped };
  }

  /** A leaf could not be taken over: its row may be put out of the cache again. */
  letGo(layer: Layer, leaf: number): void {
    const row = layer.leaves.get(leaf);
    if (row !== undefined) this.#cache.drop(row, LeafFlag.HELD);
  }

  /** A leaf of a merged layer is no longer stored: its row goes, and what nobody shows is dead. */
  takenOver(layer: Layer, { leaf, dead, mapped }: TakenLeaf): void {
    const unitBytes = layer.blockBytes / 64;
    for (const location of dead) this.#live(slotOf(location), -storedUnitsOf(location) * unitBytes, layer, leaf);
    layer.mappedBlocks -= mapped;
    this.map.forget(layer, leaf);
  }
}
