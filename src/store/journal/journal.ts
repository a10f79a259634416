import { assert } from '../../base/assert.js';
import type { Clock } from '../../base/clock.js';
import { messageOf } from '../../base/errors.js';
import { LATENCY_BOUNDS_MS } from '../../device/device-statistics.js';
import type { Checksums } from '../../io/block-keys.js';
import type { FileId, Files } from '../../io/files.js';
import {
  APPEND_INLINE_BYTES_MAX,
  LONE_APPENDS_MIN,
  PAGE_BYTES,
  SEGMENT_HEADER_BYTES,
  SEGMENT_TAIL_BYTES,
  SYNCS_FOR_ZEROS,
  UNWRITTEN_BYTES_MAX,
  WRITEBACK_STEP_BYTES,
} from '../limits.js';
import { StoreError } from '../store-error.js';
import { CacheWindow } from './cache-window.js';
import type { AppendBatch, BatchStart, JournalLayer } from './append-batch.js';
import type { SegmentFiles } from './segment-files.js';
import { encodeSegmentHeader } from './segment-header.js';
import type { SegmentPool, SegmentUse } from './segment-pool.js';
import type { SegmentTable } from './segment-table.js';

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

type SyncWaiter = { readonly sequence: number; readonly done: (failure: StoreError | null) => void };

/**
 * The append side of the journal: one head segment, at most one append in flight, group fdatasync. Sequences are
 * consecutive; `durable` only ever advances over what a completed fdatasync covered.
 */
export class Journal {
  readonly #segmentBytes: number;
  readonly #nodeId: Uint8Array;
  readonly #io: JournalDependencies;
  readonly #cached: CacheWindow;
  #slot = -1;
  #file = -1 as FileId;
  #offset = 0;
  #sequence: number;
  #durable: number;
  #appending = false;
  /** Told when the append in flight has ended. */
  #quiet: (() => void)[] = [];
  #failure: StoreError | null = null;
  /** Segments with bytes that no fdatasync has covered, in chain order. */
  #unsynced = new Set<number>();
  /** Segments whose header no fdatasync has covered. */
  readonly #headers = new Set<number>();
  #syncing = false;
  #waiters: SyncWaiter[] = [];
  #padWanted = false;
  /** Appends since the last flush. */
  #appendsUnasked = 0;
  /** Flushes in a row that each came after one append. */
  #loneAppends = 0;
  /** A sync that nobody asked for yet is to start. */
  #syncAhead = false;
  #syncsInSegment = 0;
  /** What the head was taken for. */
  #use: SegmentUse = 'opening';
  #writebackFrom = 0;
  #unwrittenBytes = 0;
  /** Appends, syncs and writebacks with the addon's threads: their files must stay open. */
  #under = 0;
  #drained: (() => void)[] = [];
  /** All bytes appended since start, headers and padding included. */
  appendedBytes = 0;
  syncs = 0;
  syncMsSum = 0;
  readonly syncBuckets = new Float64Array(LATENCY_BOUNDS_MS.length + 1);

  /** `sequence`: of the next record. Everything before it is durable (recovery has synced what it replayed). */
  constructor(
    options: { segmentBytes: number; cacheBytes: number; nodeId: Uint8Array; sequence: number },
    dependencies: JournalDependencies,
  ) {
    this.#segmentBytes = options.segmentBytes;
    this.#nodeId = options.nodeId;
    this.#sequence = options.sequence;
    this.#durable = options.sequence - 1;
    this.#io = dependencies;
    this.#cached = new CacheWindow({ bytesMax: options.cacheBytes }, dependencies);
    const chain = [...dependencies.table.rows()].filter((row) => row.state === 'chain');
    const slots = chain.toSorted((a, b) => a.generation - b.generation).map((row) => row.slot);
    this.#cached.found(slots, options.segmentBytes);
  }

  get durable(): number {
    return this.#durable;
  }

  /** Sequence of the newest appended record. */
  get appended(): number {
    return this.#sequence - 1;
  }

  get position(): JournalPosition {
    const generation = this.#io.table.generations[this.#slot];
    return { slot: this.#slot, generation, offset: this.#offset, sequence: this.#sequence };
  }

  get padWanted(): boolean {
    return this.#padWanted;
  }

  /** The next append will be synced at once, so it is to end with its page. */
  get syncsAhead(): boolean {
    return this.#loneAppends >= LONE_APPENDS_MIN;
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
    return this.#unwrittenBytes >= UNWRITTEN_BYTES_MAX;
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
        durableUpTo: this.#durable,
        tier: 0,
        nodeId: this.#nodeId,
      },
      checksums.crc32c.bind(checksums),
    );
    await files.write(file, 0, header);
    table.join(slot, this.#sequence);
    this.#becomeHead(slot, file, use);
    this.#headers.add(slot);
    return true;
  }

