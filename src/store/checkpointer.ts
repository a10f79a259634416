import type { Clock } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { Journal } from './journal/journal.js';
import type { SegmentTable } from './journal/segment-table.js';
import type { LeafWriter } from './leaf-writer.js';
import type { BlockMap } from './map/block-map.js';
import type { Layer, LayerRow } from './map/layer.js';
import type { MapChange } from './map/map-environment.js';
import { CHECKPOINT_KEY, layerKey, segmentKey } from './map/map-keys.js';
import type { MapRows } from './map/map-rows.js';
import { StoreError } from './store-error.js';
import { encodeRow, MAP_FORMAT } from './stored-rows.js';

export interface CheckpointerDependencies {
  readonly map: BlockMap;
  readonly rows: MapRows;
  readonly table: SegmentTable;
  readonly journal: Journal;
  readonly leaves: LeafWriter;
  readonly clock: Clock;
  readonly log: Log;
  readonly commit: (changes: readonly MapChange[]) => Promise<void>;
  readonly nextLayer: () => number;
  readonly generationMax: () => number;
  /** A checkpoint has ended, whoever wanted it: what waited for one may go on. */
  readonly progressed: () => void;
}

/**
 * Moves the position at which replay starts. One at a time:
 *
 *   1. Take the journal position P and the layers' ordinals of this very moment.
 *   2. Write every leaf that is dirty; each only once the journal is durable up to its newest change.
 *   3. Make the journal durable up to what the layer rows say.
 *   4. Commit P, layers and segments together. A crash before leaves the old P, whose replay gives the same map.
 */
export class Checkpointer {
  readonly #io: CheckpointerDependencies;
  /** '' or why the position must stay where it is: the next start has to replay from there. */
  readonly heldBack: string;
  /** The last of the runs, one after another; settles, never rejects. */
  #tail: Promise<void> = Promise.resolve();
  #runs = 0;
  /** `journal.appendedBytes` at the published position. */
  #appendedAt: number;
  #coveredBefore: number;
  #generation: number;
  /** Dropped layers whose stored leaves may still be there. */
  readonly #toPurge: Set<Layer>;
  /** Layer rows as last committed: an unchanged one is not written again. */
  readonly #committed = new Map<number, string>();
  count = 0;
  msLast = 0;

  constructor(
    options: {
      replayBytes: number;
      coveredBefore: number;
      generation: number;
      toPurge: readonly Layer[];
      heldBack: string;
    },
    dependencies: CheckpointerDependencies,
  ) {
    this.#io = dependencies;
    this.heldBack = options.heldBack;
    this.#appendedAt = -options.replayBytes;
    this.#coveredBefore = options.coveredBefore;
    this.#generation = options.generation;
    this.#toPurge = new Set(options.toPurge);
  }

  /** Journal that a start would replay now. */
  get replayBytes(): number {
    return this.#io.journal.appendedBytes - this.#appendedAt;
  }

  /** Resolves when every run asked for so far has ended, however. */
  settled(): Promise<void> {
    return this.#tail;
  }

  /** Generation of the segment at which a start begins to replay: it and newer ones are still wanted. */
  get generation(): number {
    return this.#generation;
  }

  /** Every change before this sequence is in durable leaves: no start replays it. */
  get coveredBefore(): number {
    return this.#coveredBefore;
  }

  /** Schedules the removal of the leaves of dropped layers with the next checkpoint. */
  purgeLater(layers: readonly Layer[]): void {
    for (const layer of layers) this.#toPurge.add(layer);
  }

  /** Stored leaves of dropped layers are still to be removed. */
  get purging(): boolean {
    return this.#toPurge.size > 0;
  }

  /** Runs something that changes stored leaves between two checkpoints. Rejects with what it throws. */
  between(work: () => Promise<void>): Promise<void> {
    const run = this.#tail.then(work);
    this.#tail = run.catch(() => undefined);
    return run;
  }

  /** Writes a checkpoint that covers at least everything published before the call. */
  run(clean = false): Promise<void> {
    this.#runs += 1;
    // One that already runs may have taken its position too early for this caller, so this one follows it.
    const run = this.#tail.then(() => this.#runNow(clean));
    this.#tail = run
      .catch(() => undefined)
      .finally(() => {
        this.#runs -= 1;
        this.#io.progressed();
      });
    return run;
  }

  async #runNow(clean: boolean): Promise<void> {
    const { journal, map, table, leaves, rows, clock, log } = this.#io;
    const from = clock.monotonicMs();
    if (this.heldBack !== '') {
      const detail = `${this.heldBack} cannot be read, and no checkpoint is written before a start has read it`;
      throw new StoreError(`the journal: ${detail}`, { code: 'IO', detail });
    }
    // An append in flight has counted ordinals up already, but stands behind the position: replay would take a loss among
    // its records for something that the checkpoint covers.
    await journal.quiet();
    const position = journal.position;
    const appendedAt = journal.appendedBytes;
    const ordinals = new Map<number, number>();
    for (const layer of map.layers.values()) ordinals.set(layer.id, layer.ordinal);
    const ensureDurable = (sequence: number): Promise<void> => journal.synced(sequence);

    const written = map.dirtyLeaves;
    await leaves.writeDirty(ensureDurable);
    for (const layer of [...this.#toPurge]) {
      await leaves.purge(layer, ensureDurable);
      this.#toPurge.delete(layer);
    }

    const layerRows: LayerRow[] = [];
    for (const layer of map.layers.values()) {
      const row = { ...layer.row(), ordinal: ordinals.get(layer.id) ?? 0 };
      if (this.#committed.get(row.id) !== JSON.stringify(row)) layerRows.push(row);
    }
    const segments = table.takeChanged();
    try {
      await ensureDurable(journal.appended);
      // What is said to be in the chain must be found there after a power loss, even before its first record.
      await journal.headersSynced();
      await this.#io.commit([
        ...layerRows.map((row) => rows.put(layerKey(row.id), encodeRow(row))),
        // A slot that was registered anew meanwhile has a row that is newer than this one.
        ...segments
          .filter((row) => row.generation === table.generations[row.slot])
          // And what is cold or free by now may have a durable row that says so: it must not be taken back.
          .map((row) => (['cold', 'free'].includes(table.state(row.slot)) ? table.row(row.slot) : row))
          .map((row) => rows.put(segmentKey(row.slot), encodeRow(row))),
        rows.put(
          CHECKPOINT_KEY,
          encodeRow({
            format: MAP_FORMAT,
            slot: position.slot,
            generation: position.generation,
            offset: position.offset,
            sequence: position.sequence,
            nextLayer: this.#io.nextLayer(),
            generationMax: this.#io.generationMax(),
            clean,
          }),
        ),
      ]);
    } catch (thrown) {
      table.keepChanged(segments);
      throw thrown;
    }
    for (const row of layerRows) this.#committed.set(row.id, JSON.stringify(row));
    this.#appendedAt = appendedAt;
    this.#coveredBefore = position.sequence;
    this.#generation = position.generation;
    this.count += 1;
    this.msLast = clock.monotonicMs() - from;
    log.debug(
      { leaves: written, ms: Math.round(this.msLast), sequence: position.sequence },
      'store: checkpoint written',
    );
  }

  /** Starts one in the background unless one runs. Failures are logged; `then` is told how it ended, of its own one only. */
  start(then: (failure: unknown) => void): void {
    if (this.#runs > 0) return;
    this.run().then(
      () => {
        then(null);
      },
      (thrown: unknown) => {
        this.#io.log.warn({ error: messageOf(thrown) }, 'store: a checkpoint could not be written; it is tried again');
        then(thrown);
      },
    );
  }
}
