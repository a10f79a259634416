import type { Clock } from '../../base/clock.js';
import { PLAIN_KEY_NUMBER, type Checksums, type KeyringId } from '../../io/block-keys.js';
import type { Files } from '../../io/files.js';
import type { Engine } from '../engine.js';
import { leafSlices } from '../layer-comparison.js';
import { LEAF_BLOCKS, RESEAL_SLICE_BYTES } from '../limits.js';
import { slotOf } from '../location.js';
import { chainOf, strangersOf } from '../map/layer-tree.js';
import type { Layer } from '../map/layer.js';
import { MovedBlocks } from '../map/moved-blocks.js';
import type { SealingKey } from '../sealing-keys.js';
import { StoreError } from '../store-error.js';
import { yieldToOthers } from '../yielding.js';
import { BlockReader, isOpened, UNKNOWN_KEY, type PlacedBlock } from './block-reader.js';
import type { Cleaner } from './cleaner.js';
import { PlainSegments } from './plain-segments.js';
import { publishMoved } from './publish-moved.js';

export interface ResealOptions {
  /** Key numbers that no block is to be under any more; PLAIN_KEY_NUMBER: none is to be unencrypted. */
  readonly numbers: readonly number[];
  /** The key that seals new writes. With another one the run ends: what reads the blocks was given this one. */
  readonly under: number;
  /** Layers of the volume, its head and its snapshots. Asked again and again: some may be made meanwhile. */
  readonly own: () => readonly number[];
  readonly signal: AbortSignal;
  readonly told: (progress: ResealProgress) => void;
}

export interface ResealProgress {
  /** Bytes of blocks that were looked at, of about so many. */
  readonly lookedBytes: number;
  readonly totalBytes: number;
  readonly sealedBlocks: number;
  readonly badBlocks: number;
}

export interface ResealOutcome extends ResealProgress {
  /** Of the numbers, those that no block of the volume names any more, whatever happens to the store. */
  readonly gone: readonly number[];
  /** Layers that are not the volume's and show blocks of it: they cannot be sealed as one of them wants. */
  readonly sharedWith: readonly number[];
  /** Segments that may still hold blocks that are not encrypted. */
  readonly heldSegments: number;
}

/** A head whose keys a run may use. */
export interface ResealKeys {
  readonly keyring: KeyringId;
  readonly sealing: SealingKey;
  readonly epoch: number;
}

export interface ResealDependencies {
  readonly files: Files;
  readonly checksums: Checksums;
  readonly clock: Clock;
  /** Resolves when the store serves; rejects when it is closed. */
  readonly store: () => Promise<{ readonly engine: Engine; readonly cleaner: Cleaner }>;
  /** Throws when its volume is closed. Never kept beyond the turn in which it is asked. */
  readonly keys: () => ResealKeys;
  readonly leaveSegment: (engine: Engine) => Promise<void>;
  /** Whether somebody else waits for the disk. */
  readonly busy: () => boolean;
}

/** The run is to end, or has lost its ground. */
class Stopped extends Error {}

/**
 * Seals the blocks of a volume anew that are under keys which are to go:
 *
 *   1. Layer by layer, oldest first, leaf by leaf: look at the header of each block that the layer's own entries name.
 *   2. Those under a key that is to go are opened, sealed under the present one into a segment beside the chain, made durable,
 *      and published if the map still says what it said; where it does not, the leaf is looked at again.
 *   3. A checkpoint makes the map durable. Only then nothing that a start could come back to names the old keys.
 *
 * Why a leaf that was passed stays so: new writes use the present key; the cleaner copies blocks as they are, and those of
 * such a leaf are under it already; a merge moves entries to a younger layer, whose turn comes later. Layers that others show
 * as well are left as they are; should nobody show them any more at the end, all is looked at once more. One slice at a time, while the cleaner waits, and the other way round.
 */
