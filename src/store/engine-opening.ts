import { join } from 'node:path';
import { assert } from '../base/assert.js';
import { messageOf } from '../base/errors.js';
import {
  emptyTail,
  journalPathOf,
  slotsPresent,
  strandedSegment,
  surveyAll,
  surveySince,
  type ChainSurvey,
} from './chain-survey.js';
import { Checkpointer } from './checkpointer.js';
import { Journal } from './journal/journal.js';
import {
  JournalScan,
  type Candidate,
  type ChainLink,
  type ScanResult,
  type ScanSegment,
  type ScanStart,
} from './journal/journal-scan.js';
import { SegmentFiles } from './journal/segment-files.js';
import { encodeSegmentHeader, type SegmentHeader } from './journal/segment-header.js';
import { SegmentPool } from './journal/segment-pool.js';
import { SegmentTable } from './journal/segment-table.js';
import { demandRead, UnreadPages } from './journal/unread-pages.js';
import { LeafWriter } from './leaf-writer.js';
import { SEGMENT_FILES_OPEN_MAX, SEGMENT_HEADER_BYTES } from './limits.js';
import { BlockMap } from './map/block-map.js';
import type { MapChange } from './map/map-environment.js';
import {
  CHECKPOINT_KEY,
  COUNT_KEYS,
  FILTER_KEYS,
  indexOfKey,
  layerKey,
  LAYER_KEYS,
  layerOfKey,
  SEGMENT_KEYS,
  segmentKey,
} from './map/map-keys.js';
import { dropCaches, giveBackTail } from './old-segments.js';
import { MapReserve, RESERVE_NAME } from './map-reserve.js';
import { MapRows } from './map/map-rows.js';
import { summarizeRecovery } from './recovery-summary.js';
import { Replay } from './replay.js';
import { SealingKeys } from './sealing-keys.js';
import { StoreError } from './store-error.js';
import {
  decodeCheckpoint,
  decodeCount,
  decodeLayer,
  decodeSegment,
  encodeRow,
  type CheckpointRow,
} from './stored-rows.js';
import type { Engine, EngineDependencies, EngineEvents, EngineOptions } from './engine.js';

interface Loaded {
  readonly rows: MapRows;
  readonly table: SegmentTable;
  readonly map: BlockMap;
  readonly checkpoint: CheckpointRow | null;
}

