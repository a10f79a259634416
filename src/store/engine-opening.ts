import { join } from 'node:path';
import { messageOf } from '../base/errors.js';
import { ChainReplay, settleSegments } from './chain-replay.js';
import { demandRegistered, emptyTail, journalPathOf } from './chain-survey.js';
import { Checkpointer } from './checkpointer.js';
import type { Engine, EngineDependencies, EngineEvents, EngineOptions } from './engine.js';
import { Journal } from './journal/journal.js';
import { JournalScan, type ChainLink, type ScanResult } from './journal/journal-scan.js';
import { SegmentFiles } from './journal/segment-files.js';
import type { SegmentHeader } from './journal/segment-header.js';
import { SegmentPool } from './journal/segment-pool.js';
import type { SegmentRow } from './journal/segment-table.js';
import { UnreadPages } from './journal/unread-pages.js';
import { LeafWriter } from './leaf-writer.js';
import { LiveRecount } from './live-recount.js';
import { LOST_LAYERS_MAX, SEGMENT_FILES_OPEN_MAX } from './limits.js';
import type { Layer } from './map/layer.js';
import { refuseWithDescendants } from './map/layer-tree.js';
import { LeafMoves } from './map/leaf-moves.js';
import type { MapChange } from './map/map-environment.js';
import { segmentKey } from './map/map-keys.js';
import { MapReserve } from './map-reserve.js';
import { giveBackTail } from './old-segments.js';
import { summarizeRecovery } from './recovery-summary.js';
import { SealingKeys } from './sealing-keys.js';
import { StoreError } from './store-error.js';
import { loadStoredMap, type StoredMap } from './stored-map.js';
import { encodeRow } from './stored-rows.js';

/**
 * Opens the store: loads the checkpoint, replays the chain, makes what was replayed durable and opens a new segment.
 * Crashing anywhere inside is harmless: nothing of the old chain is changed, and the new segment's header is the last
 * thing that becomes durable.
 */
export async function openEngine(
  options: EngineOptions,
  dependencies: EngineDependencies,
  events: EngineEvents,
): Promise<Engine> {
  return new EngineOpening(options, dependencies, events).run();
}

class EngineOpening {
  readonly #options: EngineOptions;
  readonly #io: EngineDependencies;
  readonly #events: EngineEvents;
  readonly #journalPath: string;
  readonly #mapPath: string;
  readonly #segmentFiles: SegmentFiles;
  /** Works in the background from the moment it is made: whoever gives up on opening waits for it first. */
  #pool: SegmentPool | null = null;
  readonly #unread: UnreadPages;

  constructor(options: EngineOptions, dependencies: EngineDependencies, events: EngineEvents) {
    this.#options = options;
    this.#io = dependencies;
    this.#events = events;
    this.#journalPath = journalPathOf(options.storagePath);
    this.#mapPath = join(options.storagePath, 'map');
    this.#segmentFiles = new SegmentFiles(
      { directory: this.#journalPath, openMax: SEGMENT_FILES_OPEN_MAX },
      { files: dependencies.files },
    );
    this.#unread = new UnreadPages({ pathOf: this.#segmentFiles.path.bind(this.#segmentFiles) });
  }

