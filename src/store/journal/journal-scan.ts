import type { Checksums } from '../../io/block-keys.js';
import type { Files } from '../../io/files.js';
import { PAGE_BYTES, RECORD_ALIGN_BYTES, RECORD_BYTES_MAX, SEGMENT_HEADER_BYTES } from '../limits.js';
import {
  decodeRecordHeader,
  looksLikeRecord,
  RECORD_HEADER_BYTES,
  type RecordCheck,
  type RecordHeader,
} from './record.js';
import type { FreshPages } from './fresh-pages.js';
import type { SegmentFiles } from './segment-files.js';
import { decodeSegmentHeader, type SegmentHeader } from './segment-header.js';
import { ReadAhead } from './read-ahead.js';
import { SegmentWindow } from './segment-window.js';
import { demandRead, readPatiently, type UnreadPages } from './unread-pages.js';

const HEADER_ROOM = 64 * 1024;
const BLANK_STEP_BYTES = 1024 * 1024;

/** One segment of the chain as the scan walks it. */
export interface ScanSegment {
  readonly slot: number;
  readonly generation: number;
  readonly stampLow: number;
  readonly stampHigh: number;
  readonly segmentBytes: number;
}

export interface ScanStart {
  readonly segment: ScanSegment;
  readonly offset: number;
  readonly sequence: number;
}

/** What replay is told, in journal order. */
export interface ScanSink {
  /** A record to apply. `payloadDamaged`: its blocks are judged by their own tags when they are read. May wait. */
  record(header: RecordHeader, slot: number, offset: number, payloadDamaged: boolean): Promise<void> | void;
  /** Durable records with sequences [from, to) are lost. `unread`: '' or the page that another start may be able to read. */
  gap(from: number, to: number, slot: number, offset: number, unread: string): void;
  /**
   * The chain goes on in a segment whose header is lost; its stamp is registered. Writing it anew keeps the chain whole
   * for the next reader, who may find less of the segment's records than was found now.
   */
  headerLost(segment: ScanSegment, predecessor: ChainLink, sequence: number): Promise<void>;
}

/** Where the chain leaves a segment. */
export interface ChainLink {
  readonly slot: number;
  readonly generation: number;
  readonly cut: number;
}

export interface ScanResult {
  readonly last: ScanSegment;
  /** Where the journal ends in `last`: what lies behind is ignored for good. */
  readonly cut: number;
  /** Sequence of the next record. */
  readonly sequence: number;
  readonly segments: readonly ScanSegment[];
  readonly records: number;
  readonly bytes: number;
  /** Valid records behind the torn end, dropped: they were never covered by a completed sync. */
  readonly droppedRecords: number;
}

/** A segment that may follow another one. `header` null: only its registered stamp is known, its own header is unreadable. */
export interface Candidate {
  readonly segment: ScanSegment;
  readonly header: SegmentHeader | null;
  /** Known to have been there once: if the walk does not reach it, something is missing. */
  readonly lost: boolean;
}

/**
 * Reads the chain from a position: demands consecutive sequences, and tells a torn end (an invalid record that no
 * later valid "durable up to" covers) from damage (a covered one). A page that cannot be read is never an end: it throws
 * StoreError IO.
 */
export class JournalScan {
  readonly #files: Files;
  readonly #segmentFiles: SegmentFiles;
  readonly #checksums: Checksums;
  readonly #candidates: readonly Candidate[];
  readonly #unread: UnreadPages;
  readonly #fresh: FreshPages | undefined;
  readonly #window: SegmentWindow;
  /** Whose file the window shows. */
  #slot = -1;
  #records = 0;
  #bytes = 0;

