import { assert } from '../base/assert.js';
import { strandedSegment, surveyAll, surveySince, type ChainSurvey, type SurveyOptions } from './chain-survey.js';
import type { EngineDependencies } from './engine.js';
import { FreshPages } from './journal/fresh-pages.js';
import {
  JournalScan,
  type Candidate,
  type ChainLink,
  type ScanResult,
  type ScanSegment,
  type ScanStart,
} from './journal/journal-scan.js';
import type { SegmentFiles } from './journal/segment-files.js';
import { encodeSegmentHeader } from './journal/segment-header.js';
import type { SegmentTable } from './journal/segment-table.js';
import { demandRead, type UnreadPages } from './journal/unread-pages.js';
import type { LeafWriter } from './leaf-writer.js';
import { SEGMENT_HEADER_BYTES } from './limits.js';
import type { MapChange } from './map/map-environment.js';
import { layerKey } from './map/map-keys.js';
import { Replay } from './replay.js';
import { StoreError } from './store-error.js';
import type { StoredMap } from './stored-map.js';
import { encodeRow } from './stored-rows.js';

/**
 * Said when the map is lost and the beginning of the journal with it. What the cleaner copied tells neither which trims nor
 * which layer verbs lay in the segments that it freed, so a copy may be older than what hid it: none is shown. A layer that
 * was made behind them has all of its records in the chain.
 */
const HISTORY_GONE =
  'store: the map is lost, and so is the part of the journal that was cleaned: volumes that were made before it ended are ' +
  'not in the store any more; restore them from streams (gfs volume receive) or from a copy of the whole storage path, ' +
  'and delete what is left of them; volumes that were made since are whole';

/** What walking the chain has found. */
export interface ReplayedChain {
  readonly survey: ChainSurvey;
  /** null: there was nothing to read. */
  readonly result: ScanResult | null;
  readonly replay: Replay;
  /** Layers that are refused. */
  readonly refused: number;
  /** Where the chain leaves segments, by slot, of which their successors' headers do not say it: those were lost. */
  readonly cuts: ReadonlyMap<number, number>;
}

export interface ChainReplayDependencies extends Pick<EngineDependencies, 'files' | 'checksums' | 'log'> {
  readonly segmentFiles: SegmentFiles;
  /** Pages of segments that this start could not read. */
  readonly unread: UnreadPages;
  readonly leaves: LeafWriter;
  /** Commits to the map, using the reserve when the disk is full. */
  readonly commit: (changes: readonly MapChange[]) => Promise<void>;
}

/**
 * Walks the chain from the map's checkpoint, applies it to the map, and makes durable what it has applied. Nothing of the
 * chain is changed but lost headers, which are written anew. For one walk.
 */
export class ChainReplay {
  readonly #options: SurveyOptions;
  readonly #io: ChainReplayDependencies;

  constructor(options: SurveyOptions, dependencies: ChainReplayDependencies) {
    this.#options = options;
    this.#io = dependencies;
  }

  /** Throws StoreError IO where a page cannot be read that may hold what was acknowledged; NEWER_FORMAT; FileError. */
  async run(stored: StoredMap): Promise<ReplayedChain> {
    const { files, log, segmentFiles, leaves, commit } = this.#io;
    const { survey, start } = await this.#survey(stored);
    const ordinals = new Map([...stored.map.layers.values()].map((layer) => [layer.id, layer.ordinal]));
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
    const replay = new Replay({ map: stored.map, log, makeRoom });
    const cuts = new Map<number, number>();
    if (start === null) return { survey, result: null, replay, refused: replay.finish().length, cuts };
    const { segment, offset, sequence } = start;
    if (sequence > 1 && stored.checkpoint === null) {
      replay.gap(1, sequence, segment.slot, offset, '');
      log.error({ records: sequence - 1 }, HISTORY_GONE);
    }
    const scan = this.#scan(survey.candidates, new FreshPages({ files, segmentFiles }));
    const result = await scan.run(start, {
      record: (record, slot, at, payloadDamaged) => {
        walked.add(slot);
        return replay.record(record, slot, at, payloadDamaged);
      },
      gap: (from, to, slot, offset, unread) => {
        // Where its records end is not known then.
        cuts.delete(slot);
        replay.gap(from, to, slot, offset, unread);
      },
      headerLost: (lost, predecessor, nextSequence) => {
        cuts.set(predecessor.slot, predecessor.cut);
        return this.#rewriteHeader(lost, predecessor, nextSequence);
      },
    });
    const stranded = await strandedSegment(survey, result, scan.durableUpTo.bind(scan));
    scan.demandRead(result.last, result.cut, result.segments);
    // What is rebuilt now would have to last.
    if (stored.checkpoint === null) demandRead(replay.unread);
    if (stranded !== null) {
      const to = stranded.header?.nextSequence ?? result.sequence;
      replay.gap(result.sequence, to, result.last.slot, result.cut, '');
    }
    const refused = replay.finish();
    // A verdict must not be forgotten: behind the cut that this opening is about to make, nobody sees the damage again. But
    // what only could not be read is looked at again: then no checkpoint leaves it behind either.
    if (refused.length > 0 && replay.unread === '') {
      const { rows } = stored;
      const verdicts = refused.map((layer) => ({ ...layer.row(), ordinal: ordinals.get(layer.id) ?? 0 }));
      await commit(verdicts.map((row) => rows.put(layerKey(row.id), encodeRow(row))));
    }
    // What was replayed becomes durable before anything is built on it: a later power loss must not take it back.
    for (const each of result.segments) await this.#sync(each.slot);
    return { survey, result, replay, refused: refused.length, cuts };
  }

