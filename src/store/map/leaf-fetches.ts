import type { Layer } from './layer.js';
import type { MapRows } from './map-rows.js';

interface Fetch {
  readonly layer: Layer;
  readonly leaf: number;
  readonly waiting: ((failure: Error | null) => void)[];
}

/** Leaves on their way into memory: those asked for in one turn are read together, off the event loop. */
export class LeafFetches {
  readonly #rows: MapRows;
  readonly #endOfTurn: (callback: () => void) => void;
  readonly #wanted: (layer: Layer, leaf: number) => Uint8Array[];
  readonly #load: (layer: Layer, leaf: number) => void;
  readonly #under = new Map<string, Fetch>();
  #queue: Fetch[] = [];
  /** Told when no fetch is under way. */
  #drained: (() => void)[] = [];

  constructor(dependencies: {
    rows: MapRows;
    endOfTurn: (callback: () => void) => void;
    /** Keys of what is stored of it. */
    wanted: (layer: Layer, leaf: number) => Uint8Array[];
    /** Reads it, now that its pages are at hand. Throws what keeps it from being read. */
    load: (layer: Layer, leaf: number) => void;
  }) {
    this.#rows = dependencies.rows;
    this.#endOfTurn = dependencies.endOfTurn;
    this.#wanted = dependencies.wanted;
    this.#load = dependencies.load;
  }

  fetch(layer: Layer, leaf: number, done: (failure: Error | null) => void): void {
    const name = nameOf(layer, leaf);
    const under = this.#under.get(name);
    if (under !== undefined) {
      under.waiting.push(done);
      return;
    }
    const fetch: Fetch = { layer, leaf, waiting: [done] };
    this.#under.set(name, fetch);
    if (this.#queue.length === 0) this.#endOfTurn(() => void this.#fetchAll());
    this.#queue.push(fetch);
  }

  async #fetchAll(): Promise<void> {
    const fetches = this.#queue;
    this.#queue = [];
    let failure: Error | null = null;
    try {
      await this.#rows.prefetch(fetches.flatMap(({ layer, leaf }) => this.#wanted(layer, leaf)));
    } catch (thrown) {
      failure = thrown instanceof Error ? thrown : new Error(String(thrown));
    }
    for (const { layer, leaf, waiting } of fetches) {
      this.#under.delete(nameOf(layer, leaf));
      let own = failure;
      if (own === null) {
        try {
          this.#load(layer, leaf);
        } catch (thrown) {
          own = thrown instanceof Error ? thrown : new Error(String(thrown));
        }
      }
      for (const done of waiting) done(own);
    }
    if (this.#under.size > 0) return;
    const drained = this.#drained;
    this.#drained = [];
    for (const resolve of drained) resolve();
  }

  /** Resolves when no fetch is under way: the database must not be closed under one. */
  async drain(): Promise<void> {
    if (this.#under.size > 0) await new Promise<void>((resolve) => this.#drained.push(resolve));
  }
}

function nameOf(layer: Layer, leaf: number): string {
  return `${layer.id}:${leaf}`;
}
