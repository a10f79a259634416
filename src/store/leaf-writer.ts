import type { Clock } from '../base/clock.js';
import { CHECKPOINT_COMMIT_LEAVES, CHECKPOINT_SLICE_LEAVES, FILTER_LEAVES, LEAF_BLOCKS } from './limits.js';
import { slotOf, storedUnitsOf } from './location.js';
import type { BlockMap, LiveChange } from './map/block-map.js';
import type { LeafMoves, TakenLeaf } from './map/leaf-moves.js';
import { LeafFlag } from './map/leaf-cache.js';
import { decodeLeaf, encodeLeaf, mappedIn } from './map/leaf-codec.js';
import type { Layer } from './map/layer.js';
import type { MapChange } from './map/map-environment.js';
import { countKey, filterKey, filtersOf, indexOfKey, leafKey, leavesOf } from './map/map-keys.js';
import type { MapRows } from './map/map-rows.js';
import { StoreError } from './store-error.js';
import { encodeCount } from './stored-rows.js';

/** Resolves when the journal is durable up to a sequence. */
export type EnsureDurable = (sequence: number) => Promise<void>;

interface Slice {
  readonly rows: number[];
  /** Of each row, how many entries of the encoded leaf are locations. */
  readonly mapped: number[];
  readonly changes: MapChange[];
  /** Newest change that the encoded leaves contain. */
  newest: number;
  /** Filter chunks to store, by layer. */
  readonly chunks: Map<Layer, Set<number>>;
  readonly counts: Map<Layer, number>;
  /** Leaves of which it changes whether they are stored. */
  readonly present: { layer: Layer; leaf: number; present: boolean }[];
  /** Filter bits that `finish` changed, as they were before; null until it ran. */
  flips: { layer: Layer; leaf: number; before: boolean }[] | null;
}

function emptySlice(): Slice {
  return {
    rows: [],
    mapped: [],
    changes: [],
    newest: 0,
    chunks: new Map(),
    counts: new Map(),
    present: [],
    flips: null,
  };
}

/**
 * Writes dirty leaves to the map's database in atomic commits, each encoded in several turns of the event loop. A leaf may be newer than the
 * checkpoint position, but is written only once the journal is durable up to its newest change: a leaf from the future
 * of the journal would be a lie after a power loss.
 */
export class LeafWriter {
  readonly #map: BlockMap;
  readonly #moves: LeafMoves;
  readonly #rows: MapRows;
  readonly #live: LiveChange;
  readonly #damaged: (layer: Layer, reason: string) => void;
  readonly #commit: (changes: readonly MapChange[]) => Promise<void>;
  readonly #clock: Pick<Clock, 'endOfTurn'>;
  readonly #progressed: () => void;

  constructor(dependencies: {
    map: BlockMap;
    moves: LeafMoves;
    rows: MapRows;
    live: LiveChange;
    /** Commits, using the reserve when the disk is full. */
    commit: (changes: readonly MapChange[]) => Promise<void>;
    /** A stored leaf of this layer cannot be read. */
    damaged: (layer: Layer, reason: string) => void;
    clock: Pick<Clock, 'endOfTurn'>;
    /** Fewer leaves are dirty. */
    progressed: () => void;
  }) {
    this.#progressed = dependencies.progressed;
    this.#damaged = dependencies.damaged;
    this.#clock = dependencies.clock;
    this.#map = dependencies.map;
    this.#moves = dependencies.moves;
    this.#rows = dependencies.rows;
    this.#live = dependencies.live;
    this.#commit = dependencies.commit;
  }

  /** Writes every leaf that is dirty now. Leaves that change meanwhile are dirty again afterwards. */
  async writeDirty(ensureDurable: EnsureDurable): Promise<void> {
    const rows = this.#map.takeDirty();
    for (let at = 0; at < rows.length; at += CHECKPOINT_COMMIT_LEAVES) {
      try {
        await this.#writeSlice(rows.slice(at, at + CHECKPOINT_COMMIT_LEAVES), ensureDurable);
        this.#progressed();
      } catch (thrown) {
        this.#map.keepDirty(rows.slice(at));
        throw thrown;
      }
    }
  }