  async run(): Promise<Engine> {
    const { files, random, keys, clock } = this.#io;
    const from = clock.monotonicMs();
    await files.makeDirectory(this.#journalPath);
    await files.makeDirectory(this.#mapPath);
    await files.syncDirectory(this.#options.storagePath);
    let stored: StoredMap | null = null;
    try {
      stored = await this.#loadMap();
      return await this.#recover(stored, new SealingKeys({ salt: random.bytes(16) }, { keys }), from);
    } catch (thrown) {
      // The next opening uses the same slots: nothing of this one may still be preparing them.
      await this.#pool?.close().catch(() => undefined);
      await stored?.rows.close().catch(() => undefined);
      await this.#segmentFiles.close().catch(() => undefined);
      throw thrown;
    }
  }

  #loadMap(): Promise<StoredMap> {
    const { files, checksums } = this.#io;
    const { storagePath, mapCacheBytes, nodeId } = this.#options;
    const unread = this.#unread;
    const scan = new JournalScan({ candidates: [] }, { files, segmentFiles: this.#segmentFiles, checksums, unread });
    return loadStoredMap(
      { storagePath, mapPath: this.#mapPath, mapCacheBytes },
      {
        ...this.#io,
        check: ({ table, checkpoint }) =>
          checkpoint === null
            ? Promise.resolve()
            : demandRegistered(
                { journalPath: this.#journalPath, nodeId, table, generation: checkpoint.generation },
                { files, readHeader: scan.readHeader.bind(scan), unread },
              ),
      },
    );
  }

  async #recover(stored: StoredMap, sealing: SealingKeys, from: number): Promise<Engine> {
    const { files, checksums, log } = this.#io;
    const { table, live, map, rows, checkpoint, rebuilt } = stored;
    const segmentFiles = this.#segmentFiles;
    const reserve = new MapReserve({ directory: this.#mapPath }, { files, log });
    const commit = (changes: readonly MapChange[]): Promise<void> => reserve.commit(rows, changes);
    const damaged = (layer: Layer, reason: string): void => {
      refuseWithDescendants(map.layers, layer, reason);
      log.error({ layer: layer.id, reason }, 'store: the map of a layer is damaged; the layer is refused');
    };
    const moves = new LeafMoves({ map, live: live.change });
    const { progressed } = this.#events;
    const leaves = new LeafWriter({
      map,
      moves,
      rows,
      live: live.change,
      commit,
      damaged,
      progressed,
      clock: this.#io.clock,
    });

    // 1. and 2. Walk the chain and make it durable.
    const replayed = await new ChainReplay(
      {
        journalPath: this.#journalPath,
        nodeId: this.#options.nodeId,
        segmentBytes: this.#options.segmentBytes,
      },
      { files, checksums, log, segmentFiles, unread: this.#unread, leaves, commit },
    ).run(stored);
    const { survey, result, replay, refused } = replayed;

    // 3. Settle the segment table: the walked chain stays, everything that was ready or cut off is free.
    settleSegments(table, replayed);
    const generationMax = Math.max(survey.generationMax, checkpoint?.generationMax ?? 0);
    const register = (row: SegmentRow): Promise<void> => commit([rows.put(segmentKey(row.slot), encodeRow(row))]);
    const pool = new SegmentPool(
      {
        directory: this.#journalPath,
        segmentBytes: this.#options.segmentBytes,
        segmentsMax: Math.floor(this.#options.capacityBytes / this.#options.segmentBytes),
        generation: generationMax,
      },
      {
        files,
        segmentFiles,
        table,
        checksums,
        random: this.#io.random,
        log,
        register,
        mayGrow: () => reserve.hold(),
      },
    );

    this.#pool = pool;

    // 4. A new segment, whose durable header records the cut. The old tail is never appended to.
    const sequence = result?.sequence ?? 1;
    const journal = new Journal(
      { ...this.#options, cacheBytes: this.#options.journalCacheBytes, sequence },
      { files, segmentFiles, table, pool, checksums, clock: this.#io.clock, ...this.#events },
    );
    //    A last segment without any record is left out of the chain and used again, or each start would add one.
    const spare = result === null || replay.gaps > 0 ? null : emptyTail(survey, result);
    const predecessor = spare === null ? linkTo(result) : spare.predecessor;
    const resumed = await this.#takeHead(journal, reserve, sequence, spare, predecessor);
    await files.sync(await segmentFiles.open(journal.position.slot));
    if (result !== null && spare === null) await giveBackTail(result, { files, segmentFiles, log });

    // An id of which leaves are left is not given out again, even if the journal has lost its layer. Nor is one that lost
    // records gave out: whoever has it written down would take the new layer for its own.
    let nextLayer = Math.max(checkpoint?.nextLayer ?? 1, replay.layerMax + 1, map.layerMaxStored + 1);
    if (replay.gaps > 0) nextLayer += LOST_LAYERS_MAX;
    const toPurge = [...map.layers.values()].filter((layer) => layer.state === 'dropped');
    const checkpointer = new Checkpointer(
      {
        replayBytes: result?.bytes ?? 0,
        coveredBefore: checkpoint?.sequence ?? 0,
        generation: checkpoint?.generation ?? 0,
        toPurge,
        heldBack: replay.unread,
      },
      {
        map,
        rows,
        table,
        journal,
        leaves,
        clock: this.#io.clock,
        log,
        commit,
        nextLayer: () => nextLayer,
        generationMax: () => pool.generation,
        progressed,
      },
    );
    const ms = Math.round(this.#io.clock.monotonicMs() - from);
    const clean = checkpoint?.clean === true;
    const summary = summarizeRecovery({ result, replay, refused, ms, clean, rebuilt });
    log.info({ recovery: summary }, `store: ${summary}`);
    let disposed = false;
    const recount = new LiveRecount(
      { soon: replay.applied > 0 || (checkpoint !== null && !clean) },
      { map, live, checkpointer, clock: this.#io.clock, log },
    );
    const engine: Engine = {
      rows,
      table,
      segmentFiles,
      pool,
      map,
      journal,
      checkpointer,
      leaves,
      moves,
      reserve,
      sealing,
      recovery: { summary, sequence },
      register,
      background: [recount],
      takeLayerId: () => nextLayer++,
      dispose: async () => {
        if (disposed) return;
        disposed = true;
        await Promise.all(engine.background.map((each) => each.close()));
        await checkpointer.settled();
        await pool.close().catch((thrown: unknown) => {
          log.warn({ error: messageOf(thrown) }, 'store: closing the segment pool failed');
        });
        sealing.release();
        await map.drain();
        await rows.close();
        await segmentFiles.close();
      },
    };
    // 5. A fresh or rebuilt map gets its first checkpoint before anyone relies on it. So does one whose checkpoint lies in
    //    the segment that was left out: replay would not find the way from there.
    if (checkpoint === null || (!resumed && spare?.slot === checkpoint.slot)) await checkpointer.run();
    if (spare !== null && !resumed) table.free(spare.slot);
    // What the next start needs comes first.
    await pool.replenish('holes').catch(() => false);
    reserve.opened();
    await reserve.hold();
    pool.refill();
    return engine;
  }

  /**
   * The segment that this run appends to; true when it is the empty one in which the chain ends, as it is. That is for a
   * disk that has no other. If it has none at all, although starts have a part of the reserve for themselves (somebody
   * took it, or an older version kept none), one is made of what is held back for the map.
   */
  async #takeHead(
    journal: Journal,
    reserve: MapReserve,
    sequence: number,
    spare: SegmentHeader | null,
    predecessor: ChainLink | null,
  ): Promise<boolean> {
    for (;;) {
      if (await journal.roll('opening', predecessor)) return false;
      if (spare?.segmentBytes === this.#options.segmentBytes && spare.nextSequence === sequence) {
        await journal.resume(spare.slot);
        return true;
      }
      if (await reserve.giveUp()) continue;
      throw new StoreError('the disk is full: not even one journal segment fits; free some disk space', {
        code: 'FULL',
      });
    }
  }
}

function linkTo(result: ScanResult | null): ChainLink | null {
  return result === null ? null : { slot: result.last.slot, generation: result.last.generation, cut: result.cut };
}
