import type { Clock } from '../base/clock.js';
import type { KeyringId } from '../io/block-keys.js';
import { FileError } from '../io/file-error.js';
import type { FileId, Files } from '../io/files.js';
import { OPEN_INTS, OPEN_NUMBERS, OpenBatch, OpenStatus } from '../io/open-batch.js';
import type { Engine } from './engine.js';
import { leafSlices } from './layer-comparison.js';
import { LEAF_BLOCKS, PAGE_BYTES, SCRUB_BATCH_BYTES, SCRUB_SLICE_BYTES } from './limits.js';
import { followerOf, offsetUnitsOf, slotOf, storedUnitsOf } from './location.js';
import { chainOf } from './map/layer-tree.js';
import type { Layer } from './map/layer.js';

import { MAP_STATUS, SEGMENT_STATUS } from './read-queue.js';
import { StoreError } from './store-error.js';
import { pause, yieldToOthers } from './yielding.js';

/** What a scrub reads: a store that serves, or one that is only looked at. */
export type ScrubStore = Pick<Engine, 'map' | 'table' | 'segmentFiles'>;

/** Everything of older layers, and of this one everything before this leaf, has been read. */
export interface ScrubPosition {
  readonly layer: number;
  readonly leaf: number;
}

/** Neighbouring blocks of one layer that lie one behind another and cannot be opened for the same reason. */
export interface BadBlocks {
  readonly layer: number;
  readonly firstBlock: number;
  readonly blocks: number;
  /** Where the first lies. -1, all three: the map cannot tell. */
  readonly slot: number;
  readonly generation: number;
  readonly fileOffset: number;
  /** As of a BadBlock. */
  readonly status: number;
}

export interface ScrubStep {
  readonly position: ScrubPosition;
  readonly blocks: number;
  /** Bytes on the disk, headers included. */
  readonly bytes: number;
  readonly bad: readonly BadBlocks[];
}

export interface ScrubOptions {
  /** The layers whose chains are read. Asked again at each layer: a snapshot may be made meanwhile. */
  readonly layers: () => readonly number[];
  /** null: from the beginning. */
  readonly from: ScrubPosition | null;
  readonly bytesPerSecond: number;
  /** One of so many blocks is read; absent: all. */
  readonly every?: number;
  readonly signal: AbortSignal;
}

export interface ScrubDependencies {
  readonly files: Files;
  readonly clock: Clock;
  /** Resolves when the store serves; rejects when it is closed. */
  readonly store: () => Promise<ScrubStore>;
  /** The keys that the blocks may be sealed with. Throws when they are gone. */
  readonly keyring: () => KeyringId;
  /** Whether somebody else waits for the disk. */
  readonly busy: () => boolean;
}

/** Blocks of one layer in the order in which they lie in the journal. */
interface Slice {
  readonly store: ScrubStore;
  readonly layer: Layer;
  readonly blocks: Float64Array;
  readonly locations: Float64Array;
}

/**
 * Reads and authenticates the live blocks of layers and their ancestors, each layer's own entries once, oldest layer first:
 * what a merge or a snapshot moves meanwhile moves to younger layers. Leaves are taken from the map without a place in its
 * cache, a slice at a time, and read in the order of the journal through descriptors of their own; pages that were not cached
 * before are dropped. One batch is under way at a time, it waits for its share of the rate and, for a bounded time, for
 * whoever else waits.
 */
export class LayerScrub {
  readonly #options: ScrubOptions;
  readonly #io: ScrubDependencies;
  readonly #batch = new OpenBatch();
  /** What blocks are opened into; nobody looks at it. */
  readonly #scratch: Uint8Array;
  readonly #batchBytes: number;
  #file: { readonly slot: number; readonly generation: number; readonly file: FileId } | null = null;
  /** When the rate allows the next batch. */
  #dueMs = 0;

  constructor(options: ScrubOptions, dependencies: ScrubDependencies) {
    this.#options = options;
    this.#io = dependencies;
    // At a low rate in smaller pieces: a long pause and then a large read is no low rate to whoever reads meanwhile.
    this.#batchBytes = Math.min(SCRUB_BATCH_BYTES, Math.max(1, options.bytesPerSecond / 4));
    this.#scratch = new Uint8Array(SCRUB_BATCH_BYTES);
  }

