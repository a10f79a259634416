import type { Clock, Timer } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { Engine } from './engine.js';
import { CHECKPOINT_SLICE_LEAVES, MERGE_RETRY_MS } from './limits.js';
import type { Layer } from './map/layer.js';
import { finishable, mergeable } from './map/layer-tree.js';

export interface MergeProgress {
  readonly doneLeaves: number;
  readonly totalLeaves: number;
}

/**
 * Takes hidden layers out of the tree: the only child of one takes over what it still shows, leaf by leaf, in the
 * background. Only the map changes. What a crash cuts off goes on with the next start.
 */
export class LayerMerger {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #merge: (layer: Layer, heir: Layer) => Promise<void>;
  readonly #totals = new Map<number, number>();
  #running: Promise<void> | null = null;
  #again = false;
  #closed = false;
  #retry: Timer | null = null;
  /** Resolves when it is closed: a record that waits in the queue of a store that reopens is not waited for. */
  readonly #ended: Promise<void>;
  #end: () => void = () => undefined;

  constructor(dependencies: {
    engine: Engine;
    clock: Clock;
    log: Log;
    /** Writes the record that a merge begins; resolves when it is durable. */
    merge: (layer: Layer, heir: Layer) => Promise<void>;
  }) {
    this.#engine = dependencies.engine;
    this.#clock = dependencies.clock;
    this.#log = dependencies.log;
    this.#merge = dependencies.merge;
    this.#ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** null: the layer is not being merged. */
  progressOf(layer: Layer): MergeProgress | null {
    if (layer.state !== 'merging') return null;
    const left = layer.filter.count;
    const totalLeaves = Math.max(this.#totals.get(layer.id) ?? 0, left);
    return { doneLeaves: totalLeaves - left, totalLeaves };
  }

  /** Looks for layers that can go. */
  wake(): void {
    if (this.#closed) return;
    this.#again = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
      if (this.#again) this.wake();
    });
  }

  /** Resolves when nothing is left to do, or what is left has failed and waits for its next try. */
  async settled(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  /** Stops between two steps. Resolves when nothing is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#end();
    this.#again = false;
    if (this.#retry !== null) this.#clock.clear(this.#retry);
    await this.#running;
  }

  async #run(): Promise<void> {
    this.#again = false;
    try {
      for (;;) {
        const { layers } = this.#engine.map;
        const merging = finishable(layers);
        if (this.#closed) return;
        if (merging === undefined) {
          const [next] = mergeable(layers);
          if (next === undefined) return;
          await this.#begin(next.layer, next.heir);
        } else {
          await this.#finish(merging);
        }
      }
    } catch (thrown) {
      if (this.#closed) return;
      this.#log.warn(
        { error: messageOf(thrown) },
        'store: a deleted snapshot could not be merged yet; it is tried again',
      );
      this.#retry = this.#clock.after(MERGE_RETRY_MS, () => {
        this.#retry = null;
        this.wake();
      });
    }
  }

  /** No start may replay what the journal says of the layer from before: it would be put back under its heir. */
  async #begin(layer: Layer, heir: Layer): Promise<void> {
    const { checkpointer } = this.#engine;
    if (checkpointer.coveredBefore <= layer.newest) await checkpointer.run();
    if (!this.#closed) await Promise.race([this.#merge(layer, heir), this.#ended]);
  }

  async #finish(layer: Layer): Promise<void> {
    const { map, checkpointer, journal, leaves } = this.#engine;
    const heir = map.layers.get(layer.heir);
    if (heir === undefined || heir.gone) return;
    this.#totals.set(layer.id, Math.max(this.#totals.get(layer.id) ?? 0, layer.filter.count));
    while (!this.#closed && layer.state === 'merging') {
      const slice = nextLeaves(layer);
      if (slice.length === 0) break;
      await checkpointer.between(() => leaves.takeOver(layer, heir, slice, (sequence) => journal.synced(sequence)));
    }
    if (this.#closed || layer.state !== 'merging') return;
    map.endMerge(layer, heir);
    this.#totals.delete(layer.id);
    this.#log.info({ layer: layer.id, heir: heir.id }, 'store: a deleted snapshot is merged');
  }
}

/** Stored ones first: of a leaf that is in memory alone nothing is stored. */
function nextLeaves(layer: Layer): number[] {
  const found: number[] = [];
  for (const source of [layer.filter.leaves(), layer.leaves.leaves()]) {
    for (const leaf of source) {
      found.push(leaf);
      if (found.length === CHECKPOINT_SLICE_LEAVES) return found;
    }
    if (found.length > 0) return found;
  }
  return found;
}