export class Resealer {
  readonly #options: ResealOptions;
  readonly #io: ResealDependencies;
  readonly #numbers: ReadonlySet<number>;
  /** Of one pass: while the store is open, a layer that was the volume's never becomes another's. */
  readonly #own = new Set<number>();
  readonly #moved = new MovedBlocks();
  #plainAt = new Int32Array(0);
  #plain = new Uint8Array(0);
  #reader: BlockReader | null = null;
  #lookedBytes = 0;
  #totalBytes = 0;
  #sealedBlocks = 0;
  #badBlocks = 0;
  /** Numbers that a block is under which cannot be opened. */
  readonly #kept = new Set<number>();

  constructor(options: ResealOptions, dependencies: ResealDependencies) {
    this.#options = options;
    this.#io = dependencies;
    this.#numbers = new Set(options.numbers);
  }

  /**
   * Resolves when all was looked at, or when it was ended or its keys were changed: then nothing is proven. Throws what keeps
   * it from going on: StoreError FULL, IO, DAMAGED, CLOSED, FileError, and what `keys` throws.
   */
  async run(): Promise<ResealOutcome> {
    for (;;) {
      const store = await this.#io.store();
      try {
        return await this.#pass(store.engine, store.cleaner);
      } catch (thrown) {
        if (thrown instanceof Stopped) return this.#outcome([], [], 0);
        // A store that was reopened has another map: it begins anew.
        if ((await this.#io.store()).engine === store.engine) throw thrown;
      } finally {
        this.#plain.fill(0);
      }
    }
  }

  async #pass(engine: Engine, cleaner: Cleaner): Promise<ResealOutcome> {
    const { files, checksums } = this.#io;
    const { layers } = engine.map;
    this.#reader = new BlockReader({ files, checksums, segmentFiles: engine.segmentFiles, table: engine.table });
    this.#badBlocks = this.#lookedBytes = 0;
    this.#kept.clear();
    // A layer that was lost with the store of before may be another's now.
    this.#own.clear();
    this.#totalBytes = this.#layersFrom(engine, 0).reduce(
      (sum, layer) => sum + layer.mappedBlocks * layer.blockBytes,
      0,
    );
    let isPassedOver = false;
    for (let id = 0; ;) {
      this.#demand();
      const layer = this.#layersFrom(engine, id).at(0);
      if (layer === undefined) break;
      id = layer.id + 1;
      if (strangersOf(layers, layer, this.#own).length > 0) {
        isPassedOver = true;
        continue;
      }
      if (layer.damage === '') await this.#layer(engine, cleaner, layer);
      else this.#keepAll();
    }
    await engine.checkpointer.run();
    this.#demand();
    const shared = this.#sharedWith(engine);
    // Who showed what was passed over has gone meanwhile: nothing is known of it.
    if (isPassedOver && shared.length === 0) return this.#pass(engine, cleaner);
    const gone = shared.length > 0 ? [] : [...this.#numbers].filter((number) => !this.#kept.has(number));
    if (!gone.includes(PLAIN_KEY_NUMBER)) return this.#outcome(gone, shared, 0);
    const heldSegments = await new PlainSegments({
      ...{ files, checksums, engine, cleaner },
      leaveSegment: () => this.#io.leaveSegment(engine),
      own: () => this.#ownLayers(),
      demand: () => {
        this.#demand();
      },
    }).discard();
    return this.#outcome(
      gone.filter((number) => number !== PLAIN_KEY_NUMBER || heldSegments === 0),
      this.#sharedWith(engine),
      heldSegments,
    );
  }

  #outcome(gone: readonly number[], sharedWith: readonly number[], heldSegments: number): ResealOutcome {
    return { ...this.#progress(), gone, sharedWith, heldSegments };
  }

  #progress(): ResealProgress {
    return {
      lookedBytes: this.#lookedBytes,
      totalBytes: Math.max(this.#totalBytes, this.#lookedBytes),
      sealedBlocks: this.#sealedBlocks,
      badBlocks: this.#badBlocks,
    };
  }

  #demand(): void {
    if (this.#options.signal.aborted) throw new Stopped();
    this.#keys();
  }

  #keys(): ResealKeys {
    const keys = this.#io.keys();
    if (keys.sealing.number !== this.#options.under) throw new Stopped();
    return keys;
  }

  #ownLayers(): ReadonlySet<number> {
    for (const id of this.#options.own()) this.#own.add(id);
    return this.#own;
  }

  /** What the volume's layers read through, from this id on, oldest first: a child is always younger than its parent. */
  #layersFrom({ map }: Engine, id: number): Layer[] {
    const found = new Set<Layer>();
    for (const start of this.#ownLayers()) {
      const layer = map.layers.get(start);
      if (layer === undefined) continue;
      for (const each of chainOf(map.layers, layer)) if (!each.gone && each.id >= id) found.add(each);
    }
    return [...found].sort((one, other) => one.id - other.id);
  }

