import { join } from 'node:path';
import type { Log } from '../base/log.js';
import type { Files } from '../io/files.js';
import type { Candidate, JournalScan, ScanResult, ScanSegment } from './journal/journal-scan.js';
import { slotOfName } from './journal/segment-files.js';
import type { SegmentHeader } from './journal/segment-header.js';
import type { SegmentRow, SegmentTable } from './journal/segment-table.js';
import { demandRead, type UnreadPages } from './journal/unread-pages.js';
import { SEGMENT_HEADER_BYTES } from './limits.js';
import { StoreError } from './store-error.js';

/** What the journal folder holds and which of it may belong to the part of the chain that is replayed. */
export interface ChainSurvey {
  readonly candidates: Candidate[];
  /** Rows of every segment file, as far as known. */
  readonly rows: SegmentRow[];
  readonly generationMax: number;
}

function segmentOf(row: SegmentRow, segmentBytes: number): ScanSegment {
  const { slot, generation, stampLow, stampHigh } = row;
  return { slot, generation, stampLow, stampHigh, segmentBytes };
}

function rowOf(header: SegmentHeader): SegmentRow {
  const { slot, generation, stampLow, stampHigh, nextSequence, tier } = header;
  const moved = tier > 0;
  return {
    ...{ slot, generation, stampLow, stampHigh, tier },
    ...{ state: moved ? 'cold' : 'chain', firstSequence: moved ? 0 : nextSequence, liveBytes: 0, usedBytes: 0 },
  };
}

export interface SurveyDependencies {
  readonly files: Files;
  readonly log: Log;
  readonly readHeader: JournalScan['readHeader'];
}

export interface SurveyOptions {
  readonly journalPath: string;
  readonly nodeId: Uint8Array;
  readonly segmentBytes: number;
}

function isOf(nodeId: Uint8Array, header: SegmentHeader): boolean {
  return header.nodeId.every((byte, n) => byte === nodeId[n]);
}

async function headersOf(
  options: SurveyOptions,
  dependencies: SurveyDependencies,
  slots: readonly number[],
): Promise<Map<number, SegmentHeader>> {
  const headers = new Map<number, SegmentHeader>();
  for (const slot of slots) {
    const header = await dependencies.readHeader(slot);
    if (header === 'newer') {
      throw new StoreError(`segment ${slot} was written by a newer gfs: use that one`, {
        code: 'NEWER_FORMAT',
        subject: `segment ${slot}`,
      });
    }
    if (header === null) continue;
    if (!isOf(options.nodeId, header)) {
      dependencies.log.warn({ slot }, 'store: a segment of another node lies in the journal folder; it is left alone');
      continue;
    }
    headers.set(slot, header);
  }
  return headers;
}

/** Slots that have a file. */
async function slotsPresent(journalPath: string, files: Files): Promise<number[]> {
  const slots: number[] = [];
  for (const name of await files.list(journalPath)) {
    const slot = slotOfName(name);
    if (slot >= 0) slots.push(slot);
  }
  return slots;
}

/**
 * Holds a map to the journal. A segment of this node that is newer than the map's checkpoint (`generation`) and that its
 * segment table does not know means that the map is an old copy, or damaged: StoreError DAMAGED. IO where a header that
 * would tell cannot be read.
 */
export async function demandRegistered(
  options: Pick<SurveyOptions, 'journalPath' | 'nodeId'> & { table: SegmentTable; generation: number },
  dependencies: Pick<SurveyDependencies, 'files' | 'readHeader'> & { unread: UnreadPages },
): Promise<void> {
  for (const slot of await slotsPresent(options.journalPath, dependencies.files)) {
    if (options.table.has(slot)) continue;
    const header = await dependencies.readHeader(slot);
    demandRead(dependencies.unread.within(slot, 0, SEGMENT_HEADER_BYTES));
    if (header === null || header === 'newer' || header.generation < options.generation) continue;
    if (!isOf(options.nodeId, header)) continue;
    const subject = `segment ${slot}`;
    throw new StoreError(`the map does not know ${subject}`, { code: 'DAMAGED', subject });
  }
}

/**
 * The survey of a usual start. Rows of segments that the checkpoint already counted to the chain are believed; only
 * those that may have joined since are read.
 */
