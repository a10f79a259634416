import type { Clock, Timer } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import type { Closable } from '../base/lifecycle.js';
import type { Log } from '../base/log.js';
import type { Checkpointer } from './checkpointer.js';
import {
  RECOUNT_FIRST_MS,
  RECOUNT_INTERVAL_MS,
  RECOUNT_PAUSE_MS,
  RECOUNT_RETRY_MS,
  RECOUNT_SLICE_LEAVES,
} from './limits.js';
import type { LiveBytes } from './live-bytes.js';
import { slotOf, storedUnitsOf } from './location.js';
import type { BlockMap } from './map/block-map.js';
import type { Layer } from './map/layer.js';
import { nextSlice, ownLeaves } from './map/own-leaves.js';
import { StoreError } from './store-error.js';
import { pause } from './yielding.js';

export interface LiveRecountDependencies {
  readonly map: BlockMap;
  readonly live: LiveBytes;
  readonly checkpointer: Checkpointer;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Counts the live bytes of all segments anew, in the background, and sets the hints right. The walk goes over layers by their
 * ids and over the leaves of each; what changes meanwhile is added where the walk has been and is found where it has not,
 * so the sums are exact when it ends. A drop or a merge moves entries past the walk: then it is tried again later.
 */
export class LiveRecount implements Closable {
  readonly #io: LiveRecountDependencies;
  readonly #ended = new AbortController();
  #timer: Timer | null = null;
  #running: Promise<boolean> | null = null;
  #bytes = new Float64Array(0);
  /** Layers before this one have been counted, and of it the leaves before `#leaf`. */
  #layer = 0;
  #leaf = 0;
  #cut = false;

  /** `soon`: hints may be wrong. */
  constructor(options: { soon: boolean }, dependencies: LiveRecountDependencies) {
    this.#io = dependencies;
    this.#arm(options.soon ? RECOUNT_FIRST_MS : RECOUNT_INTERVAL_MS);
  }

  #arm(delayMs: number): void {
    if (this.#ended.signal.aborted) return;
    this.#timer = this.#io.clock.after(delayMs, () => {
      void this.run().then((counted) => {
        this.#arm(counted ? RECOUNT_INTERVAL_MS : RECOUNT_RETRY_MS);
      });
    });
  }

  /** false: something came between, hints are as they were, and it is worth another try. Never throws. */
  run(): Promise<boolean> {
    this.#running ??= this.#run()
      .catch((thrown: unknown) => {
        if (this.#ended.signal.aborted) return false;
        this.#io.log.debug({ error: messageOf(thrown) }, 'store: live bytes could not be counted');
        // Of a leaf that cannot be read nobody knows; trying it again soon would tell no more.
        return thrown instanceof StoreError && thrown.code === 'DAMAGED';
      })
      .finally(() => {
        this.#io.live.watcher = null;
        this.#running = null;
      });
    return this.#running;
  }

  async #run(): Promise<boolean> {
    const { map, live, checkpointer } = this.#io;
    // Stored leaves of dropped layers count until they are removed.
    if (checkpointer.purging) await checkpointer.run();
    const merged = mergesOf(map);
    if (checkpointer.purging || merged === null) return false;
    this.#bytes = new Float64Array(live.table.slots);
    this.#layer = 0;
    this.#leaf = 0;
    this.#cut = false;
    live.watcher = this.#changed.bind(this);
    for (;;) {
      const layer = layerAfter(map, this.#layer);
      if (layer === null) break;
      this.#layer = layer.id;
      this.#leaf = 0;
      await this.#count(layer);
      if (this.#cut || this.#ended.signal.aborted) return false;
    }
    if (checkpointer.purging || mergesOf(map) !== merged) return false;
    this.#settle();
    return true;
  }

  async #count(layer: Layer): Promise<void> {
    const { map, clock } = this.#io;
    const { signal } = this.#ended;
    for (;;) {
      const from = this.#leaf;
      const { leaves, end } = nextSlice(layer, from, RECOUNT_SLICE_LEAVES);
      await map.prefetchOwn([layer], leaves);
      // It may have been dropped without a leaf in memory: nothing tells of that but its state.
      if (layer.gone) this.#cut = true;
      if (this.#cut || signal.aborted) return;
      // Others may have come between them meanwhile.
      for (const leaf of ownLeaves(layer, from, end)) this.#leafOf(layer, leaf);
      this.#leaf = end;
      if (end === Number.POSITIVE_INFINITY) return;
      await pause(clock, RECOUNT_PAUSE_MS, signal);
    }
  }

  #leafOf(layer: Layer, leaf: number): void {
    const unitBytes = layer.blockBytes / 64;
    this.#io.map.countedIn(layer, leaf, (location) => {
      this.#add(slotOf(location), storedUnitsOf(location) * unitBytes);
    });
  }

  #changed(slot: number, bytes: number, layer: Layer, leaf: number): void {
    if (layer.gone) this.#cut = true;
    else if (layer.id < this.#layer || (layer.id === this.#layer && leaf < this.#leaf)) this.#add(slot, bytes);
  }

  #add(slot: number, bytes: number): void {
    if (slot >= this.#bytes.length) {
      const grown = new Float64Array(Math.max(slot + 1, this.#bytes.length * 2));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    this.#bytes[slot] += bytes;
  }

  #settle(): void {
    const { live, log } = this.#io;
    let segments = 0;
    let drift = 0;
    for (const { slot, state, liveBytes } of live.table.rows()) {
      const counted = slot < this.#bytes.length ? this.#bytes[slot] : 0;
      if ((state !== 'chain' && state !== 'cold') || counted === liveBytes) continue;
      segments += 1;
      drift += Math.abs(counted - liveBytes);
      live.table.setLive(slot, counted);
    }
    if (segments > 0) log.info({ segments, bytes: drift }, 'store: live bytes of segments were counted anew');
  }

  async close(): Promise<void> {
    this.#ended.abort();
    if (this.#timer !== null) this.#io.clock.clear(this.#timer);
    await this.#running;
  }
}

/** The layer with the next higher id. */
function layerAfter({ layers }: BlockMap, id: number): Layer | null {
  let found: Layer | null = null;
  for (const layer of layers.values()) {
    if (!layer.gone && layer.id > id && (found === null || layer.id < found.id)) found = layer;
  }
  return found;
}

/** How many layers have been merged so far; null while one is being. */
function mergesOf({ layers }: BlockMap): number | null {
  let merged = 0;
  for (const { state } of layers.values()) {
    if (state === 'merging') return null;
    if (state === 'merged') merged += 1;
  }
  return merged;
}