  constructor(
    options: { candidates: readonly Candidate[] },
    dependencies: {
      files: Files;
      segmentFiles: SegmentFiles;
      checksums: Checksums;
      unread: UnreadPages;
      fresh?: FreshPages | undefined;
    },
  ) {
    this.#candidates = options.candidates;
    this.#files = dependencies.files;
    this.#segmentFiles = dependencies.segmentFiles;
    this.#checksums = dependencies.checksums;
    this.#unread = dependencies.unread;
    this.#fresh = dependencies.fresh;
    this.#window = new SegmentWindow({
      files: dependencies.files,
      unread: (offset) => {
        this.#unread.add(this.#slot, offset);
      },
    });
  }

  /** Throws StoreError IO for a page that cannot be read and may matter, and what the sink throws. */
  async run(start: ScanStart, sink: ScanSink): Promise<ScanResult> {
    const ahead = new ReadAhead({ files: this.#files, segmentFiles: this.#segmentFiles, fresh: this.#fresh });
    try {
      return await this.#walk(start, sink, ahead);
    } finally {
      await ahead.end();
    }
  }

  async #walk(start: ScanStart, sink: ScanSink, ahead: ReadAhead): Promise<ScanResult> {
    const segments: ScanSegment[] = [];
    let { segment, offset, sequence } = start;
    // Without all headers another branch of the chain may be taken for this one.
    for (const candidate of this.#candidates) demandRead(this.#unread.within(candidate.segment.slot, 0, PAGE_BYTES));
    walk: for (;;) {
      segments.push(segment);
      let next = this.#successorOf(segment, segments);
      const endAt = next?.header?.predecessor?.cut ?? segment.segmentBytes;
      ahead.begin(segment.slot, offset, endAt);
      if (next !== null) ahead.begin(next.segment.slot, SEGMENT_HEADER_BYTES, next.segment.segmentBytes);
      await this.#use(segment);
      for (;;) {
        if (offset >= endAt) break;
        const step = await this.#step(segment, offset, endAt, sequence);
        if (step !== null && step.payloadOk) {
          await sink.record(step.header, segment.slot, offset, false);
          this.#records += 1;
          this.#bytes += step.header.recordBytes;
          sequence = step.header.sequence + 1;
          offset += step.header.recordBytes;
          continue;
        }
        // 1. A segment whose own header is damaged may go on exactly here.
        if (step === null && next === null) {
          next = await this.#headerless(sequence, segments);
          await this.#use(segment);
          if (next !== null) {
            await sink.headerLost(next.segment, linkOf(segment, offset), sequence);
            break;
          }
        }
        // 2. Torn or damaged? Only a later record that was written after a sync can tell.
        const evidence = await this.#evidence(segment, offset, endAt, sequence, next, segments);
        await this.#use(segment);
        if (evidence.durableUpTo < sequence) {
          const beyond = await this.#beyond(segment, sequence, segments);
          this.demandRead(segment, offset, segments);
          if (beyond !== null) {
            await sink.headerLost(beyond.segment, linkOf(segment, offset), sequence);
            sink.gap(sequence, beyond.sequence, segment.slot, offset, '');
            ({ segment, offset, sequence } = beyond);
            continue walk;
          }
          return this.#ended(segment, offset, sequence, segments, evidence.records);
        }
        // 3. Damage: go on with what is provable.
        if (step !== null) {
          await sink.record(step.header, segment.slot, offset, true);
          sequence = step.header.sequence + 1;
          offset += step.header.recordBytes;
          continue;
        }
        const resume = await this.#findRecord(segment, offset, endAt, sequence);
        if (resume === null) {
          const to = next?.header?.nextSequence ?? sequence + 1;
          sink.gap(sequence, to, segment.slot, offset, this.#unread.within(segment.slot, offset, endAt));
          sequence = to;
          break;
        }
        const unread = this.#unread.within(segment.slot, offset, resume.offset);
        sink.gap(sequence, resume.sequence, segment.slot, offset, unread);
        sequence = resume.sequence;
        offset = resume.offset;
      }
      if (next === null) {
        const beyond = await this.#beyond(segment, sequence, segments);
        this.demandRead(segment, Math.min(offset, endAt), segments);
        if (beyond === null) return this.#ended(segment, Math.min(offset, endAt), sequence, segments, 0);
        await sink.headerLost(beyond.segment, linkOf(segment, Math.min(offset, endAt)), sequence);
        sink.gap(sequence, beyond.sequence, segment.slot, offset, '');
        ({ segment, offset, sequence } = beyond);
        continue;
      }
      const first = next.header?.nextSequence ?? sequence;
      if (first > sequence) {
        sink.gap(sequence, first, segment.slot, offset, this.#unread.within(segment.slot, offset, endAt));
        sequence = first;
      }
      segment = next.segment;
      offset = SEGMENT_HEADER_BYTES;
    }
  }

  /** Throws if a page that might show that the journal goes on behind `offset` of the last segment could not be read. */
  demandRead(last: ScanSegment, offset: number, walked: readonly ScanSegment[]): void {
    demandRead(this.#unread.within(last.slot, offset, last.segmentBytes));
    demandRead(this.#unread.elsewhere(new Set(walked.map((segment) => segment.slot))));
  }

  #ended(
    last: ScanSegment,
    cut: number,
    sequence: number,
    segments: readonly ScanSegment[],
    droppedRecords: number,
  ): ScanResult {
    return { last, cut, sequence, segments, records: this.#records, bytes: this.#bytes, droppedRecords };
  }

  async #use(segment: ScanSegment): Promise<void> {
    this.#slot = segment.slot;
    await this.#fresh?.of(segment.slot);
    await this.#window.use(await this.#segmentFiles.openIfThere(segment.slot), segment.segmentBytes);
  }

  #checkFor(segment: ScanSegment): RecordCheck {
    return {
      stampLow: segment.stampLow,
      stampHigh: segment.stampHigh,
      crc32c: this.#checksums.crc32c.bind(this.#checksums),
    };
  }

  /** The record at `offset` with the demanded sequence, or null. Its payload may be damaged. */
  async #step(
    segment: ScanSegment,
    offset: number,
    endAt: number,
    sequence: number,
  ): Promise<{ header: RecordHeader; payloadOk: boolean } | null> {
    const header = await this.#headerAt(segment, offset, endAt, true);
    if (header?.sequence !== sequence) return null;
    const at = await this.#window.at(offset, header.recordBytes);
    const length = header.recordBytes - header.payloadOffset;
    // A record without payload may have padding behind its header; only sealed blocks are checksummed.
    const sealed = header.extents.some((extent) => !extent.zeros) && header.blockBytes > 0 ? length : 0;
    const crc = sealed === 0 ? 0 : this.#checksums.crc32c(this.#window.bytes, at + header.payloadOffset, sealed, 0);
    return { header, payloadOk: sealed === 0 || crc === header.payloadCrc };
  }

  async #headerAt(segment: ScanSegment, offset: number, endAt: number, ahead: boolean): Promise<RecordHeader | null> {
    if (offset + RECORD_HEADER_BYTES > Math.min(endAt, this.#window.endBytes)) return null;
    const at = await this.#window.at(offset, HEADER_ROOM, ahead);
    return decodeRecordHeader(this.#window.bytes, at, endAt - offset, this.#checkFor(segment));
  }

  /** The first valid record at or after `offset` whose sequence is greater than `after`. */
  async #findRecord(
    segment: ScanSegment,
    offset: number,
    endAt: number,
    after: number,
  ): Promise<{ offset: number; sequence: number } | null> {
    for await (const found of this.#records64(segment, offset, endAt)) {
      if (found.header.sequence > after) return { offset: found.offset, sequence: found.header.sequence };
    }
    return null;
  }

  /** Every valid record from `offset` on, hopping over valid ones and searching at 64-byte steps between. */
  async *#records64(
    segment: ScanSegment,
    from: number,
    endAt: number,
  ): AsyncGenerator<{ offset: number; header: RecordHeader }> {
    const check = this.#checkFor(segment);
    let offset = Math.ceil(from / RECORD_ALIGN_BYTES) * RECORD_ALIGN_BYTES;
    const end = Math.min(endAt, this.#window.endBytes);
    while (offset + RECORD_HEADER_BYTES <= end) {
      const span = Math.min(RECORD_BYTES_MAX, end - offset);
      // With room behind it: reading a header below must not move the window under `at`.
      const at = await this.#window.at(offset, span + HEADER_ROOM, false);
      let step = 0;
      while (step + RECORD_HEADER_BYTES <= span) {
        if (looksLikeRecord(this.#window.view, at + step, check)) {
          const header = await this.#headerAt(segment, offset + step, endAt, false);
          if (header !== null) {
            yield { offset: offset + step, header };
            step += header.recordBytes;
            break;
          }
        }
        step += RECORD_ALIGN_BYTES;
      }
      offset += Math.max(step, RECORD_ALIGN_BYTES);
    }
  }

  /** What later valid records say was durable, over the rest of this segment and all that follow. */
  async #evidence(
    segment: ScanSegment,
    offset: number,
    endAt: number,
    sequence: number,
    next: Candidate | null,
    walked: readonly ScanSegment[],
  ): Promise<{ durableUpTo: number; records: number }> {
    let durableUpTo = 0;
    let records = 0;
    const seen = [...walked];
    let at: { segment: ScanSegment; from: number; endAt: number } | null = { segment, from: offset, endAt };
    let following = next;
    while (at !== null) {
      await this.#use(at.segment);
      for await (const { header } of this.#records64(at.segment, at.from, at.endAt)) {
        if (header.sequence < sequence) continue;
        if (header.sequence > sequence) records += 1;
        durableUpTo = Math.max(durableUpTo, header.durableUpTo);
      }
      if (following === null) break;
      // What a recovery had found and made durable is no torn end, even if nothing was written after it.
      durableUpTo = Math.max(durableUpTo, following.header?.durableUpTo ?? 0);
      seen.push(following.segment);
      const after: Candidate | null = this.#successorOf(following.segment, seen);
      at = {
        segment: following.segment,
        from: SEGMENT_HEADER_BYTES,
        endAt: after?.header?.predecessor?.cut ?? following.segment.segmentBytes,
      };
      following = after;
    }
    return { durableUpTo, records };
  }

  /** Of the segments that name this one as predecessor, the newest: each start registers fresh generations. */
  #successorOf(segment: ScanSegment, walked: readonly ScanSegment[]): Candidate | null {
    let best: Candidate | null = null;
    for (const candidate of this.#candidates) {
      const before = candidate.header?.predecessor;
      if (before?.slot !== segment.slot || before.generation !== segment.generation) continue;
      if (walked.some((seen) => seen.slot === candidate.segment.slot)) continue;
      if (best === null || candidate.segment.generation > best.segment.generation) best = candidate;
    }
    return best;
  }

  /** A registered segment with an unreadable header whose first record is exactly the next one. */
  async #headerless(sequence: number, walked: readonly ScanSegment[]): Promise<Candidate | null> {
    const newest = walked[walked.length - 1];
    for (const candidate of this.#candidates) {
      if (candidate.header !== null || candidate.segment.generation < newest.generation) continue;
      if (walked.some((seen) => seen.slot === candidate.segment.slot)) continue;
      await this.#use(candidate.segment);
      const { segmentBytes } = candidate.segment;
      const header = await this.#headerAt(candidate.segment, SEGMENT_HEADER_BYTES, segmentBytes, false);
      if (header?.sequence === sequence) return candidate;
    }
    return null;
  }

  /**
   * A registered segment that has lost its header and its first records: what is left of it shows, by what it says is
   * durable, that the chain went on there.
   */
  async #beyond(last: ScanSegment, sequence: number, walked: readonly ScanSegment[]): Promise<ScanStart | null> {
    for (const { segment, header } of this.#candidates) {
      if (header !== null || segment.generation < last.generation) continue;
      if (walked.some((seen) => seen.slot === segment.slot)) continue;
      await this.#use(segment);
      // One lost record is at most so long; searching all of every ready segment would make each start slow.
      const endAt = Math.min(segment.segmentBytes, SEGMENT_HEADER_BYTES + RECORD_BYTES_MAX);
      for await (const found of this.#records64(segment, SEGMENT_HEADER_BYTES, endAt)) {
        if (found.header.sequence < sequence || found.header.durableUpTo < sequence) continue;
        return { segment, offset: found.offset, sequence: found.header.sequence };
      }
    }
    return null;
  }

  /** The newest sequence of which a segment's header or one of its records says that it was durable. */
  async durableUpTo({ segment, header }: Candidate): Promise<number> {
    let durableUpTo = header?.durableUpTo ?? 0;
    await this.#use(segment);
    for await (const found of this.#records64(segment, SEGMENT_HEADER_BYTES, segment.segmentBytes)) {
      durableUpTo = Math.max(durableUpTo, found.header.durableUpTo);
    }
    return durableUpTo;
  }

  /** Whether nothing was ever written to a segment: all of its file can be read, and is zeros. */
  async isBlank(slot: number, segmentBytes: number): Promise<boolean> {
    const bytes = new Uint8Array(BLANK_STEP_BYTES);
    try {
      const file = await this.#segmentFiles.open(slot);
      const end = Math.min(segmentBytes, await this.#files.sizeBytes(file));
      for (let offset = 0; offset < end;) {
        const read = await readPatiently(this.#files, file, offset, bytes, 0, Math.min(bytes.length, end - offset));
        if (read === 0 || !this.#checksums.isZero(bytes, 0, read)) return false;
        offset += read;
      }
      return true;
    } catch {
      // Nothing depends on a page that cannot be read: then the segment is left alone.
      return false;
    }
  }

  /** Reads a segment's header page; null when it is missing, damaged, of a foreign slot, or among the unread pages now. */
  async readHeader(slot: number): Promise<SegmentHeader | 'newer' | null> {
    const page = new Uint8Array(PAGE_BYTES);
    try {
      const file = await this.#segmentFiles.openIfThere(slot);
      if (file === null) return null;
      await readPatiently(this.#files, file, 0, page, 0, PAGE_BYTES);
    } catch {
      this.#unread.add(slot, 0);
      return null;
    }
    const header = decodeSegmentHeader(page, this.#checksums.crc32c.bind(this.#checksums));
    if (header !== null && header !== 'newer' && header.slot !== slot) return null;
    return header;
  }
}

function linkOf(segment: ScanSegment, cut: number): ChainLink {
  return { slot: segment.slot, generation: segment.generation, cut };
}