  #scan(candidates: readonly Candidate[], fresh?: FreshPages): JournalScan {
    const { files, segmentFiles, checksums, unread } = this.#io;
    return new JournalScan({ candidates }, { files, segmentFiles, checksums, unread, fresh });
  }

  /** The segments that may matter and where the walk begins; null when there is nothing to read. */
  async #survey({ checkpoint, table }: StoredMap): Promise<{ survey: ChainSurvey; start: ScanStart | null }> {
    const scan = this.#scan([]);
    const dependencies = { files: this.#io.files, log: this.#io.log, readHeader: scan.readHeader.bind(scan) };
    if (checkpoint !== null) {
      const stored = [...table.rows()];
      const survey = await surveySince(
        { ...this.#options, stored, generation: checkpoint.generation, sequence: checkpoint.sequence },
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
    const survey = await surveyAll(this.#options, { ...dependencies, isBlank: scan.isBlank.bind(scan) });
    demandRead(this.#io.unread.elsewhere(new Set()));
    const used = survey.candidates.filter((candidate) => candidate.header !== null);
    // Files without a header in a store without a map: prepared, never used, taken over by the pool.
    if (used.length === 0) return { survey: { ...survey, rows: [] }, start: null };
    for (const row of survey.rows) table.put(row);
    const first = oldestProven(used);
    return {
      survey,
      start: { segment: first.segment, offset: SEGMENT_HEADER_BYTES, sequence: first.header?.nextSequence ?? 1 },
    };
  }

  async #rewriteHeader(segment: ScanSegment, predecessor: ChainLink, nextSequence: number): Promise<void> {
    const { files, segmentFiles, checksums, log } = this.#io;
    log.warn({ slot: segment.slot }, 'store: the header of a segment is lost; it is written anew from the map');
    const header = encodeSegmentHeader(
      { ...segment, predecessor, nextSequence, durableUpTo: 0, tier: 0, nodeId: this.#options.nodeId },
      checksums.crc32c.bind(checksums),
    );
    await files.write(await segmentFiles.open(segment.slot), 0, header);
  }

  /** A segment whose file is gone has been reported as damage; there is nothing of it to make durable. */
  async #sync(slot: number): Promise<void> {
    const file = await this.#io.segmentFiles.openIfThere(slot);
    if (file !== null) await this.#io.files.sync(file);
  }
}

/**
 * Where a walk without a map begins: at the oldest segment from which headers lead on to the newest, each named by the next
 * as its predecessor. What stands before a missing one may be what an earlier recovery cut off; nothing tells.
 */
function oldestProven(used: readonly Candidate[]): Candidate {
  let proven = used.reduce((newest, each) => (each.segment.generation > newest.segment.generation ? each : newest));
  for (;;) {
    const before = proven.header?.predecessor ?? null;
    const found = used.find(({ segment }) => segment.slot === before?.slot && segment.generation === before.generation);
    // Generations grow along the chain: bytes that say otherwise must not make this walk endless.
    if (found === undefined || found.segment.generation >= proven.segment.generation) return proven;
    proven = found;
  }
}

/** Settles the segment table: the walked chain stays, everything that was ready or cut off is free. */
export function settleSegments(table: SegmentTable, { survey, result, cuts: known }: ReplayedChain): void {
  const segments = result?.segments ?? [];
  const cuts = new Map<number, number>();
  for (const [n, segment] of segments.entries()) {
    const next = segments.at(n + 1);
    const header = survey.candidates.find((candidate) => candidate.segment.slot === next?.slot)?.header;
    const end = next === undefined ? result?.cut : (header?.predecessor?.cut ?? known.get(segment.slot));
    cuts.set(segment.slot, end ?? 0);
  }
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
    table.put({ ...row, state: 'chain', firstSequence, usedBytes: cuts.get(segment.slot) ?? 0 });
  }
}