  /** Whoever shows one of its layers beside it, blocks in it or not: somebody may be writing under its old keys there. */
  #sharedWith(engine: Engine): number[] {
    const found = new Set<number>();
    for (const layer of this.#layersFrom(engine, 0)) {
      for (const stranger of strangersOf(engine.map.layers, layer, this.#own)) found.add(stranger.id);
    }
    return [...found];
  }

  /** Something cannot be looked at: any of the numbers may be there. */
  #keepAll(): void {
    for (const number of this.#numbers) this.#kept.add(number);
  }

  async #layer(engine: Engine, cleaner: Cleaner, layer: Layer): Promise<void> {
    const leavesMax = Math.max(1, Math.floor(RESEAL_SLICE_BYTES / (LEAF_BLOCKS * layer.blockBytes)));
    for await (const leaves of leafSlices(engine, [layer], [layer], 0)) {
      for (let at = 0; at < leaves.length; at += leavesMax) {
        let left: readonly number[] = leaves.slice(at, at + leavesMax);
        for (let again = false; left.length > 0; again = true) {
          await yieldToOthers(this.#io.clock, this.#io.busy, this.#options.signal);
          // What was sealed anew so far has left as much dead behind.
          await cleaner.relieve();
          this.#demand();
          // Merged into its child, whose turn comes, or dropped.
          if (layer.gone) return;
          const slice = left;
          const sealedBefore = this.#sealedBlocks;
          const done = await cleaner.alone(() => this.#slice(engine, cleaner, layer, slice, !again));
          ({ left } = done);
          if (done.isFull) await this.#makeRoom(engine, cleaner, again && this.#sealedBlocks === sealedBefore);
          this.#options.told(this.#progress());
        }
      }
    }
  }

  /** `isVain`: it was tried before, and nothing was gained. */
  async #makeRoom({ pool }: Engine, cleaner: Cleaner, isVain: boolean): Promise<void> {
    if (!isVain) await cleaner.makeRoom();
    if (!isVain && pool.has('data')) return;
    throw new StoreError('the disk is full: there is no segment for blocks that are sealed anew', { code: 'FULL' });
  }

  /** Some leaves of a layer, while the cleaner waits. Resolves to those that must be looked at again. */
  async #slice(
    engine: Engine,
    cleaner: Cleaner,
    layer: Layer,
    leaves: readonly number[],
    isFirst: boolean,
  ): Promise<{ left: readonly number[]; isFull: boolean }> {
    const { segmentFiles, map } = engine;
    await map.prefetchOwn([layer], leaves);
    if (layer.gone) return { left: [], isFull: false };
    const blocks = this.#gather(engine, layer, leaves, isFirst);
    if (isFirst) this.#lookedBytes += blocks.length * layer.blockBytes;
    const slots = new Set(blocks.map(({ location }) => slotOf(location)));
    // In the turn in which the map named them, as any reader does.
    for (const slot of slots) segmentFiles.pin(slot);
    try {
      const bad = await this.#open(layer, blocks);
      const isFull = !(await this.#seal(cleaner, layer));
      const changed = await this.#publish(engine);
      const left = isFull ? new Set(leaves) : changed;
      this.#count(engine, layer, bad, left);
      return { left: [...left], isFull };
    } finally {
      for (const slot of slots) segmentFiles.unpin(slot);
    }
  }

  /** What a layer's own entries name, in the order in which it lies in the journal. */
  #gather({ map }: Engine, layer: Layer, leaves: readonly number[], isFirst: boolean): PlacedBlock[] {
    map.demandOpen();
    const found: PlacedBlock[] = [];
    for (const leaf of leaves) {
      try {
        const own = map.views.own(layer, leaf);
        if (own === null) continue;
        for (let n = 0; n < LEAF_BLOCKS; n += 1) {
          if (own[n] > 0) found.push({ block: leaf * LEAF_BLOCKS + n, location: own[n] });
        }
      } catch (thrown) {
        if (!(thrown instanceof StoreError) || thrown.code !== 'DAMAGED') throw thrown;
        if (isFirst) this.#badBlocks += LEAF_BLOCKS;
        this.#keepAll();
      }
    }
    return found.sort((one, other) => one.location - other.location);
  }

