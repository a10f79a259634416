import { viewOf } from '../base/bytes.js';
import type { FileId } from '../io/files.js';
import { damage, note, type ReportFinding } from './check-finding.js';
import { isHeaderOf } from './journal/block-header.js';
import {
  blocksIn,
  decodeRecordHeader,
  looksLikeRecord,
  RecordKind,
  type RecordCheck,
  type RecordHeader,
} from './journal/record.js';
import { slotOfName } from './journal/segment-files.js';
import { decodeSegmentHeader, type SegmentHeader } from './journal/segment-header.js';
import type { SegmentRow } from './journal/segment-table.js';
import { readPatiently } from './journal/unread-pages.js';
import { LEAF_BLOCKS, PAGE_BYTES, RECORD_ALIGN_BYTES, SEGMENT_BYTES_MAX, SEGMENT_HEADER_BYTES } from './limits.js';
import { packLocation, WHOLE_STORED_UNITS } from './location.js';
import { standingOf } from './map/layer-tree.js';
import type { OfflineStore } from './offline-store.js';

const READ_STEP_BYTES = 1024 * 1024;

export interface JournalFacts {
  readonly segments: number;
  readonly records: number;
  readonly blocks: number;
  readonly bytes: number;
}

/** A record whose payload is not what was written. */
export interface SuspectRecord {
  readonly slot: number;
  readonly offset: number;
  readonly header: RecordHeader;
}

/** Which blocks of a damaged record cannot be opened; null: that cannot be told without keys. */
export type JudgeBlocks = (record: SuspectRecord) => Promise<ReadonlySet<number> | null>;

/**
 * Reads every segment of the journal from front to back: headers, the chain, each record with its checksums, and the header
 * of each sealed block. Damage that nothing live is touched by is only a note.
 */
export class JournalCheck {
  readonly #store: OfflineStore;
  readonly #nodeId: Uint8Array;
  readonly #report: ReportFinding;
  readonly #nameOf: (layer: number) => string;
  readonly #judge: JudgeBlocks;
  readonly #bytes = new Uint8Array(SEGMENT_BYTES_MAX);
  #records = 0;
  #blocks = 0;
  #read = 0;

  constructor(
    options: { nodeId: Uint8Array },
    dependencies: {
      store: OfflineStore;
      report: ReportFinding;
      /** What people call a layer. */
      nameOf: (layer: number) => string;
      judge: JudgeBlocks;
    },
  ) {
    this.#nodeId = options.nodeId;
    this.#store = dependencies.store;
    this.#report = dependencies.report;
    this.#nameOf = dependencies.nameOf;
    this.#judge = dependencies.judge;
  }

  async run(): Promise<JournalFacts> {
    const { files, journalPath, recovered } = this.#store;
    const present = new Set(
      (await files.list(journalPath).catch(() => [])).map(slotOfName).filter((slot) => slot >= 0),
    );
    const rows = [...recovered.table.rows()].filter(({ state }) => state === 'chain' || state === 'cold');
    const headers = new Map<number, SegmentHeader | null>();
    for (const { slot } of rows) if (present.has(slot)) headers.set(slot, await this.#header(slot));
    for (const row of rows) {
      const subject = `segment ${row.slot}`;
      if (!present.has(row.slot)) {
        const lost =
          row.liveBytes > 0
            ? `blocks that lie in it cannot be read (about ${row.liveBytes} bytes)`
            : 'nothing that is live lay in it';
        this.#report({ level: row.liveBytes > 0 ? 'damage' : 'note', subject, what: 'its file is gone', reads: lost });
        continue;
      }
      this.#checkHeader(row, headers.get(row.slot) ?? null);
      await this.#segment(row, this.#endOf(row, headers));
    }
    return { segments: rows.length, records: this.#records, blocks: this.#blocks, bytes: this.#read };
  }

  async #header(slot: number): Promise<SegmentHeader | null> {
    const page = new Uint8Array(PAGE_BYTES);
    const { files, segmentFiles, checksums } = this.#store;
    try {
      await readPatiently(files, await segmentFiles.open(slot), 0, page, 0, PAGE_BYTES);
    } catch {
      return null;
    }
    const header = decodeSegmentHeader(page, checksums.crc32c.bind(checksums));
    return header === 'newer' ? null : header;
  }

  #checkHeader(row: SegmentRow, header: SegmentHeader | null): void {
    const subject = `segment ${row.slot}`;
    const reads =
      'the map knows the segment without it, so what lies in it still reads; a rebuild of the map would miss it';
    if (header === null) {
      // Registered without ever having been written to: the map was made anew, and nothing proves it free.
      if (row.generation === 0) this.#report(note(subject, 'nothing tells what it holds; it is not used'));
      else this.#report(damage(subject, 'its header is damaged', reads));
      return;
    }
    const own =
      header.slot === row.slot &&
      header.generation === row.generation &&
      header.stampLow === row.stampLow &&
      header.stampHigh === row.stampHigh;
    if (!own)
      this.#report(
        damage(subject, `its header is of generation ${header.generation}, and the map knows ${row.generation}`, reads),
      );
    if (!header.nodeId.every((byte, n) => byte === this.#nodeId[n])) {
      this.#report(damage(subject, 'its header names another node', reads));
    }
  }