  async #writeSlice(rows: readonly number[], ensureDurable: EnsureDurable): Promise<void> {
    const slice = emptySlice();
    try {
      for (let at = 0; at < rows.length; at += CHECKPOINT_SLICE_LEAVES) {
        if (at > 0) await this.#endOfTurn();
        const candidates = rows.slice(at, at + CHECKPOINT_SLICE_LEAVES);
        await this.#mergePartial(candidates);
        // 1. Encode now: what is in the leaf at this moment is what will be stored.
        this.#encode(candidates, slice);
      }
    } catch (thrown) {
      for (const row of slice.rows) this.#map.endWriting(row, true);
      throw thrown;
    }
    if (slice.rows.length > 0) await this.#store(slice, ensureDurable);
  }

  async #store(slice: Slice, ensureDurable: EnsureDurable): Promise<void> {
    let failed = true;
    try {
      // 2. Only then ask which part of the journal must be durable for it.
      await ensureDurable(slice.newest);
      // 3. Leaves, filter bits and block counts change together or not at all.
      this.#finish(slice);
      await this.#commit(slice.changes);
      failed = false;
    } finally {
      if (failed) this.#undo(slice);
      for (const [n, row] of slice.rows.entries()) {
        if (!failed) this.#map.cache.setStoredMapped(row, slice.mapped[n]);
        this.#map.endWriting(row, failed);
      }
    }
  }

  #endOfTurn(): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.endOfTurn(resolve);
    });
  }

  async #mergePartial(rows: readonly number[]): Promise<void> {
    const { cache, layers } = this.#map;
    const isPartial = (row: number): boolean => cache.has(row, LeafFlag.DIRTY) && cache.has(row, LeafFlag.PARTIAL);
    const partial = rows.filter(isPartial);
    if (partial.length === 0) return;
    await this.#rows.prefetch(partial.map((row) => leafKey(cache.layerOf(row), cache.leafOf(row))));
    for (const row of partial) {
      const layer = layers.get(cache.layerOf(row));
      if (!isPartial(row) || layer === undefined) continue;
      try {
        this.#map.install(layer, cache.leafOf(row));
      } catch (thrown) {
        // One damaged leaf must not keep every other volume from being checkpointed: its own volume is refused.
        if (!(thrown instanceof StoreError) || thrown.code !== 'DAMAGED') throw thrown;
        this.#damaged(layer, thrown.message);
        this.#map.keepDirty([row]);
      }
    }
  }

  #encode(candidates: readonly number[], slice: Slice): void {
    const { cache, layers } = this.#map;
    for (const row of candidates) {
      // Released, written by an earlier slice, or turned partial again: then it stands in the list of the next round.
      if (!cache.has(row, LeafFlag.DIRTY) || cache.has(row, LeafFlag.PARTIAL)) continue;
      const layer = layers.get(cache.layerOf(row));
      if (layer === undefined || layer.gone) continue;
      const leaf = cache.leafOf(row);
      const bytes = encodeLeaf(cache.entriesOf(row), cache.baseOf(row), layer.parent === 0);
      const key = leafKey(layer.id, leaf);
      slice.changes.push(bytes === null ? this.#rows.remove(key) : this.#rows.put(key, bytes));
      const mapped = bytes === null ? 0 : mappedIn(bytes);
      slice.mapped.push(mapped);
      slice.counts.set(layer, (slice.counts.get(layer) ?? 0) + mapped - cache.storedMappedOf(row));
      // Filters change with commits alone, and these come one after another.
      const present = bytes !== null;
      if (layer.filter.has(leaf) !== present) slice.present.push({ layer, leaf, present });
      slice.newest = Math.max(slice.newest, cache.newestOf(row));
      this.#map.beginWriting(row);
      slice.rows.push(row);
    }
  }

  /** Adds filter chunks and block counts, which are read as late as possible. */
  #finish(slice: Slice): void {
    slice.flips = [];
    for (const { layer, leaf, present } of slice.present) {
      if (layer.filter.has(leaf) === present) continue;
      slice.flips.push({ layer, leaf, before: !present });
      let chunks = slice.chunks.get(layer);
      if (chunks === undefined) slice.chunks.set(layer, (chunks = new Set()));
      chunks.add(layer.filter.set(leaf, present));
    }
    for (const [layer, chunks] of slice.chunks) {
      for (const chunk of chunks) {
        const bits = layer.filter.chunk(chunk);
        const key = filterKey(layer.id, chunk);
        slice.changes.push(bits === null ? this.#rows.remove(key) : this.#rows.put(key, bits));
      }
    }
    for (const [layer, change] of slice.counts) {
      layer.storedBlocks += change;
      slice.changes.push(this.#rows.put(countKey(layer.id), encodeCount(layer.storedBlocks)));
    }
  }

  /** After a failed commit nothing of the slice is stored: memory goes back to what is. */
  #undo(slice: Slice): void {
    if (slice.flips === null) return;
    for (const { layer, leaf, before } of slice.flips) layer.filter.set(leaf, before);
    for (const [layer, change] of slice.counts) layer.storedBlocks -= change;
  }

  /**
   * Moves leaves of a layer that is being merged to its heir, in one commit: after a crash each is stored once. What
   * the journal says of the layer before its merge must lie before the checkpoint.
   */
  async takeOver(layer: Layer, heir: Layer, leaves: readonly number[], ensureDurable: EnsureDurable): Promise<void> {
    const stored = (each: Layer): number[] => leaves.filter((leaf) => each.filter.has(leaf));
    await this.#rows.prefetch([layer, heir].flatMap((each) => stored(each).map((leaf) => leafKey(each.id, leaf))));
    if (layer.state !== 'merging' || heir.gone) return;
    const taken: TakenLeaf[] = [];
    try {
      // Read before: a leaf that was taken over in memory alone must not count as gone.
      for (const leaf of leaves) taken.push(this.#moves.takeOver(layer, heir, leaf));
      await this.#storeTaken(layer, taken, stored(layer), ensureDurable);
    } catch (thrown) {
      for (const { leaf } of taken) this.#moves.letGo(layer, leaf);
      throw thrown;
    }
    for (const each of taken) this.#moves.takenOver(layer, each);
  }

  async #storeTaken(
    layer: Layer,
    taken: readonly TakenLeaf[],
    stored: readonly number[],
    ensureDurable: EnsureDurable,
  ): Promise<void> {
    const slice = emptySlice();
    this.#encode(
      taken.flatMap(({ row }) => (row === null ? [] : [row])),
      slice,
    );
    for (const leaf of stored) {
      slice.changes.push(this.#rows.remove(leafKey(layer.id, leaf)));
      slice.present.push({ layer, leaf, present: false });
    }
    slice.counts.set(layer, -taken.reduce((sum, { mapped }) => sum + mapped, 0));
    await this.#store(slice, ensureDurable);
  }

  /** Removes the stored leaves of a dropped layer, whose DROP must be durable, in slices. */
  async purge(layer: Layer, ensureDurable: EnsureDurable): Promise<void> {
    await ensureDurable(layer.newest);
    const entries = new Float64Array(LEAF_BLOCKS);
    const unitBytes = layer.blockBytes / 64;
    // The filter first: replay after a crash in between must not look for leaves that are gone.
    for (;;) {
      const rows = this.#rows.take(filtersOf(layer.id), FILTER_LEAVES);
      if (rows.length === 0) break;
      await this.#commit(rows.map((row) => this.#rows.remove(row.key)));
    }
    for (;;) {
      const rows = this.#rows.take(leavesOf(layer.id), CHECKPOINT_SLICE_LEAVES);
      if (rows.length === 0) break;
      await this.#commit(rows.map((row) => this.#rows.remove(row.key)));
      for (const row of rows) {
        if (row.value === null || !decodeLeaf(row.value, entries, 0)) continue;
        const leaf = indexOfKey(row.key);
        for (const entry of entries) {
          if (entry > 0) this.#live(slotOf(entry), -storedUnitsOf(entry) * unitBytes, layer, leaf);
        }
      }
    }
    await this.#commit([this.#rows.remove(countKey(layer.id))]);
    layer.filter.clear();
    layer.storedBlocks = 0;
  }
}