  /** Opens those under the keys that are to go, and lists them as moved. Resolves to those that cannot be, with their numbers. */
  async #open(layer: Layer, blocks: readonly PlacedBlock[]): Promise<(PlacedBlock & { number: number })[]> {
    const { blockBytes } = layer;
    const reader = this.#reader;
    const moved = this.#moved;
    moved.clear();
    if (reader === null || blocks.length === 0) return [];
    const numbers = await reader.keyNumbers(blocks, blockBytes);
    const all = blocks.map((block, n) => ({ ...block, number: numbers[n] }));
    const bad = all.filter(({ number }) => number === UNKNOWN_KEY);
    const old = all.filter(({ number }) => this.#numbers.has(number));
    if (old.length === 0) return bad;
    if (this.#plain.length < old.length * blockBytes) this.#plain = new Uint8Array(old.length * blockBytes);
    if (this.#plainAt.length < old.length) this.#plainAt = new Int32Array(old.length);
    const status = await reader.open(old, blockBytes, () => this.#keys().keyring, this.#plain);
    for (const [n, each] of old.entries()) {
      if (!isOpened(status[n])) {
        bad.push(each);
        continue;
      }
      this.#plainAt[moved.count] = n * blockBytes;
      moved.add(layer.id, each.block, each.location);
    }
    return bad;
  }

  /** Makes what was opened durable under the present key; false when not all of it found room. */
  async #seal({ sealing: stream }: Cleaner, layer: Layer): Promise<boolean> {
    const moved = this.#moved;
    const { id, blockBytes } = layer;
    const plain = this.#plain;
    const opened = { moved, layer: id, blockBytes, plain, plainAt: this.#plainAt, keys: () => this.#keys() };
    try {
      let done = 0;
      while (done < moved.count) {
        const count = await stream.append(opened, done);
        if (count === 0) break;
        done += count;
      }
      const isAll = done === moved.count;
      moved.count = done;
      if (done > 0) await stream.sync();
      return isAll;
    } catch (thrown) {
      await stream.close();
      throw thrown;
    }
  }

  /** Resolves to the leaves of which an entry had changed meanwhile. */
  async #publish(engine: Engine): Promise<ReadonlySet<number>> {
    const changed = new Set<number>();
    await publishMoved({ ...engine, clock: this.#io.clock }, this.#moved, {
      isEnded: () => false,
      published: (leaf, blocks, of) => {
        this.#sealedBlocks += blocks;
        if (blocks < of) changed.add(leaf);
      },
    });
    return changed;
  }

  /** Counts what cannot be opened and is there still, and keeps the keys that it is under. */
  #count(
    { map }: Engine,
    layer: Layer,
    bad: readonly (PlacedBlock & { number: number })[],
    left: ReadonlySet<number>,
  ): void {
    for (const { block, location, number } of bad) {
      const leaf = Math.floor(block / LEAF_BLOCKS);
      if (left.has(leaf) || layer.gone) continue;
      map.demandOpen();
      if (map.views.own(layer, leaf)?.[block % LEAF_BLOCKS] !== location) continue;
      this.#badBlocks += 1;
      if (number === UNKNOWN_KEY) this.#keepAll();
      else this.#kept.add(number);
    }
  }
}
