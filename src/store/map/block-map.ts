import { assert } from '../../base/assert.js';
import { storedBytesOf } from '../../io/record-layout.js';
import { DIRTY_SHARE_MAX, FILTER_LEAVES, LEAF_BLOCKS } from '../limits.js';
import { ABSENT, HOLE, slotOf, storedUnitsOf, UNLOADED } from '../location.js';
import { StoreError } from '../store-error.js';
import { LeafCache, LeafFlag } from './leaf-cache.js';
import { LeafFetches } from './leaf-fetches.js';
import { childrenOf } from './layer-tree.js';
import { LayerViews } from './layer-views.js';
import { LeafFilter } from './leaf-filter.js';
import { inLeafOrder } from './leaf-order.js';
import { Layer, type LayerRow } from './layer.js';
import { leafKey } from './map-keys.js';
import type { MapRows } from './map-rows.js';
import { readLeaf } from './stored-leaf.js';

/** Told of every byte that becomes live (positive) or dead (negative) in a segment, and of which leaf of which layer. */
export type LiveChange = (slot: number, bytes: number, layer: Layer, leaf: number) => void;

/**
 * The map of all layers: block index to location. Published changes go into cached leaves; a leaf that is not in
 * memory is changed without being fetched (its other entries stay UNLOADED until the stored leaf is merged in), so a
 * write never waits for the map's disk.
 */
export class BlockMap {
  readonly layers = new Map<number, Layer>();
  readonly cache: LeafCache;
  readonly views: LayerViews;
  readonly #rows: MapRows;
  readonly #live: LiveChange;
  /** One decoded leaf. */
  readonly #decoded = new Float64Array(LEAF_BLOCKS);
  /** Rows that became dirty, in order; may name rows that are clean again, and one that had another leaf before twice. */
  #dirty: number[] = [];
  #dirtyCount = 0;
  /** What is stored of layers that were not added yet. */
  readonly #stored = new Map<number, { readonly filter: LeafFilter; blocks: number }>();
  /** Highest id of a layer that anything is stored of. */
  layerMaxStored = 0;
  readonly #fetches: LeafFetches;
  /** Of walks over the map. */
  readonly #prefetches = new Set<Promise<void>>();
  #drained = false;
  /** Look-ups of blocks that memory answered, and those that need the stored leaf first. */
  hits = 0;
  misses = 0;

