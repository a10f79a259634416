import { assert } from '../../base/assert.js';
import type { Clock } from '../../base/clock.js';
import { messageOf } from '../../base/errors.js';
import { UnderWay } from '../../base/under-way.js';
import type { Checksums } from '../../io/block-keys.js';
import type { FileId, Files } from '../../io/files.js';
import { APPEND_INLINE_BYTES_MAX, PAGE_BYTES, SEGMENT_HEADER_BYTES, SEGMENT_TAIL_BYTES } from '../limits.js';
import { StoreError } from '../store-error.js';
import type { AppendBatch, BatchStart, JournalLayer } from './append-batch.js';
import { GroupSync, type SyncStatistics } from './group-sync.js';
import type { SegmentFiles } from './segment-files.js';
import { encodeSegmentHeader } from './segment-header.js';
import type { SegmentPool, SegmentUse } from './segment-pool.js';
import type { SegmentTable } from './segment-table.js';
import { Writeback } from './writeback.js';

export interface JournalPosition {
  readonly slot: number;
  readonly generation: number;
  readonly offset: number;
  /** Sequence of the next record at this position. */
  readonly sequence: number;
}

export interface JournalDependencies {
  readonly files: Files;
  readonly segmentFiles: SegmentFiles;
  readonly table: SegmentTable;
  readonly pool: SegmentPool;
  readonly checksums: Checksums;
  readonly clock: Clock;
  /** A page must be closed before the sync that is wanted: append a PAD soon. */
  readonly wantPad: () => void;
  /** Unwritten bytes went down: appends that waited may go on. */
  readonly progressed: () => void;
  /** The disk failed: nothing may be acknowledged until the store has reopened. */
  readonly failed: (error: StoreError) => void;
}