  /** Yields after each batch; ends when all is read or the signal says so. Throws what keeps it from going on. */
  async *steps(): AsyncGenerator<ScrubStep, void, void> {
    const { signal } = this.#options;
    let position = this.#options.from ?? { layer: 0, leaf: 0 };
    try {
      while (!signal.aborted) {
        const store = await this.#io.store();
        const layer = this.#layerFrom(store, position.layer);
        if (layer === null) return;
        if (layer.id !== position.layer) position = { layer: layer.id, leaf: 0 };
        try {
          for await (const step of this.#layer(store, layer, position.leaf)) {
            ({ position } = step);
            yield step;
          }
        } catch (thrown) {
          if ((await this.#io.store()) === store) throw thrown;
        }
        // Cut off by a store that was reopened, it goes on where it was; else with the next layer.
        if (!signal.aborted && (await this.#io.store()) === store) position = { layer: layer.id + 1, leaf: 0 };
      }
    } finally {
      await this.#close();
      this.#scratch.fill(0);
    }
  }

  /** The oldest layer from `id` on that is to be read; a child is always younger than its parent. */
  #layerFrom(store: ScrubStore, id: number): Layer | null {
    const { layers } = store.map;
    let found: Layer | null = null;
    for (const start of this.#options.layers()) {
      const layer = layers.get(start);
      if (layer === undefined) continue;
      for (const each of chainOf(layers, layer)) {
        if (each.gone || each.damage !== '' || each.id < id) continue;
        if (found === null || each.id < found.id) found = each;
      }
    }
    return found;
  }

  async *#layer(store: ScrubStore, layer: Layer, fromLeaf: number): AsyncGenerator<ScrubStep, void, void> {
    const { signal } = this.#options;
    const leavesMax = Math.max(1, Math.floor(SCRUB_SLICE_BYTES / (LEAF_BLOCKS * layer.blockBytes)));
    for await (const leaves of leafSlices(store, [layer], [layer], fromLeaf)) {
      for (let at = 0; at < leaves.length; at += leavesMax) {
        if (layer.gone) return;
        store.map.demandOpen();
        const taken = leaves.slice(at, at + leavesMax);
        const { slice, bad } = this.#gather(store, layer, taken);
        const position = { layer: layer.id, leaf: taken[0] };
        if (bad.length > 0) yield { position, blocks: 0, bytes: 0, bad };
        for (let first = 0; first < slice.blocks.length;) {
          const end = this.#endOf(slice, first);
          await this.#turn((end - first) * layer.blockBytes);
          if (signal.aborted || (await this.#io.store()) !== store) return;
          yield { position, ...(await this.#read(slice, first, end)) };
          first = end;
        }
        yield { position: { layer: layer.id, leaf: taken[taken.length - 1] + 1 }, blocks: 0, bytes: 0, bad: [] };
        if (signal.aborted || (await this.#io.store()) !== store) return;
      }
    }
  }

  /** The entries of some leaves that are locations, in their order; leaves that cannot be read are bad as a whole. */
  #gather(store: ScrubStore, layer: Layer, leaves: readonly number[]): { slice: Slice; bad: BadBlocks[] } {
    const bad: BadBlocks[] = [];
    const found: { block: number; location: number }[] = [];
    const every = this.#options.every ?? 1;
    for (const leaf of leaves) {
      let own: Float64Array | null;
      try {
        own = store.map.views.own(layer, leaf);
      } catch (thrown) {
        if (!(thrown instanceof StoreError) || thrown.code !== 'DAMAGED') throw thrown;
        bad.push(badLeaf(layer, leaf));
        continue;
      }
      if (own === null) continue;
      for (let n = 0; n < LEAF_BLOCKS; n += 1) {
        const block = leaf * LEAF_BLOCKS + n;
        if (own[n] > 0 && block % every === 0) found.push({ block, location: own[n] });
      }
    }
    found.sort((a, b) => a.location - b.location);
    const blocks = Float64Array.from(found, ({ block }) => block);
    const locations = Float64Array.from(found, ({ location }) => location);
    return { slice: { store, layer, blocks, locations }, bad };
  }

  /** Where the batch that begins at `first` ends: it is of one segment, and of one batch's bytes. */
  #endOf({ layer, locations }: Slice, first: number): number {
    const slot = slotOf(locations[first]);
    const most = Math.max(1, Math.floor(this.#batchBytes / layer.blockBytes));
    let end = first + 1;
    while (end < locations.length && end - first < most && slotOf(locations[end]) === slot) end += 1;
    return end;
  }

  /** Waits for the rate, and then for whoever waits; not for ever, or a busy store would never be read. */
  async #turn(bytes: number): Promise<void> {
    const { clock, busy } = this.#io;
    const waitMs = this.#dueMs - clock.monotonicMs();
    const { bytesPerSecond, signal } = this.#options;
    if (waitMs > 0) await pause(clock, waitMs, signal);
    await yieldToOthers(clock, busy, signal);
    this.#dueMs = Math.max(this.#dueMs, clock.monotonicMs()) + (bytes / bytesPerSecond) * 1000;
  }

  async #read(slice: Slice, first: number, end: number): Promise<Omit<ScrubStep, 'position'>> {
    const { store, layer, blocks, locations } = slice;
    const unit = layer.blockBytes / 64;
    const slot = slotOf(locations[first]);
    const generation = store.table.generations[slot];
    const file = await this.#open(store, slot);
    const batch = this.#batch;
    batch.clear();
    batch.destinations.push(this.#scratch);
    let bytes = 0;
    for (let n = first; n < end; n += 1) {
      const stored = storedUnitsOf(locations[n]) * unit;
      const at = (n - first) * layer.blockBytes;
      const offset = offsetUnitsOf(locations[n]) * unit;
      batch.add(file ?? 0, offset, stored, generation, blocks[n], this.#io.keyring(), 0, at, layer.blockBytes);
      bytes += stored;
    }
    if (file === null) {
      batch.status.fill(SEGMENT_STATUS, 0, batch.count);
    } else if (this.#io.files.openNow(batch) > 0) {
      const cached = batch.status.slice(0, batch.count).map((status) => (status === OpenStatus.MISS ? 0 : 1));
      // Held for who takes segments away, as any reader holds them.
      store.segmentFiles.pin(slot);
      try {
        await new Promise<void>((resolve) => {
          this.#io.files.openLater(batch, resolve);
        });
      } finally {
        store.segmentFiles.unpin(slot);
      }
      await this.#dropRead(file, cached);
    }
    const bad: BadBlocks[] = [];
    for (let n = first; n < end; n += 1) {
      const status = batch.status[n - first];
      if (status === OpenStatus.OK) continue;
      // What was overwritten or moved while it was read is nobody's damage.
      if (!isNamed(store, layer, blocks[n], locations[n], generation)) continue;
      const fileOffset = offsetUnitsOf(locations[n]) * unit;
      const last = bad.at(-1);
      const follows =
        last !== undefined &&
        last.status === status &&
        last.firstBlock + last.blocks === blocks[n] &&
        followerOf(locations[n - 1]) === locations[n];
      if (follows) bad[bad.length - 1] = { ...last, blocks: last.blocks + 1 };
      else bad.push({ layer: layer.id, firstBlock: blocks[n], blocks: 1, slot, generation, fileOffset, status });
    }
    return { blocks: end - first, bytes, bad };
  }

  /**
   * Drops the pages that the batch brought into the cache. A page that it shares with a neighbour which was cached stays.
   * Advice: where it is not taken, the kernel's own reclaim does it later.
   */
  async #dropRead(file: FileId, cached: Int32Array): Promise<void> {
    const { numbers, ints, count } = this.#batch;
    const from = (row: number): number => numbers[row * OPEN_NUMBERS];
    const to = (row: number): number => numbers[row * OPEN_NUMBERS] + ints[row * OPEN_INTS + 5];
    for (let row = 0; row < count;) {
      if (cached[row] === 1) {
        row += 1;
        continue;
      }
      let end = row + 1;
      while (end < count && cached[end] === 0 && from(end) - to(end - 1) < PAGE_BYTES) end += 1;
      const joined = (one: number, other: number): boolean =>
        cached[one] === 1 && pageOf(to(Math.min(one, other)) - 1) === pageOf(from(Math.max(one, other)));
      const begin = pageOf(from(row)) + (row > 0 && joined(row - 1, row) ? 1 : 0);
      const stop = pageOf(to(end - 1) - 1) + (end < count && joined(end, end - 1) ? 0 : 1);
      if (stop > begin) {
        const length = (stop - begin) * PAGE_BYTES;
        await this.#io.files.dropCache(file, begin * PAGE_BYTES, length).catch(() => undefined);
      }
      row = end;
    }
  }

  /** null: the file is gone. Throws FileError for any other reason. */
  async #open(store: ScrubStore, slot: number): Promise<FileId | null> {
    const generation = store.table.generations[slot];
    // A slot that is in use anew may have another file.
    if (this.#file?.slot === slot && this.#file.generation === generation) return this.#file.file;
    await this.#close();
    try {
      const file = await this.#io.files.open(store.segmentFiles.path(slot), 'scan');
      this.#file = { slot, generation, file };
      return file;
    } catch (thrown) {
      if (thrown instanceof FileError && thrown.code === 'NOT_FOUND') return null;
      throw thrown;
    }
  }

  async #close(): Promise<void> {
    const open = this.#file;
    this.#file = null;
    if (open !== null) await this.#io.files.close(open.file);
  }
}

function pageOf(offset: number): number {
  return Math.floor(offset / PAGE_BYTES);
}

function badLeaf(layer: Layer, leaf: number): BadBlocks {
  const firstBlock = leaf * LEAF_BLOCKS;
  const blocks = Math.max(1, Math.min(LEAF_BLOCKS, layer.sizeBlocks - firstBlock));
  return { layer: layer.id, firstBlock, blocks, slot: -1, generation: -1, fileOffset: -1, status: MAP_STATUS };
}

/** Whether the layer's own entry of a block is still this location in this use of its segment. */
function isNamed(store: ScrubStore, layer: Layer, block: number, location: number, generation: number): boolean {
  if (layer.gone || store.table.generations[slotOf(location)] !== generation) return false;
  try {
    return store.map.views.own(layer, Math.floor(block / LEAF_BLOCKS))?.[block % LEAF_BLOCKS] === location;
  } catch {
    // A leaf that cannot be read says nothing against it.
    return true;
  }
}
