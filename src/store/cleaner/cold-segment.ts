import type { Checksums } from '../../io/block-keys.js';
import type { FileId, Files } from '../../io/files.js';
import type { SegmentFiles } from '../journal/segment-files.js';
import { encodeSegmentHeader } from '../journal/segment-header.js';
import type { SegmentPool, SegmentUse } from '../journal/segment-pool.js';
import type { SegmentRow, SegmentTable } from '../journal/segment-table.js';
import { SEGMENT_HEADER_BYTES, SEGMENT_TAIL_BYTES, WRITEBACK_STEP_BYTES } from '../limits.js';

export interface ColdSegmentOptions {
  readonly tier: number;
  readonly segmentBytes: number;
  readonly nodeId: Uint8Array;
  /** What segments are taken for. */
  readonly use: SegmentUse;
}

export interface ColdSegmentDependencies {
  readonly files: Files;
  readonly segmentFiles: SegmentFiles;
  readonly table: SegmentTable;
  readonly pool: SegmentPool;
  readonly checksums: Checksums;
  /** Makes a segment's row durable. */
  readonly register: (row: SegmentRow) => Promise<void>;
}

/**
 * The segment beside the chain that is being appended to, one after another. Nothing is replayed from it: a block is
 * published at its new place only once it is durable there, and its old place is given up only once a checkpoint says
 * where it is. So it has no order to keep with the journal.
 */
export class ColdSegment {
  readonly #options: ColdSegmentOptions;
  readonly #io: ColdSegmentDependencies;
  #slot = -1;
  #file = -1 as FileId;
  #offset = 0;
  #sequence = 1;
  #unsynced: { slot: number; from: number; to: number }[] = [];
  /** Full ones that the next sync covers. */
  #left: number[] = [];
  /** Settles when nothing is being written; what has failed is kept beside it. */
  #written: Promise<void> = Promise.resolve();
  #failure: unknown = null;
  /** What lies before it in the open segment is on its way to the disk. */
  #writebackFrom = 0;
  #writeback: Promise<void> = Promise.resolve();

  constructor(options: ColdSegmentOptions, dependencies: ColdSegmentDependencies) {
    this.#options = options;
    this.#io = dependencies;
  }

  /** The slot that is open for appends, -1: none. */
  get slot(): number {
    return this.#slot;
  }

  /** Whether a slot is open for appends, or was until the last `sync`. */
  holds(slot: number): boolean {
    return slot === this.#slot || this.#left.includes(slot);
  }

  get file(): FileId {
    return this.#file;
  }

  /** Where the next record goes. */
  get offset(): number {
    return this.#offset;
  }

  /** Of the next record; counts within the segment. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Bytes that records may still take; 0 while none is open. */
  get room(): number {
    return this.#slot < 0 ? 0 : this.#options.segmentBytes - SEGMENT_TAIL_BYTES - this.#offset;
  }

  /** Takes a segment; false when there is none for this. Its row is durable before a block lies in it. */
  async open(): Promise<boolean> {
    const { files, segmentFiles, table, pool, checksums, register } = this.#io;
    const { tier, segmentBytes, nodeId, use } = this.#options;
    const slot = await pool.take(use);
    if (slot === null) return false;
    table.chill(slot, tier);
    const row = table.row(slot);
    await register(row);
    const file = await segmentFiles.open(slot);
    const header = encodeSegmentHeader(
      {
        ...{ slot, generation: row.generation, stampLow: row.stampLow, stampHigh: row.stampHigh },
        ...{ segmentBytes, predecessor: null, nextSequence: 1, durableUpTo: 0, tier, nodeId },
      },
      checksums.crc32c.bind(checksums),
    );
    segmentFiles.pin(slot);
    this.#slot = slot;
    this.#file = file;
    this.#offset = SEGMENT_HEADER_BYTES;
    this.#sequence = 1;
    this.#writebackFrom = 0;
    await files.write(file, 0, header);
    this.#unsynced.push({ slot, from: 0, to: SEGMENT_HEADER_BYTES });
    return true;
  }

  /** Writes the next record; `bytes` must stay as they are until this resolves. What fails, fails the next `sync`. */
  write(bytes: Uint8Array): Promise<void> {
    const written = this.#io.files.write(this.#file, this.#offset, bytes).catch((thrown: unknown) => {
      this.#failure ??= thrown;
    });
    const before = this.#written;
    this.#written = written.then(() => before);
    this.appended(bytes.length, 1);
    return written;
  }

  /** So many bytes of so many records are there. */
  appended(bytes: number, records: number): void {
    this.#unsynced.push({ slot: this.#slot, from: this.#offset, to: this.#offset + bytes });
    this.#offset += bytes;
    this.#sequence += records;
    if (this.#offset - this.#writebackFrom >= WRITEBACK_STEP_BYTES) this.#startWriteback();
  }

  /** A sync has little left to do then. */
  #startWriteback(): void {
    const from = this.#writebackFrom;
    const length = this.#offset - from;
    this.#writebackFrom = this.#offset;
    const file = this.#file;
    const before = this.#writeback;
    // A failure is reported again by the fdatasync that decides.
    const started = this.#written.then(() => this.#io.files.writeback(file, from, length)).catch(() => undefined);
    this.#writeback = started.then(() => before);
  }

  /** Resolves when nothing is being written, or written back. */
  async settled(): Promise<void> {
    await this.#written;
    await this.#writeback;
  }

  /** Everything appended is durable, and the segments' rows say how far they are used. Throws StoreError, FileError. */
  async sync(): Promise<void> {
    const { files, segmentFiles, table, register } = this.#io;
    await this.settled();
    if (this.#failure !== null) throw this.#failure as Error;
    const unsynced = this.#unsynced;
    this.#unsynced = [];
    const ends = new Map<number, { from: number; to: number }>();
    for (const { slot, from, to } of unsynced)
      ends.set(slot, { from: Math.min(from, ends.get(slot)?.from ?? from), to });
    for (const [slot, { from, to }] of ends) {
      const file = await segmentFiles.open(slot);
      // Off the sync thread: a client's flush waits there.
      await files.writeback(file, from, to - from);
      await files.sync(file);
    }
    for (const [slot, { to }] of ends) table.setUsed(slot, to);
    await Promise.all([...ends.keys()].map((slot) => register(table.row(slot))));
    for (const slot of this.#left.splice(0)) segmentFiles.unpin(slot);
  }

  /** Nothing more goes into the open segment. What is in it becomes durable with the next `sync`. */
  leave(): void {
    if (this.#slot < 0) return;
    if (this.#offset > this.#writebackFrom) this.#startWriteback();
    this.#left.push(this.#slot);
    this.#slot = -1;
  }

  /** As `leave`, with a sync. Throws StoreError, FileError. */
  async seal(): Promise<void> {
    this.leave();
    await this.sync();
  }

  /** Lets go of what is open; what was not synced counts for nothing. `settled` has resolved. */
  close(): void {
    this.#unsynced = [];
    this.#failure = null;
    if (this.#slot >= 0) this.#left.push(this.#slot);
    this.#slot = -1;
    for (const slot of this.#left.splice(0)) this.#io.segmentFiles.unpin(slot);
  }
}