interface Replayed {
  readonly survey: ChainSurvey;
  /** null: there was nothing to read. */
  readonly result: ScanResult | null;
  readonly replay: Replay;
  /** Layers that are refused. */
  readonly refused: number;
}

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
  #rebuilt = '';
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

  #scan(candidates: readonly Candidate[]): JournalScan {
    const { files, checksums } = this.#io;
    return new JournalScan(
      { candidates },
      { files, segmentFiles: this.#segmentFiles, checksums, unread: this.#unread },
    );
  }

  async run(): Promise<Engine> {
    const { files, random, keys, clock } = this.#io;
    const from = clock.monotonicMs();
    await files.makeDirectory(this.#journalPath);
    await files.makeDirectory(this.#mapPath);
    await files.syncDirectory(this.#options.storagePath);
    let loaded: Loaded | null = null;
    try {
      loaded = await this.#load();
      return await this.#recover(loaded, new SealingKeys({ salt: random.bytes(16) }, { keys }), from);
    } catch (thrown) {
      // The next opening uses the same slots: nothing of this one may still be preparing them.
      await this.#pool?.close().catch(() => undefined);
      await loaded?.rows.close().catch(() => undefined);
      await this.#segmentFiles.close().catch(() => undefined);
      throw thrown;
    }
  }

  /** The map as of its checkpoint; a damaged one is set aside and an empty one taken, to be rebuilt from the journal. */
  async #load(): Promise<Loaded> {
    const problem = await this.#io.probeEnvironment(this.#mapPath);
    if (problem === '') {
      const rows = await this.#openRows();
      try {
        const loaded = this.#loadRows(rows);
        await this.#checkRegistered(loaded);
        return loaded;
      } catch (thrown) {
        await rows.close();
        if (!(thrown instanceof StoreError) || thrown.code !== 'DAMAGED') throw thrown;
        await this.#setAside(thrown.message);
      }
    } else {
      await this.#setAside(problem);
    }
    return this.#loadRows(await this.#openRows());
  }

  async #openRows(): Promise<MapRows> {
    const environment = await this.#io.openEnvironment(this.#mapPath);
    // Its files may be new, and whoever made them does not sync the folder.
    await this.#io.files.syncDirectory(this.#mapPath);
    return new MapRows({ environment, checksums: this.#io.checksums });
  }

  async #setAside(problem: string): Promise<void> {
    const { files, log, clock } = this.#io;
    const aside = `${this.#mapPath}.damaged-${clock.wallMs()}`;
    log.error({ problem, aside }, 'store: the map is damaged; it is set aside and rebuilt from the journal');
    await files.rename(this.#mapPath, aside);
    // The copy is kept for whoever wants to look; the space that it held back is not.
    if (await files.exists(join(aside, RESERVE_NAME))) await files.remove(join(aside, RESERVE_NAME));
    await files.makeDirectory(this.#mapPath);
    await files.syncDirectory(this.#options.storagePath);
    this.#rebuilt = problem;
  }

  #loadRows(rows: MapRows): Loaded {
    const table = new SegmentTable();
    const map = new BlockMap(
      { cacheBytes: this.#options.mapCacheBytes },
      {
        rows,
        live: (slot, bytes) => {
          table.addLive(slot, bytes);
        },
        endOfTurn: (callback) => {
          this.#io.clock.endOfTurn(callback);
        },
      },
    );
    // Leaves are stored ahead of the checkpoint: the layer of some may be known only to the journal behind it.
    for (const row of rows.range(FILTER_KEYS)) map.loadFilter(layerOfKey(row.key), indexOfKey(row.key), row.value);
    for (const row of rows.range(COUNT_KEYS)) map.loadCount(layerOfKey(row.key), decodeCount(row.value));
    const bytes = rows.get(CHECKPOINT_KEY);
    if (bytes === null) return { rows, table, map, checkpoint: null };
    const checkpoint = decodeCheckpoint(bytes);
    for (const row of rows.range(SEGMENT_KEYS)) table.put(decodeSegment(row.value));
    if (!table.has(checkpoint.slot) || table.generations[checkpoint.slot] !== checkpoint.generation) {
      const subject = `segment ${checkpoint.slot}`;
      throw new StoreError(`the checkpoint names ${subject}, which is not registered`, { code: 'DAMAGED', subject });
    }
    for (const row of rows.range(LAYER_KEYS)) map.addLayer(decodeLayer(row.value));
    table.takeChanged();
    return { rows, table, map, checkpoint };
  }

  /** A segment of ours that is newer than the checkpoint and that the map does not know: the map is an old copy, or damaged. */
  async #checkRegistered({ table, checkpoint }: Loaded): Promise<void> {
    if (checkpoint === null) return;
    const scan = this.#scan([]);
    for (const slot of await slotsPresent(this.#journalPath, this.#io.files)) {
      if (table.has(slot)) continue;
      const header = await scan.readHeader(slot);
      demandRead(this.#unread.within(slot, 0, SEGMENT_HEADER_BYTES));
      if (header === null || header === 'newer' || header.generation < checkpoint.generation) continue;
      if (!header.nodeId.every((byte, n) => byte === this.#options.nodeId[n])) continue;
      const subject = `segment ${slot}`;
      throw new StoreError(`the map does not know ${subject}`, { code: 'DAMAGED', subject });
    }
  }

  async #survey(loaded: Loaded, scan: JournalScan): Promise<{ survey: ChainSurvey; start: ScanStart | null }> {
    const dependencies = { files: this.#io.files, log: this.#io.log, readHeader: scan.readHeader.bind(scan) };
    const options = {
      journalPath: this.#journalPath,
      nodeId: this.#options.nodeId,
      segmentBytes: this.#options.segmentBytes,
    };
    const { checkpoint, table } = loaded;
    if (checkpoint !== null) {
      const stored = [...table.rows()];
      const survey = await surveySince(
        { ...options, stored, generation: checkpoint.generation, sequence: checkpoint.sequence },
        dependencies,
      );
      const row = stored.find((each) => each.slot === checkpoint.slot && each.generation === checkpoint.generation);
      assert(row !== undefined, 'loading has checked that the segment of the checkpoint is registered');
      const header = await scan.readHeader(row.slot);
      const segmentBytes =
        header !== null && header !== 'newer' && header.generation === row.generation
          ? header.segmentBytes
          : this.#options.segmentBytes;
      return {
        survey,
        start: { segment: { ...row, segmentBytes }, offset: checkpoint.offset, sequence: checkpoint.sequence },
      };
    }
    const survey = await surveyAll(options, dependencies);
    demandRead(this.#unread.elsewhere(new Set()));
    const used = survey.candidates.filter((candidate) => candidate.header !== null);
    // Files without a header in a store without a map: prepared, never used, taken over by the pool.
    if (used.length === 0) return { survey: { ...survey, rows: [] }, start: null };
    for (const row of survey.rows) table.put(row);
    // Without a map the journal is read from its very beginning.
    const newestFirst = used.toSorted((a, b) => b.segment.generation - a.segment.generation);
    const first =
      newestFirst.find((candidate) => candidate.header?.predecessor === null) ??
      used.reduce((least, each) => (each.segment.generation < least.segment.generation ? each : least));
    return {
      survey,
      start: { segment: first.segment, offset: SEGMENT_HEADER_BYTES, sequence: first.header?.nextSequence ?? 1 },
    };
  }

  async #recover(loaded: Loaded, sealing: SealingKeys, from: number): Promise<Engine> {
    const { files, checksums, log } = this.#io;
    const { table, map, rows, checkpoint } = loaded;
    const segmentFiles = this.#segmentFiles;
    const reserve = new MapReserve({ directory: this.#mapPath }, { files, log });
    const live = (slot: number, bytes: number): void => {
      table.addLive(slot, bytes);
    };
    const commit = (changes: Parameters<MapRows['commit']>[0]): Promise<void> => reserve.commit(rows, changes);
    const damaged = (layer: { id: number; damage: string }, reason: string): void => {
      if (layer.damage === '') layer.damage = reason;
      log.error({ layer: layer.id, reason }, 'store: the map of a layer is damaged; the layer is refused');
    };
    const leaves = new LeafWriter({ map, rows, live, commit, damaged });

    // 1. and 2. Walk the chain and make it durable.
    const { survey, result, replay, refused } = await this.#replay(loaded, leaves, commit);

    // 3. Settle the segment table: the walked chain stays, everything that was ready or cut off is free.
    this.#settle(table, survey, result);
    const generationMax = Math.max(survey.generationMax, checkpoint?.generationMax ?? 0);
    const pool = new SegmentPool(
      { directory: this.#journalPath, segmentBytes: this.#options.segmentBytes, generation: generationMax },
      {
        files,
        segmentFiles,
        table,
        checksums,
        random: this.#io.random,
        log,
        register: (row) => commit([rows.put(segmentKey(row.slot), encodeRow(row))]),
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

    // An id of which leaves are left is not given out again, even if the journal has lost its layer.
    let nextLayer = Math.max(checkpoint?.nextLayer ?? 1, replay.layerMax + 1, map.layerMaxStored + 1);
    const toPurge = [...map.layers.values()].filter((layer) => layer.state === 'dropped');
    const checkpointer = new Checkpointer(
      { replayBytes: result?.bytes ?? 0, toPurge, heldBack: replay.unread },
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
      },
    );
    const ms = Math.round(this.#io.clock.monotonicMs() - from);
    const clean = checkpoint?.clean === true;
    const summary = summarizeRecovery({ result, replay, refused, ms, clean, rebuilt: this.#rebuilt });
    log.info({ recovery: summary }, `store: ${summary}`);
    let disposed = false;
    const engine: Engine = {
      rows,
      table,
      segmentFiles,
      pool,
      map,
      journal,
      checkpointer,
      reserve,
      sealing,
      recovery: { summary, sequence },
      takeLayerId: () => nextLayer++,
      dispose: async () => {
        if (disposed) return;
        disposed = true;
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

  /** Applies the chain to the map. */
  async #replay(
    loaded: Loaded,
    leaves: LeafWriter,
    commit: (changes: readonly MapChange[]) => Promise<void>,
  ): Promise<Replayed> {
    const { files, log } = this.#io;
    const segmentFiles = this.#segmentFiles;
    const { survey, start } = await this.#survey(loaded, this.#scan([]));
    const ordinals = new Map([...loaded.map.layers.values()].map((layer) => [layer.id, layer.ordinal]));
    const walked = new Set<number>();
    // Memory is bounded while the chain is read: leaves go to the map once what they say is durable.
    let full = false;
    const makeRoom = async (): Promise<void> => {
      for (const slot of walked) await this.#sync(slot);
      if (full) return;
      await leaves
        .writeDirty(() => Promise.resolve())
        .catch((thrown: unknown) => {
          // Then memory has to hold them, as much as the journal that is replayed can change.
          full = thrown instanceof StoreError && thrown.code === 'FULL';
          if (!full) throw thrown;
        });
    };
    const replay = new Replay({ map: loaded.map, log, makeRoom });
    if (start === null) return { survey, result: null, replay, refused: replay.finish().length };
    const { segment, offset, sequence } = start;
    if (sequence > 1 && loaded.checkpoint === null) replay.gap(1, sequence, segment.slot, offset, '');
    const candidates = survey.candidates.map((candidate) => candidate.segment.slot);
    await dropCaches([segment.slot, ...candidates], { files, segmentFiles });
    const scan = this.#scan(survey.candidates);
    const result = await scan.run(start, {
      record: (record, slot, at, payloadDamaged) => {
        walked.add(slot);
        return replay.record(record, slot, at, payloadDamaged);
      },
      gap: replay.gap.bind(replay),
      headerLost: (lost, predecessor, nextSequence) => this.#rewriteHeader(lost, predecessor, nextSequence),
    });
    const stranded = await strandedSegment(survey, result, scan.durableUpTo.bind(scan));
    scan.demandRead(result.last, result.cut, result.segments);
    // What is rebuilt now would have to last.
    if (loaded.checkpoint === null) demandRead(replay.unread);
    if (stranded !== null) {
      const to = stranded.header?.nextSequence ?? result.sequence;
      replay.gap(result.sequence, to, result.last.slot, result.cut, '');
    }
    const refused = replay.finish();
    // A verdict must not be forgotten: behind the cut that this opening is about to make, nobody sees the damage again. But
    // what only could not be read is looked at again: then no checkpoint leaves it behind either.
    if (refused.length > 0 && replay.unread === '') {
      const { rows } = loaded;
      const verdicts = refused.map((layer) => ({ ...layer.row(), ordinal: ordinals.get(layer.id) ?? 0 }));
      await commit(verdicts.map((row) => rows.put(layerKey(row.id), encodeRow(row))));
    }
    // What was replayed becomes durable before anything is built on it: a later power loss must not take it back.
    for (const each of result.segments) await this.#sync(each.slot);
    return { survey, result, replay, refused: refused.length };
  }

  async #rewriteHeader(segment: ScanSegment, predecessor: ChainLink, nextSequence: number): Promise<void> {
    const { files, checksums, log } = this.#io;
    log.warn({ slot: segment.slot }, 'store: the header of a segment is lost; it is written anew from the map');
    const header = encodeSegmentHeader(
      { ...segment, predecessor, nextSequence, durableUpTo: 0, nodeId: this.#options.nodeId },
      checksums.crc32c.bind(checksums),
    );
    await files.write(await this.#segmentFiles.open(segment.slot), 0, header);
  }

  /** A segment whose file is gone has been reported as damage; there is nothing of it to make durable. */
  async #sync(slot: number): Promise<void> {
    const file = await this.#segmentFiles.openIfThere(slot);
    if (file !== null) await this.#io.files.sync(file);
  }

  #settle(table: SegmentTable, survey: ChainSurvey, result: ScanResult | null): void {
    const segments = result?.segments ?? [];
    const recent = new Set(survey.candidates.map((candidate) => candidate.segment.slot));
    for (const slot of recent) {
      if (segments.some((segment) => segment.slot === slot)) continue;
      table.free(slot);
    }
    for (const segment of segments) {
      const row = table.row(segment.slot);
      const header = survey.candidates.find((candidate) => candidate.segment.slot === segment.slot)?.header;
      assert(row.generation === segment.generation, 'a walked segment is registered');
      const firstSequence = header?.nextSequence ?? row.firstSequence;
      table.put({ ...row, state: 'chain', firstSequence });
    }
  }
}

function linkTo(result: ScanResult | null): ChainLink | null {
  return result === null ? null : { slot: result.last.slot, generation: result.last.generation, cut: result.cut };
}