  /** Where its records end: where the chain leaves it, or where the journal ends. `exact`: no byte before is missing. */
  #endOf(row: SegmentRow, headers: ReadonlyMap<number, SegmentHeader | null>): { end: number; exact: boolean } {
    const { result } = this.#store.replayed;
    if (result?.last.slot === row.slot && result.last.generation === row.generation)
      return { end: result.cut, exact: true };
    if (row.state === 'cold') return { end: row.usedBytes, exact: true };
    let after: SegmentHeader | null = null;
    for (const header of headers.values()) {
      const before = header?.predecessor;
      if (header === null || before?.slot !== row.slot || before.generation !== row.generation) continue;
      if (after === null || header.generation > after.generation) after = header;
    }
    const own = headers.get(row.slot)?.segmentBytes ?? SEGMENT_BYTES_MAX;
    if (after?.predecessor) return { end: after.predecessor.cut, exact: true };
    // What came next may have been freed.
    return row.usedBytes > 0 ? { end: row.usedBytes, exact: true } : { end: own, exact: false };
  }

  async #segment(row: SegmentRow, { end, exact }: { end: number; exact: boolean }): Promise<void> {
    const { files, segmentFiles, checksums } = this.#store;
    const subject = `segment ${row.slot}`;
    const file = await segmentFiles.open(row.slot);
    const size = await files.sizeBytes(file);
    if (exact && size < end)
      this.#report(damage(subject, `its file ends at ${size}, and records go to ${end}`, 'what lies behind is lost'));
    const length = Math.min(size, end);
    await this.#load(file, length, subject);
    const bytes = this.#bytes.subarray(0, length);
    const check: RecordCheck = { ...row, crc32c: checksums.crc32c.bind(checksums) };
    let expected = row.firstSequence;
    let offset = SEGMENT_HEADER_BYTES;
    while (offset < length) {
      const header = decodeRecordHeader(bytes, offset, length - offset, check);
      if (header === null) {
        const next = nextRecord(bytes, offset, check);
        if (next < 0 && !exact) break;
        const to = next < 0 ? length : next;
        this.#report(
          damage(
            subject,
            `what lies from ${offset} to ${to} is no record`,
            'blocks there still read, if the map names them and they are whole; a rebuild of the map would miss them',
          ),
        );
        if (next < 0) break;
        offset = next;
        expected = 0;
        continue;
      }
      if (expected !== 0 && header.sequence !== expected) {
        this.#report(damage(subject, `at ${offset} comes record ${header.sequence}, and ${expected} was next`));
      }
      await this.#record(row, offset, header, bytes);
      this.#records += 1;
      expected = header.sequence + 1;
      offset += header.recordBytes;
    }
    this.#read += length;
  }

  /** Reads a segment; what cannot be read shows as zeros. */
  async #load(file: FileId, length: number, subject: string): Promise<void> {
    const { files } = this.#store;
    for (let at = 0; at < length; at += READ_STEP_BYTES) {
      const step = Math.min(READ_STEP_BYTES, length - at);
      try {
        await readPatiently(files, file, at, this.#bytes, at, step);
        continue;
      } catch {
        // Page by page below: a bad sector must not hide its neighbours.
      }
      for (let page = at; page < at + step; page += PAGE_BYTES) {
        const bytes = Math.min(PAGE_BYTES, at + step - page);
        try {
          await readPatiently(files, file, page, this.#bytes, page, bytes);
        } catch {
          this.#bytes.fill(0, page, page + bytes);
          this.#report(damage(subject, `the disk cannot read it at ${page}`));
        }
      }
    }
  }

  async #record(row: SegmentRow, offset: number, header: RecordHeader, bytes: Uint8Array): Promise<void> {
    const { checksums } = this.#store;
    const owned = header.blockBytes > 0 && header.extents.some(({ zeros }) => !zeros);
    if (!owned || (header.kind !== RecordKind.WRITE && header.kind !== RecordKind.RELOCATE)) return;
    const length = header.recordBytes - header.payloadOffset;
    const whole = checksums.crc32c(bytes, offset + header.payloadOffset, length, 0) === header.payloadCrc;
    const bad = new Set<number>();
    for (const { block, at } of blocksIn(header, offset)) {
      this.#blocks += 1;
      if (!isHeaderOf(row.generation, bytes, at, this.#store.checksums)) bad.add(block);
    }
    if (whole && bad.size === 0) return;
    const judged = whole ? bad : await this.#judge({ slot: row.slot, offset, header });
    this.#tell(row.slot, offset, header, judged, bad);
  }

  /** `judged` null: the blocks whose headers are right may be damaged as well. */
  #tell(
    slot: number,
    offset: number,
    header: RecordHeader,
    judged: ReadonlySet<number> | null,
    bad: ReadonlySet<number>,
  ): void {
    const subject = `segment ${slot}`;
    const all = blocksIn(header, offset);
    const known = all.filter(({ block }) => (judged ?? bad).has(block));
    const live = known.filter(({ block, at }) => this.#isLive(header, slot, block, at));
    const name = this.#nameOf(header.layer);
    if (live.length > 0) {
      this.#report(
        damage(
          subject,
          `blocks ${rangesOf(live)} of ${name} are damaged (record at ${offset})`,
          'they read as I/O errors; everything else of it reads',
        ),
      );
    }
    if (judged === null) {
      const may = all.filter(({ block, at }) => !bad.has(block) && this.#isLive(header, slot, block, at));
      const text = `the record at ${offset} does not match its checksum`;
      if (may.length > 0) {
        this.#report(
          damage(
            subject,
            `${text}: of blocks ${rangesOf(may)} of ${name} some are damaged`,
            'which, their key would tell; they read as I/O errors',
          ),
        );
      } else if (live.length === 0) this.#report(note(subject, `${text}, and nothing in it is needed any more`));
    } else if (live.length === 0) {
      const what =
        known.length > 0
          ? `${known.length} blocks in the record at ${offset} are damaged`
          : `the record at ${offset} is damaged beside its blocks`;
      this.#report(note(subject, `${what}, and nothing there is needed any more`));
    }
  }

  /** Whether the map names this block at this place, in its layer or in the one that took its blocks over. */
  #isLive(header: RecordHeader, slot: number, block: number, at: number): boolean {
    const { map } = this.#store.recovered;
    const layer = standingOf(map.layers, header.layer);
    if (layer === undefined || layer.gone) return false;
    const location = packLocation(slot, at / (header.blockBytes / 64), WHOLE_STORED_UNITS);
    try {
      return map.views.own(layer, Math.floor(block / LEAF_BLOCKS))?.[block % LEAF_BLOCKS] === location;
    } catch {
      // A leaf that cannot be read is a finding of its own.
      return false;
    }
  }
}

/** Where the next valid record begins; -1: nowhere. */
function nextRecord(bytes: Uint8Array, offset: number, check: RecordCheck): number {
  const view = viewOf(bytes);
  for (let at = offset + RECORD_ALIGN_BYTES; at + RECORD_ALIGN_BYTES * 2 <= bytes.length; at += RECORD_ALIGN_BYTES) {
    if (looksLikeRecord(view, at, check) && decodeRecordHeader(bytes, at, bytes.length - at, check) !== null) return at;
  }
  return -1;
}

/** `3, 5-9`, cut short where it gets long. */
function rangesOf(blocks: readonly { readonly block: number }[]): string {
  const ranges: [number, number][] = [];
  for (const { block } of blocks) {
    const last = ranges.at(-1);
    if (last?.[1] === block - 1) last[1] = block;
    else ranges.push([block, block]);
  }
  const shown = ranges.slice(0, 8).map(([from, to]) => (from === to ? String(from) : `${from}-${to}`));
  return ranges.length > 8 ? `${shown.join(', ')} and more` : shown.join(', ');
}
