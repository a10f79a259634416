import type { Engine } from './engine.js';
import { BARRIER_HEADS_MAX } from './journal/append-batch.js';
import { RecordKind } from './journal/record.js';
import { Layer } from './map/layer.js';
import { shownLayer } from './map/layer-tree.js';
import { StoreError } from './store-error.js';
import type { LayerVerb, WriteQueue } from './write-queue.js';

export interface LayerVerbsDependencies {
  readonly writes: WriteQueue;
  readonly whenReady: () => Promise<Engine>;
  /** A head froze; whoever writes to it writes to the child from here on. Called in journal order. */
  readonly froze: (head: Layer, child: Layer) => void;
  /** The tree has changed: hidden layers may go now. */
  readonly changed: () => void;
}

/** Changes of the layer tree. Each is a record among the others, and resolves when that record is durable. */
export class LayerVerbs {
  readonly #io: LayerVerbsDependencies;

  constructor(dependencies: LayerVerbsDependencies) {
    this.#io = dependencies;
  }

  /**
   * A new layer: empty, or with `parent` a clone of a frozen layer, whose block size it has and whose blocks it shows.
   * Resolves to its id. Throws StoreError UNKNOWN_LAYER, NOT_FROZEN, FULL, IO, CLOSED.
   */
  async create(options: { blockBytes: number; sizeBlocks: number; parent: number }): Promise<number> {
    const engine = await this.#io.whenReady();
    const { parent, sizeBlocks } = options;
    const blockBytes = parent === 0 ? options.blockBytes : shownLayer(engine.map.layers, parent).blockBytes;
    const layer = Layer.born({ id: engine.takeLayerId(), parent, blockBytes, sizeBlocks });
    await this.#perform(engine, {
      refusal: () => (parent === 0 ? null : notFrozen(engine, parent)),
      add: (batch) => batch.addVerb(RecordKind.OPEN, layer, sizeBlocks, parent),
      publish: (sequence) => {
        layer.damage = engine.map.layers.get(parent)?.damage ?? '';
        layer.newest = sequence;
        engine.map.layers.set(layer.id, layer);
      },
    });
    return layer.id;
  }

  /**
   * Grows what `layerOf` says is the head when its turn has come: it may freeze while this waits. Throws StoreError
   * UNKNOWN_LAYER, FROZEN, FULL, IO, CLOSED.
   */
  async grow(layerOf: () => number, sizeBlocks: number): Promise<void> {
    const engine = await this.#io.whenReady();
    let layer = shownLayer(engine.map.layers, layerOf());
    if (sizeBlocks <= layer.sizeBlocks) return;
    await this.#perform(engine, {
      refusal: () => {
        layer = engine.map.layers.get(layerOf()) ?? layer;
        return notHead(layer);
      },
      add: (batch) => batch.addVerb(RecordKind.OPEN, layer, sizeBlocks, layer.parent),
      publish: () => {
        layer.sizeBlocks = Math.max(layer.sizeBlocks, sizeBlocks);
      },
    });
  }

  /**
   * Drops a layer with all that is in it; fine if it is gone. One that others were made from is hidden, and goes when at most
   * one of them is left. Stored leaves go with the next checkpoint.
   */
  async drop(id: number): Promise<void> {
    const engine = await this.#io.whenReady();
    const layer = engine.map.layers.get(id);
    if (layer === undefined || layer.gone || layer.hidden) return;
    await this.#perform(engine, {
      refusal: () => null,
      add: (batch) => batch.addVerb(RecordKind.DROP, layer, 0, 0),
      publish: (sequence) => {
        engine.checkpointer.purgeLater(engine.map.dropLayer(layer, sequence));
      },
    });
    this.#io.changed();
  }

  /**
   * Freezes heads at one point of the journal, in one record, and gives each a child as the new head: what was accepted
   * before belongs to the frozen layer, what comes after to the child. Resolves to the children's ids, in order. Throws
   * StoreError UNKNOWN_LAYER, FROZEN, FULL, IO, CLOSED; then nothing is frozen.
   */
  async freeze(ids: readonly number[]): Promise<number[]> {
    const engine = await this.#io.whenReady();
    const heads = [...new Set(ids)].map((id) => shownLayer(engine.map.layers, id));
    if (heads.length !== ids.length) throw new StoreError('a layer is frozen once', { code: 'FROZEN', layer: ids[0] });
    if (heads.length > BARRIER_HEADS_MAX) {
      const detail = `${heads.length} layers are more than one snapshot takes (${BARRIER_HEADS_MAX})`;
      throw new StoreError(detail, { code: 'FROZEN', layer: ids[0] });
    }
    const pairs = heads.map((head) => {
      const { blockBytes, sizeBlocks } = head;
      return { head, child: Layer.born({ id: engine.takeLayerId(), parent: head.id, blockBytes, sizeBlocks }) };
    });
    if (pairs.length === 0) return [];
    await this.#perform(engine, {
      refusal: () => pairs.map(({ head }) => notHead(head)).find((refusal) => refusal !== null) ?? null,
      add: (batch) => batch.addBarrier(pairs),
      publish: (sequence) => {
        // It may have grown while this waited.
        for (const { head, child } of pairs) child.sizeBlocks = head.sizeBlocks;
        engine.map.freeze(pairs, sequence);
        for (const { head, child } of pairs) this.#io.froze(head, child);
      },
    });
    return pairs.map(({ child }) => child.id);
  }

  /** Says that a hidden layer's only child takes over what it shows. */
  async merge(engine: Engine, layer: Layer, heir: Layer): Promise<void> {
    await this.#perform(engine, {
      refusal: () => {
        const fits = layer.state === 'frozen' && layer.hidden && heir.parent === layer.id && !heir.gone;
        return fits ? null : new StoreError('the layer tree has changed', { code: 'FROZEN', layer: layer.id });
      },
      add: (batch) => batch.addVerb(RecordKind.MERGE, layer, 0, heir.id),
      publish: (sequence) => {
        engine.map.beginMerge(layer, heir, sequence);
      },
    });
  }

  /**
   * Has the journal go on in another segment than its present one: none that is held back, and only where changes can be
   * appended at all. Throws StoreError FULL, IO, CLOSED.
   */
  leaveSegment(engine: Engine): Promise<void> {
    const { journal } = engine;
    const { generation } = journal.position;
    let tries = 0;
    return new Promise((resolve, reject) => {
      const left = new StoreError('the journal goes on elsewhere', { code: 'CLOSED' });
      const full = new StoreError('the disk is full: the journal has no further segment', { code: 'FULL' });
      this.#io.writes.verb({
        refusal: () => {
          if (journal.position.generation !== generation) return left;
          return tries > 2 ? full : null;
        },
        add: () => {
          // As if it did not fit. A batch that closes a page comes first, and does not count.
          if (!journal.padWanted) tries += 1;
          return false;
        },
        publish: () => undefined,
        done: (failure) => {
          if (failure === null || failure === left) resolve();
          else reject(failure);
        },
      });
    });
  }

  #perform(engine: Engine, verb: Omit<LayerVerb, 'done'>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#io.writes.verb({
        ...verb,
        done: (failure, sequence) => {
          if (failure !== null) reject(failure);
          // A layer verb is answered when its record is durable.
          else engine.journal.synced(sequence).then(resolve, reject);
        },
      });
    });
  }
}

function notHead(layer: Layer): StoreError | null {
  if (layer.state === 'head') return null;
  return new StoreError(`layer ${layer.id} is frozen: it changes no more`, { code: 'FROZEN', layer: layer.id });
}

function notFrozen(engine: Engine, id: number): StoreError | null {
  const layer = engine.map.layers.get(id);
  if (layer?.state === 'frozen' && !layer.hidden) return null;
  return new StoreError(`layer ${id} is not a snapshot: a clone is made of one`, { code: 'NOT_FROZEN', layer: id });
}