  #becomeHead(slot: number, file: FileId, use: SegmentUse): void {
    if (this.#slot >= 0) {
      this.#io.table.setUsed(this.#slot, this.#offset);
      this.#startWriteback();
      this.#io.segmentFiles.unpin(this.#slot);
    }
    this.#slot = slot;
    this.#file = file;
    this.#use = use;
    this.#offset = SEGMENT_HEADER_BYTES;
    this.#unsynced.add(slot);
    this.#syncsInSegment = 0;
    // The header is not counted: it is no append.
    this.#writebackFrom = SEGMENT_HEADER_BYTES;
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
      durableUpTo: this.#durable,
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
      this.#unsynced.add(this.#slot);
      this.appendedBytes += bytes;
      this.#writeback(bytes);
      if (this.#padWanted && this.#pageClosed) this.#padWanted = false;
      if (batch.publicationCount > 0) this.#countAppend();
      done(null);
      this.#kick();
    };
    if (bytes <= APPEND_INLINE_BYTES_MAX && this.#unwrittenBytes < UNWRITTEN_BYTES_MAX / 2) {
      finish(this.#io.files.appendNow(this.#file, batch.start.offset, batch.seal));
    } else {
      this.#under += 1;
      this.#io.files.appendLater(this.#file, batch.start.offset, batch.seal, (status) => {
        finish(status);
        this.#settled();
      });
    }
  }

  get #pageClosed(): boolean {
    return this.#offset % PAGE_BYTES === 0;
  }

  #countAppend(): void {
    this.#appendsUnasked += 1;
    if (this.#appendsUnasked > 1) this.#loneAppends = 0;
    if (this.syncsAhead) this.#syncAhead = true;
  }

  #countFlush(): void {
    if (this.#appendsUnasked === 1) this.#loneAppends += 1;
    this.#appendsUnasked = 0;
  }

  /** Calls `done` when everything up to `sequence` is durable, or when it cannot be known to be. */
  sync(sequence: number, done: (failure: StoreError | null) => void): void {
    if (this.#failure !== null) {
      done(this.#failure);
      return;
    }
    this.#countFlush();
    if (sequence <= this.#durable) {
      done(null);
      return;
    }
    this.#waiters.push({ sequence, done });
    this.#kick();
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

  #kick(): void {
    if (this.#syncing || this.#failure !== null || this.#appending) return;
    if (this.#waiters.length === 0 && !this.#syncAhead) return;
    if (!this.#pageClosed) {
      // Durable bytes are never rewritten: the page is closed before the sync, by the queue that owns appends.
      if (!this.#padWanted) {
        this.#padWanted = true;
        this.#io.wantPad();
      }
      return;
    }
    this.#syncing = true;
    this.#syncAhead = false;
    this.#under += 1;
    void this.#syncNow(this.appended, this.#unsynced).finally(() => {
      this.#settled();
    });
    this.#unsynced = new Set();
  }

  async #syncNow(covered: number, slots: Set<number>): Promise<void> {
    const { files, segmentFiles, clock } = this.#io;
    const from = clock.monotonicMs();
    try {
      for (const slot of slots) {
        await files.sync(await segmentFiles.open(slot));
        this.#headers.delete(slot);
      }
    } catch (thrown) {
      this.#syncing = false;
      const detail = messageOf(thrown);
      this.#fail(new StoreError(`journal: fdatasync failed: ${detail}`, { code: 'IO', detail }, { cause: thrown }));
      return;
    }
    this.#syncing = false;
    if (this.#failure !== null) return;
    this.#countSync(clock.monotonicMs() - from);
    this.#durable = Math.max(this.#durable, covered);
    const waiters = this.#waiters;
    this.#waiters = waiters.filter((waiter) => waiter.sequence > this.#durable);
    for (const waiter of waiters) if (waiter.sequence <= this.#durable) waiter.done(null);
    this.#kick();
  }

  /**
   * Makes the headers of all segments that have joined the chain durable. A sync for records does it by the way, but
   * before the first record of a segment there is none to wait for.
   */
  async headersSynced(): Promise<void> {
    const { files, segmentFiles } = this.#io;
    this.#under += 1;
    try {
      for (const slot of [...this.#headers]) {
        await files.sync(await segmentFiles.open(slot));
        this.#headers.delete(slot);
      }
    } catch (thrown) {
      this.fail(thrown);
      throw thrown;
    } finally {
      this.#settled();
    }
  }

  #countSync(ms: number): void {
    this.syncs += 1;
    this.syncMsSum += ms;
    let bucket = 0;
    while (bucket < LATENCY_BOUNDS_MS.length && ms > LATENCY_BOUNDS_MS[bucket]) bucket += 1;
    this.syncBuckets[bucket] += 1;
    this.#syncsInSegment += 1;
    if (this.#syncsInSegment === SYNCS_FOR_ZEROS) this.#io.pool.zeroNext();
  }

  /** Starts writeback early and steadily, so that dirty pages neither pile up nor stall an fdatasync. */
  #writeback(bytes: number): void {
    this.#unwrittenBytes += bytes;
    if (this.#offset - this.#writebackFrom >= WRITEBACK_STEP_BYTES) this.#startWriteback();
  }

  /** Starts writeback of what the head holds. What was appended must get here once, or appends wait for it for ever. */
  #startWriteback(): void {
    const slot = this.#slot;
    const from = this.#writebackFrom;
    const length = this.#offset - from;
    if (length === 0) return;
    this.#writebackFrom = this.#offset;
    this.#io.segmentFiles.pin(slot);
    this.#under += 1;
    const settle = (): void => {
      this.#cached.written(slot, from, length);
      this.#settled();
      this.#io.segmentFiles.unpin(slot);
      this.#unwrittenBytes -= length;
      this.#io.progressed();
    };
    // A failed writeback is reported again by the fdatasync that decides.
    this.#io.files.writeback(this.#file, from, length).then(settle, settle);
  }

  #settled(): void {
    this.#under -= 1;
    if (this.#under > 0) return;
    const drained = this.#drained;
    this.#drained = [];
    for (const resolve of drained) resolve();
  }

  /** Resolves when nothing of this journal is with the addon's threads. */
  async drain(): Promise<void> {
    while (this.#under > 0) await new Promise<void>((resolve) => this.#drained.push(resolve));
    await this.#cached.settled();
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
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.done(failure);
    this.#io.failed(failure);
  }
}