export async function surveySince(
  options: SurveyOptions & { stored: readonly SegmentRow[]; generation: number; sequence: number },
  dependencies: SurveyDependencies,
): Promise<ChainSurvey> {
  // A segment of an older generation stands before the checkpoint, though its first sequence may be the checkpoint's:
  // then it is empty, but the chain leads through it.
  const recent = options.stored.filter(
    (row) =>
      row.generation >= options.generation &&
      (row.state === 'ready' || (row.state === 'chain' && row.firstSequence >= options.sequence)),
  );
  const headers = await headersOf(
    options,
    dependencies,
    recent.map((row) => row.slot),
  );
  let generationMax = 0;
  for (const row of options.stored) generationMax = Math.max(generationMax, row.generation);
  const present = new Set(await slotsPresent(options.journalPath, dependencies.files));
  const candidates: Candidate[] = recent.map((row) => {
    const header = headers.get(row.slot);
    const own = header?.generation === row.generation ? header : null;
    // Its file was durable before it was registered, and its header before the checkpoint that calls it a part of the chain.
    const lost = !present.has(row.slot) || (own === null && row.state === 'chain');
    return { segment: segmentOf(row, own?.segmentBytes ?? options.segmentBytes), header: own, lost };
  });
  return { candidates, rows: [...options.stored], generationMax };
}

/** The survey of a rebuild: only the segments' own headers are there to believe. */
export async function surveyAll(
  options: SurveyOptions,
  dependencies: SurveyDependencies & Pick<JournalScan, 'isBlank'>,
): Promise<ChainSurvey> {
  const slots = await slotsPresent(options.journalPath, dependencies.files);
  const headers = await headersOf(options, dependencies, slots);
  let generationMax = 0;
  const candidates: Candidate[] = [];
  const rows: SegmentRow[] = [];
  for (const slot of slots) {
    const header = headers.get(slot);
    if (header === undefined) {
      // Without a header, what was prepared and never used is blank: on a full disk no other space may be left to go on with.
      // Anything else may be data behind a damaged header.
      const state = (await dependencies.isBlank(slot, options.segmentBytes)) ? 'free' : 'chain';
      rows.push({
        ...{ slot, generation: 0, stampLow: 0, stampHigh: 0, tier: 0 },
        ...{ state, firstSequence: 0, liveBytes: 0, usedBytes: 0 },
      });
      continue;
    }
    generationMax = Math.max(generationMax, header.generation);
    const row = rowOf(header);
    rows.push(row);
    if (row.state === 'cold') continue;
    candidates.push({ segment: segmentOf(row, header.segmentBytes), header, lost: false });
  }
  return { candidates, rows, generationMax };
}

/**
 * A segment that was in use and that the walk never reached, behind a predecessor whose header is lost: the chain is
 * broken there. What an earlier recovery cut off is no such thing, even if its predecessor's slot is in use again: the
 * chain grows in the order of generations, and every recovery goes on with a newer one than it found. Nor is what a power
 * cut left of several segments that no sync had covered yet: only one that says, by its header or its records, that
 * something behind the end of the walk was durable proves a loss. `durableUpTo` reads that of a segment.
 */
export async function strandedSegment(
  survey: ChainSurvey,
  result: ScanResult,
  durableUpTo: (candidate: Candidate) => Promise<number>,
): Promise<Candidate | null> {
  const known = (slot: number, generation: number): boolean =>
    result.segments.some((seen) => seen.slot === slot && seen.generation === generation) ||
    survey.candidates.some(
      ({ segment, header }) => header !== null && segment.slot === slot && segment.generation === generation,
    );
  const start = headerOf(survey, result.segments[0])?.predecessor ?? null;
  for (const candidate of survey.candidates) {
    if (candidate.lost && candidate.segment.generation > result.last.generation) return candidate;
    const before = candidate.header?.predecessor;
    if (before === undefined || before === null || candidate.header === null) continue;
    if (candidate.header.nextSequence < result.sequence) continue;
    if (candidate.segment.generation < result.last.generation) continue;
    if (result.segments.some((seen) => seen.slot === candidate.segment.slot)) continue;
    // From an opening that left out the empty segment in which the walk began, and died before its checkpoint.
    if (start?.slot === before.slot && start.generation === before.generation) continue;
    if (known(before.slot, before.generation)) continue;
    if ((await durableUpTo(candidate)) >= result.sequence) return candidate;
  }
  return null;
}

function headerOf(survey: ChainSurvey, segment: ScanSegment): SegmentHeader | null {
  const { slot, generation } = segment;
  const own = survey.candidates.find((each) => each.segment.slot === slot && each.segment.generation === generation);
  return own?.header ?? null;
}

/** The header of the segment in which the walk ended, when no record of it counts; else null. */
export function emptyTail(survey: ChainSurvey, result: ScanResult): SegmentHeader | null {
  return result.cut === SEGMENT_HEADER_BYTES ? headerOf(survey, result.last) : null;
}

export const journalPathOf = (storagePath: string): string => join(storagePath, 'journal');