/** The append side of the journal: one head segment, at most one append in flight. Sequences are consecutive. */
export class Journal {
  readonly #segmentBytes: number;
  readonly #nodeId: Uint8Array;
  readonly #io: JournalDependencies;
  readonly #writeback: Writeback;
  readonly #sync: GroupSync;
  readonly #underWay = new UnderWay();
  #slot = -1;
  #file = -1 as FileId;
  #offset = 0;
  #sequence: number;
  #appending = false;
  /** Told when the append in flight has ended. */
  #quiet: (() => void)[] = [];
  #failure: StoreError | null = null;
  /** What the head was taken for. */
  #use: SegmentUse = 'opening';
  /** All bytes appended since start, headers and padding included. */
  appendedBytes = 0;
  /** `sequence`: of the next record. Everything before it is durable (recovery has synced what it replayed). */
  constructor(
    options: { segmentBytes: number; cacheBytes: number; nodeId: Uint8Array; sequence: number },
    dependencies: JournalDependencies,
  ) {
    this.#segmentBytes = options.segmentBytes;
    this.#nodeId = options.nodeId;
    this.#sequence = options.sequence;
    this.#io = dependencies;
    this.#writeback = new Writeback(options, dependencies);
    this.#sync = new GroupSync(
      { durable: options.sequence - 1 },
      {
        ...dependencies,
        tail: this,
        failed: (failure) => {
          this.#fail(failure);
        },
      },
    );
  }

  get durable(): number {
    return this.#sync.durable;
  }

  /** Sequence of the newest appended record. */
  get appended(): number {
    return this.#sequence - 1;
  }

  get position(): JournalPosition {
    const generation = this.#io.table.generations[this.#slot];
    return { slot: this.#slot, generation, offset: this.#offset, sequence: this.#sequence };
  }

  get syncStatistics(): SyncStatistics {
    return this.#sync;
  }

  get padWanted(): boolean {
    return this.#sync.padWanted;
  }

  /** The next append will be synced at once, so it is to end with its page. */
  get syncsAhead(): boolean {
    return this.#sync.isAhead;
  }

  get appending(): boolean {
    return this.#appending;
  }

  /** Resolves when no append is in flight; holds until the end of the turn in which it resolves. */
  async quiet(): Promise<void> {
    while (this.#appending) await new Promise<void>((resolve) => this.#quiet.push(resolve));
  }

  /** Too much is waiting for the disk: appends wait. */
  get congested(): boolean {
    return this.#writeback.congested;
  }

  get room(): number {
    return this.#segmentBytes - SEGMENT_TAIL_BYTES - this.#offset;
  }

  /**
   * Makes the next segment the head: header first, naming its predecessor and where replay leaves it. False when the
   * disk has none left for this use. Its header becomes durable with the first sync that covers a record of it.
   */
  async roll(use: SegmentUse, predecessor: { slot: number; generation: number; cut: number } | null): Promise<boolean> {
    assert(!this.#appending, 'segments change between appends');
    const { files, segmentFiles, table, pool, checksums } = this.#io;
    const slot = await pool.take(use);
    if (slot === null) return false;
    const row = table.row(slot);
    const file = await segmentFiles.open(slot);
    segmentFiles.pin(slot);
    const header = encodeSegmentHeader(
      {
        slot,
        generation: row.generation,
        stampLow: row.stampLow,
        stampHigh: row.stampHigh,
        segmentBytes: this.#segmentBytes,
        predecessor,
        nextSequence: this.#sequence,
        durableUpTo: this.durable,
        tier: 0,
        nodeId: this.#nodeId,
      },
      checksums.crc32c.bind(checksums),
    );
    await files.write(file, 0, header);
    table.join(slot, this.#sequence);
    this.#becomeHead(slot, file, use);
    this.#sync.head(slot, 'new');
    return true;
  }

  #becomeHead(slot: number, file: FileId, use: SegmentUse): void {
    if (this.#slot >= 0) this.#io.table.setUsed(this.#slot, this.#offset);
    // The header is not counted: it is no append.
    this.#writeback.head(slot, file, SEGMENT_HEADER_BYTES);
    if (this.#slot >= 0) this.#io.segmentFiles.unpin(this.#slot);
    this.#slot = slot;
    this.#file = file;
    this.#use = use;
    this.#offset = SEGMENT_HEADER_BYTES;
  }

  /**
   * Makes a segment the head that is the last of the chain and has no record that counts, with its header as it is: for a
   * start on a disk that has no other. What a power cut left in it goes first: nothing of it may follow a new record.
   */
  async resume(slot: number): Promise<void> {
    const { files, segmentFiles } = this.#io;
    const file = await segmentFiles.open(slot);
    await files.fillZeros(file, SEGMENT_HEADER_BYTES, this.#segmentBytes - SEGMENT_HEADER_BYTES);
    await files.sync(file);
    segmentFiles.pin(slot);
    this.#becomeHead(slot, file, 'opening');
    this.#sync.head(slot, 'old');
  }

  /** The head is part of the reserve, and nothing has taken its place there: it is not for data. */
  get reserved(): boolean {
    return this.#use !== 'data' && !this.#io.pool.holds('data');
  }

  /** Nothing is left for the next start but the head, which must stay empty: it is for no change at all. */
  get spent(): boolean {
    return this.#use === 'opening' && !this.#io.pool.holds('holes');
  }

  /** Rolls on from the present head. */
  rollOver(use: SegmentUse): Promise<boolean> {
    const { slot, generation, offset } = this.position;
    return this.roll(use, { slot, generation, cut: offset });
  }

  /** What a batch that is built now starts from. */
  batchStart(): BatchStart {
    const row = this.#io.table.row(this.#slot);
    return {
      slot: this.#slot,
      generation: row.generation,
      stampLow: row.stampLow,
      stampHigh: row.stampHigh,
      offset: this.#offset,
      limit: this.#segmentBytes - SEGMENT_TAIL_BYTES,
      sequence: this.#sequence,
      durableUpTo: this.durable,
    };
  }

  /**
   * Appends a batch that was built from `batchStart`. `done` may be called before this returns (small batches are
   * appended inline). A failure makes the journal refuse everything from then on.
   */
  append<L extends JournalLayer>(batch: AppendBatch<L>, done: (failure: StoreError | null) => void): void {
    assert(!this.#appending && this.#failure === null, 'one append at a time, and none after a failure');
    assert(
      batch.start.offset === this.#offset && batch.start.slot === this.#slot,
      'the batch was built for this position',
    );
    const bytes = batch.position - batch.start.offset;
    this.#appending = true;
    const finish = (status: number): void => {
      this.#appending = false;
      const quiet = this.#quiet;
      this.#quiet = [];
      for (const resolve of quiet) resolve();
      if (this.#failure !== null) {
        // A sync failed meanwhile: what was just appended may not be acknowledged any more.
        done(this.#failure);
        return;
      }
      if (status !== 0) {
        const failure = new StoreError(`journal: append failed (errno ${-status})`, {
          code: 'IO',
          detail: `append to segment ${this.#slot} failed with errno ${-status}`,
        });
        this.#fail(failure);
        done(failure);
        return;
      }
      this.#offset = batch.position;
      this.#sequence = batch.sequence;
      this.appendedBytes += bytes;
      this.#writeback.appended(this.#offset);
      this.#sync.appended(this.#slot, batch.publicationCount > 0);
      done(null);
      this.#sync.kick();
    };
    if (bytes <= APPEND_INLINE_BYTES_MAX && this.#writeback.calm) {
      finish(this.#io.files.appendNow(this.#file, batch.start.offset, batch.seal));
    } else {
      this.#underWay.begin();
      this.#io.files.appendLater(this.#file, batch.start.offset, batch.seal, (status) => {
        finish(status);
        this.#underWay.end();
      });
    }
  }

  /** What was appended ends with a page. */
  get pageClosed(): boolean {
    return this.#offset % PAGE_BYTES === 0;
  }

  /** Calls `done` when everything up to `sequence` is durable, or when it cannot be known to be. */
  sync(sequence: number, done: (failure: StoreError | null) => void): void {
    this.#sync.want(sequence, done);
  }

  /** As `sync`, for callers off the hot path. */
  synced(sequence: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.sync(sequence, (failure) => {
        if (failure === null) resolve();
        else reject(failure);
      });
    });
  }

  /** Makes the headers of all segments that have joined the chain durable. Throws FileError; the journal has failed then. */
  async headersSynced(): Promise<void> {
    try {
      await this.#sync.headersSynced();
    } catch (thrown) {
      this.fail(thrown);
      throw thrown;
    }
  }

  /** Resolves when nothing of this journal is with the addon's threads. */
  async drain(): Promise<void> {
    await this.#underWay.ended();
    await this.#sync.settled();
    await this.#writeback.settled();
  }

  /** The disk failed outside an append or a sync. */
  fail(thrown: unknown): void {
    const detail = messageOf(thrown);
    this.#fail(new StoreError(`journal: ${detail}`, { code: 'IO', detail }, { cause: thrown }));
  }

  /** Refuses everything from now on, and tells everyone who waits. */
  #fail(failure: StoreError): void {
    if (this.#failure !== null) return;
    this.#failure = failure;
    this.#sync.fail(failure);
    this.#io.failed(failure);
  }
}