  constructor(
    options: { cacheBytes: number },
    dependencies: { rows: MapRows; live: LiveChange; endOfTurn: (callback: () => void) => void },
  ) {
    this.#rows = dependencies.rows;
    this.#live = dependencies.live;
    this.cache = new LeafCache({ cacheBytes: options.cacheBytes }, (id, leaf, view) => {
      const layer = this.layers.get(id);
      if (view) layer?.views.delete(leaf);
      else layer?.leaves.delete(leaf);
    });
    this.views = new LayerViews({ cache: this.cache, rows: dependencies.rows, layers: this.layers });
    this.#fetches = new LeafFetches({
      rows: dependencies.rows,
      endOfTurn: dependencies.endOfTurn,
      wanted: (layer, leaf) => this.views.wanted(layer, leaf),
      load: (layer, leaf) => {
        this.#load(layer, leaf);
      },
    });
  }

  get dirtyLeaves(): number {
    return this.#dirtyCount;
  }

  /** Bytes of sealed blocks that it names. */
  get sealedBytes(): number {
    let bytes = 0;
    for (const layer of this.layers.values()) {
      if (!layer.gone) bytes += layer.mappedBlocks * storedBytesOf(layer.blockBytes);
    }
    return bytes;
  }

  get dirtyLeavesMax(): number {
    return Math.floor(this.cache.rowsMax * DIRTY_SHARE_MAX);
  }

  /** A stored filter chunk of a layer that is added later, perhaps only by replay: leaves may be ahead of the layer's own row. */
  loadFilter(layer: number, chunk: number, bits: Uint8Array): void {
    this.#storedOf(layer).filter.load(chunk, bits);
  }

  /** The stored number of mapped blocks of a layer that is added later. */
  loadCount(layer: number, blocks: number): void {
    this.#storedOf(layer).blocks = blocks;
  }

  #storedOf(layer: number): { readonly filter: LeafFilter; blocks: number } {
    let stored = this.#stored.get(layer);
    if (stored === undefined) this.#stored.set(layer, (stored = { filter: new LeafFilter(), blocks: 0 }));
    this.layerMaxStored = Math.max(this.layerMaxStored, layer);
    return stored;
  }

  addLayer(row: LayerRow): Layer {
    assert(!this.layers.has(row.id), 'a layer is added once');
    const stored = this.#stored.get(row.id);
    const layer = new Layer(row, stored?.filter);
    layer.storedBlocks = stored?.blocks ?? 0;
    layer.mappedBlocks = layer.storedBlocks;
    this.#stored.delete(row.id);
    this.layers.set(row.id, layer);
    return layer;
  }

  /** The location of a block as the layer shows it, HOLE, ABSENT, or UNLOADED when stored leaves must be fetched first. */
  locate(layer: Layer, block: number): number {
    const leaf = Math.floor(block / LEAF_BLOCKS);
    if (layer.parent !== 0) {
      const shown = this.views.locate(layer, leaf, block % LEAF_BLOCKS);
      if (shown === UNLOADED) this.misses += 1;
      else this.hits += 1;
      return shown;
    }
    const row = layer.leaves.get(leaf);
    if (row === undefined) {
      if (!layer.filter.has(leaf)) return ABSENT;
      this.misses += 1;
      return UNLOADED;
    }
    this.cache.add(row, LeafFlag.USED);
    const location = this.cache.entriesOf(row)[this.cache.baseOf(row) + (block % LEAF_BLOCKS)];
    if (location === UNLOADED) this.misses += 1;
    else this.hits += 1;
    return location;
  }

  /** Whether the layer shows nothing in a leaf: no entry of it or of an ancestor, neither in memory nor stored. */
  isVoid(layer: Layer, leaf: number): boolean {
    for (let each: Layer | undefined = layer; each !== undefined; each = this.views.parentOf(each)) {
      if (each.leaves.has(leaf) || each.filter.has(leaf)) return false;
    }
    return true;
  }

  /**
   * Publishes `count` blocks from `first` at consecutive locations starting at `location`, as journal sequence
   * `sequence` says.
   */
  setBlocks(layer: Layer, first: number, count: number, location: number, sequence: number): void {
    const unitBytes = layer.blockBytes / 64;
    const storedUnits = storedUnitsOf(location);
    const step = storedUnits * 128;
    let next = location;
    let block = first;
    const end = first + count;
    while (block < end) {
      const leaf = Math.floor(block / LEAF_BLOCKS);
      const stop = Math.min(end, (leaf + 1) * LEAF_BLOCKS);
      const row = this.#rowForChange(layer, leaf, sequence);
      const entries = this.cache.entriesOf(row);
      const base = this.cache.baseOf(row) - leaf * LEAF_BLOCKS;
      this.#live(slotOf(location), (stop - block) * storedUnits * unitBytes, layer, leaf);
      for (; block < stop; block += 1) {
        const old = entries[base + block];
        if (old > 0) this.#live(slotOf(old), -storedUnitsOf(old) * unitBytes, layer, leaf);
        else layer.mappedBlocks += 1;
        entries[base + block] = next;
        next += step;
      }
      if (layer.parent !== 0) this.#show(layer, leaf, row, first, stop);
    }
    layer.newest = sequence;
  }

  /** Publishes a hole. Leaves in which nothing shows are left alone: there is nothing to hide. */
  setHole(layer: Layer, first: number, count: number, sequence: number): void {
    const unitBytes = layer.blockBytes / 64;
    const end = first + count;
    let block = first;
    while (block < end) {
      const leaf = Math.floor(block / LEAF_BLOCKS);
      const stop = Math.min(end, (leaf + 1) * LEAF_BLOCKS);
      if (this.isVoid(layer, leaf)) {
        block = this.skipVoid(layer, block, end);
        continue;
      }
      const isNew = !layer.leaves.has(leaf);
      const row = this.#rowForChange(layer, leaf, sequence);
      const entries = this.cache.entriesOf(row);
      const base = this.cache.baseOf(row) - leaf * LEAF_BLOCKS;
      // What was stored under a row that is not in memory is counted when the two are merged.
      for (let n = isNew ? stop : block; n < stop; n += 1) {
        const old = entries[base + n];
        if (old <= 0) continue;
        this.#live(slotOf(old), -storedUnitsOf(old) * unitBytes, layer, leaf);
        layer.mappedBlocks -= 1;
      }
      entries.fill(HOLE, base + block, base + stop);
      block = stop;
      if (layer.parent !== 0) this.#show(layer, leaf, row, first, stop);
    }
    layer.newest = sequence;
  }

  /** Blocks of [first, stop) that lie in a leaf were published. */
  #show(layer: Layer, leaf: number, row: number, first: number, stop: number): void {
    const from = leaf * LEAF_BLOCKS;
    this.views.published(layer, leaf, row, Math.max(first, from) - from, stop - from);
  }

  /** The first block behind the void leaf of `block` that may be mapped, at most a chunk of leaves on. */
  skipVoid(layer: Layer, block: number, end: number): number {
    const leaf = Math.floor(block / LEAF_BLOCKS);
    let empty = true;
    for (let each: Layer | undefined = layer; each !== undefined && empty; each = this.views.parentOf(each)) {
      empty = !each.leaves.hasChunkOf(leaf) && !each.filter.hasChunkOf(leaf);
    }
    const next = empty ? (Math.floor(leaf / FILTER_LEAVES) + 1) * FILTER_LEAVES : leaf + 1;
    return Math.min(end, next * LEAF_BLOCKS);
  }

  #rowForChange(layer: Layer, leaf: number, sequence: number): number {
    let row = layer.leaves.get(leaf);
    if (row === undefined) {
      const stored = layer.filter.has(leaf);
      row = this.cache.allocate(layer.id, leaf, stored ? UNLOADED : ABSENT);
      if (stored) this.cache.add(row, LeafFlag.PARTIAL);
      layer.leaves.set(leaf, row);
    }
    this.#markDirty(row);
    this.cache.changed(row, sequence);
    return row;
  }

  #markDirty(row: number): void {
    if (this.cache.has(row, LeafFlag.DIRTY)) return;
    this.cache.add(row, LeafFlag.DIRTY);
    this.#list(row);
    this.#dirtyCount += 1;
  }

  #list(row: number): void {
    if (this.cache.has(row, LeafFlag.LISTED)) return;
    this.cache.add(row, LeafFlag.LISTED);
    this.#dirty.push(row);
  }

  /** Fetches what a layer shows in a leaf off the event loop; `done` gets the failure if a stored leaf is damaged. */
  fetch(layer: Layer, leaf: number, done: (failure: Error | null) => void): void {
    this.#fetches.fetch(layer, leaf, done);
  }

  /** Ends walks over the map. Resolves when no fetch is under way: the database must not be closed under one. */
  async drain(): Promise<void> {
    this.#drained = true;
    await Promise.allSettled([this.#fetches.drain(), ...this.#prefetches]);
  }

  /** Asked in each turn of a walk before it reads. Throws StoreError CLOSED: the database may be closed by now. */
  demandOpen(): void {
    if (this.#drained) throw new StoreError('the map is being closed', { code: 'CLOSED' });
  }

  #load(layer: Layer, leaf: number): void {
    if (layer.gone) return;
    if (layer.parent === 0) this.install(layer, leaf);
    else if (!layer.views.has(leaf)) this.views.build(layer, leaf);
  }

  /** Brings what is stored of leaves of these layers into memory's reach, off the event loop. Throws StoreError CLOSED. */
  async prefetchOwn(layers: readonly Layer[], leaves: readonly number[]): Promise<void> {
    this.demandOpen();
    const keys = layers.flatMap((layer) =>
      leaves.filter((leaf) => layer.filter.has(leaf)).map((leaf) => leafKey(layer.id, leaf)),
    );
    const prefetch = this.#rows.prefetch(keys);
    this.#prefetches.add(prefetch);
    try {
      await prefetch;
    } finally {
      this.#prefetches.delete(prefetch);
    }
  }

  /** Reads the stored leaf now (its pages should have been prefetched) and puts or merges it into the cache. */
  install(layer: Layer, leaf: number): void {
    if (layer.gone) return;
    const row = layer.leaves.get(leaf);
    if (row !== undefined && !this.cache.has(row, LeafFlag.PARTIAL)) return;
    if (row !== undefined) {
      this.#merge(layer, row);
      return;
    }
    const fresh = this.cache.allocate(layer.id, leaf, ABSENT);
    try {
      const mapped = readLeaf(this.#rows, layer.id, leaf, this.cache.entriesOf(fresh), this.cache.baseOf(fresh));
      this.cache.setStoredMapped(fresh, mapped);
    } catch (thrown) {
      this.cache.release(fresh);
      throw thrown;
    }
    layer.leaves.set(leaf, fresh);
  }

  /** Fills UNLOADED entries from the stored leaf and settles the counters of those that were written over. */
  #merge(layer: Layer, row: number): void {
    const stored = this.#decoded;
    const mapped = readLeaf(this.#rows, layer.id, this.cache.leafOf(row), stored, 0);
    const unitBytes = layer.blockBytes / 64;
    const entries = this.cache.entriesOf(row);
    const base = this.cache.baseOf(row);
    for (let n = 0; n < LEAF_BLOCKS; n += 1) {
      const old = stored[n];
      if (entries[base + n] === UNLOADED) {
        entries[base + n] = old;
      } else if (old > 0) {
        this.#live(slotOf(old), -storedUnitsOf(old) * unitBytes, layer, this.cache.leafOf(row));
        layer.mappedBlocks -= 1;
      }
    }
    this.cache.setStoredMapped(row, mapped);
    this.cache.drop(row, LeafFlag.PARTIAL);
  }

  /** Hands out the dirty rows so far, in leaf order; rows that turn dirty from now on are handed out next time. */
  takeDirty(): number[] {
    const rows = this.#dirty;
    this.#dirty = [];
    for (const row of rows) this.cache.drop(row, LeafFlag.LISTED);
    return inLeafOrder(rows, this.cache);
  }

  /** Puts rows back that could not be written. They are still DIRTY. */
  keepDirty(rows: readonly number[]): void {
    for (const row of rows) this.#list(row);
  }

  /** Marks a dirty row as being written: changes from here on make it dirty anew. */
  beginWriting(row: number): void {
    this.cache.drop(row, LeafFlag.DIRTY);
    this.cache.add(row, LeafFlag.WRITING);
    this.#dirtyCount -= 1;
  }

  /** The write of a row ended. A failed one is dirty again. */
  endWriting(row: number, failed: boolean): void {
    this.cache.drop(row, LeafFlag.WRITING);
    const layer = this.layers.get(this.cache.layerOf(row));
    if (layer === undefined || layer.gone) {
      if (this.cache.has(row, LeafFlag.DIRTY)) this.#dirtyCount -= 1;
      this.cache.release(row);
      return;
    }
    if (failed) this.#markDirty(row);
  }

  /** Publishes a BARRIER: heads freeze, and each gets a child that is the head now. Idempotent, as replay is. */
  freeze(pairs: readonly { readonly head: Layer; readonly child: Layer }[], sequence: number): void {
    for (const { head, child } of pairs) {
      if (head.state === 'head') head.state = 'frozen';
      head.newest = sequence;
      if (child.damage === '') child.damage = head.damage;
      // A flush of the new head waits for what was written to the old one.
      child.newest = sequence;
      if (!this.layers.has(child.id)) this.layers.set(child.id, child);
    }
  }

  /** A row differs from what is stored; its newest change is at least of `sequence`. */
  touch(row: number, sequence: number): void {
    this.#markDirty(row);
    this.cache.changed(row, Math.max(this.cache.newestOf(row), sequence));
  }

  /** Lets go of a layer's row of a leaf, written or not. */
  forget(layer: Layer, leaf: number): void {
    const row = layer.leaves.get(leaf);
    if (row === undefined) return;
    if (this.cache.has(row, LeafFlag.DIRTY)) this.#dirtyCount -= 1;
    layer.leaves.delete(leaf);
    this.cache.release(row);
  }

  /**
   * Publishes a DROP. A layer that others were made from is hidden; else nothing of it is live any more, and hidden ones
   * below it that nobody else was made from go with it. Returns what went; stored leaves are removed by the checkpoint.
   */
  dropLayer(layer: Layer, sequence: number): Layer[] {
    if (layer.gone) return [];
    if (childrenOf(this.layers, layer).length > 0) {
      layer.hidden = true;
      layer.newest = sequence;
      return [];
    }
    const gone: Layer[] = [];
    let next: Layer | undefined = layer;
    while (next !== undefined) {
      this.#drop(next, sequence);
      gone.push(next);
      const parent: Layer | undefined = this.views.parentOf(next);
      // One that was merged stays: by its name the blocks are found that its heir has.
      const isLast = parent?.hidden === true && !parent.gone && childrenOf(this.layers, parent).length === 0;
      next = isLast ? parent : undefined;
    }
    return gone;
  }

  #drop(layer: Layer, sequence: number): void {
    layer.state = 'dropped';
    this.views.release(layer);
    const unitBytes = layer.blockBytes / 64;
    for (const row of layer.leaves.rows()) {
      const entries = this.cache.entriesOf(row);
      const base = this.cache.baseOf(row);
      // What a clean or merged row shares with its stored leaf is counted when that leaf is removed.
      if (this.cache.has(row, LeafFlag.DIRTY) || this.cache.has(row, LeafFlag.WRITING)) {
        for (let n = 0; n < LEAF_BLOCKS; n += 1) {
          const entry = entries[base + n];
          if (entry > 0) this.#live(slotOf(entry), -storedUnitsOf(entry) * unitBytes, layer, this.cache.leafOf(row));
        }
      }
      if (this.cache.has(row, LeafFlag.WRITING)) continue;
      if (this.cache.has(row, LeafFlag.DIRTY)) this.#dirtyCount -= 1;
      this.cache.release(row);
    }
    layer.leaves.clear();
    layer.mappedBlocks = 0;
    layer.newest = sequence;
  }

  /** Publishes a MERGE: `heir`, the only child, is to take over what the layer still shows. */
  beginMerge(layer: Layer, heir: Layer, sequence: number): void {
    if (layer.state !== 'frozen') return;
    layer.state = 'merging';
    layer.heir = heir.id;
    layer.newest = sequence;
  }

  /**
   * Calls `told` with each location that a leaf of a layer counts as live: also with those that were written over while they
   * were not in memory, which count until the stored leaf is merged in. It should have been prefetched. Throws StoreError
   * DAMAGED.
   */
  countedIn(layer: Layer, leaf: number, told: (location: number) => void): void {
    const row = layer.leaves.get(leaf);
    if (row === undefined ? layer.filter.has(leaf) : this.cache.has(row, LeafFlag.PARTIAL)) {
      const stored = new Float64Array(LEAF_BLOCKS);
      readLeaf(this.#rows, layer.id, leaf, stored, 0);
      for (const location of stored) if (location > 0) told(location);
    }
    if (row === undefined) return;
    const base = this.cache.baseOf(row);
    for (const location of this.cache.entriesOf(row).subarray(base, base + LEAF_BLOCKS)) {
      if (location > 0) told(location);
    }
  }

  /** Nothing is left of the layer but its name: its heir stands where it stood. */
  endMerge(layer: Layer, heir: Layer): void {
    heir.parent = layer.parent;
    heir.inheritedBlocks = Math.min(heir.inheritedBlocks, layer.inheritedBlocks);
    layer.state = 'merged';
    this.views.release(layer);
    if (heir.parent === 0) this.views.release(heir);
  }
}
