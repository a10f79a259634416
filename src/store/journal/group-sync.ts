import type { Clock } from '../../base/clock.js';
import { messageOf } from '../../base/errors.js';
import { UnderWay } from '../../base/under-way.js';
import { LATENCY_BOUNDS_MS } from '../../device/device-statistics.js';
import type { Files } from '../../io/files.js';
import { LONE_APPENDS_MIN, SYNCS_FOR_ZEROS } from '../limits.js';
import { StoreError } from '../store-error.js';
import type { SegmentFiles } from './segment-files.js';
import type { SegmentPool } from './segment-pool.js';

export interface GroupSyncDependencies {
  readonly files: Files;
  readonly segmentFiles: SegmentFiles;
  readonly pool: SegmentPool;
  readonly clock: Clock;
  /** What is appended so far, by those who append. */
  readonly tail: { readonly appended: number; readonly appending: boolean; readonly pageClosed: boolean };
  /** A page must be closed before the sync that is wanted: append a PAD soon. */
  readonly wantPad: () => void;
  /** An fdatasync has failed: whoever appends refuses everything from now on, and says so to `fail`. */
  readonly failed: (failure: StoreError) => void;
}

/** Since the journal was opened. */
export interface SyncStatistics {
  readonly syncs: number;
  readonly msSum: number;
  /** Syncs by how long they took; bounds as LATENCY_BOUNDS_MS, the last bucket for those above. */
  readonly buckets: Float64Array;
}

type SyncWaiter = { readonly sequence: number; readonly done: (failure: StoreError | null) => void };

/**
 * Makes the journal durable: one fdatasync at a time, for all who wait. `durable` only ever advances over what a completed
 * fdatasync covered.
 */
export class GroupSync implements SyncStatistics {
  readonly #io: GroupSyncDependencies;
  readonly #underWay = new UnderWay();
  #durable: number;
  #failure: StoreError | null = null;
  /** Segments with bytes that no fdatasync has covered, in chain order, and whether records are among these. */
  #unsynced = new Map<number, 'header' | 'records'>();
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
  #ahead = false;
  #syncsInSegment = 0;
  syncs = 0;
  msSum = 0;
  readonly buckets = new Float64Array(LATENCY_BOUNDS_MS.length + 1);

  /** `durable`: the sequence up to which everything is durable already. */
  constructor(options: { durable: number }, dependencies: GroupSyncDependencies) {
    this.#durable = options.durable;
    this.#io = dependencies;
  }

  get durable(): number {
    return this.#durable;
  }

  get padWanted(): boolean {
    return this.#padWanted;
  }

  /** The next append will be synced at once, so it is to end with its page. */
  get isAhead(): boolean {
    return this.#loneAppends >= LONE_APPENDS_MIN;
  }

  /** Another segment is appended to; `header`: one that was written just now. */
  head(slot: number, header: 'new' | 'old'): void {
    this.#syncsInSegment = 0;
    if (header === 'new') {
      this.#headers.add(slot);
      this.#unsynced.set(slot, 'header');
    }
    // The page that was to be closed is in a segment to which nothing is appended any more, and no append may follow.
    this.#padWanted = false;
    this.kick();
  }

  /** An append to a segment has ended; `shown`: clients wait for what is in it. `kick` is to follow. */
  appended(slot: number, shown: boolean): void {
    this.#unsynced.set(slot, 'records');
    if (this.#padWanted && this.#io.tail.pageClosed) this.#padWanted = false;
    if (!shown) return;
    this.#appendsUnasked += 1;
    if (this.#appendsUnasked > 1) this.#loneAppends = 0;
    if (this.isAhead) this.#ahead = true;
  }

  /** Calls `done` when everything up to `sequence` is durable, or when it cannot be known to be. */
  want(sequence: number, done: (failure: StoreError | null) => void): void {
    if (this.#failure !== null) {
      done(this.#failure);
      return;
    }
    if (this.#appendsUnasked === 1) this.#loneAppends += 1;
    this.#appendsUnasked = 0;
    if (sequence <= this.#durable) {
      done(null);
      return;
    }
    this.#waiters.push({ sequence, done });
    this.kick();
  }

  /** Starts a sync if somebody wants one and none is under way. */
  kick(): void {
    const { tail } = this.#io;
    if (this.#syncing || this.#failure !== null || tail.appending) return;
    if (this.#waiters.length === 0 && !this.#ahead) return;
    if (!tail.pageClosed) {
      // Durable bytes are never rewritten: the page is closed before the sync, by the queue that owns appends.
      if (!this.#padWanted) {
        this.#padWanted = true;
        this.#io.wantPad();
      }
      return;
    }
    this.#syncing = true;
    this.#ahead = false;
    this.#underWay.begin();
    void this.#sync(tail.appended, [...this.#unsynced.keys()]).finally(() => {
      this.#underWay.end();
    });
    this.#unsynced = new Map();
  }

  async #sync(covered: number, slots: readonly number[]): Promise<void> {
    const { clock } = this.#io;
    const from = clock.monotonicMs();
    try {
      await this.#syncFiles(slots);
    } catch (thrown) {
      this.#syncing = false;
      const detail = messageOf(thrown);
      const failure = new StoreError(`journal: fdatasync failed: ${detail}`, { code: 'IO', detail }, { cause: thrown });
      this.#io.failed(failure);
      return;
    }
    this.#syncing = false;
    if (this.#failure !== null) return;
    this.#count(clock.monotonicMs() - from);
    this.#durable = Math.max(this.#durable, covered);
    const waiters = this.#waiters;
    this.#waiters = waiters.filter((waiter) => waiter.sequence > this.#durable);
    for (const waiter of waiters) if (waiter.sequence <= this.#durable) waiter.done(null);
    this.kick();
  }

  async #syncFiles(slots: readonly number[]): Promise<void> {
    const { files, segmentFiles } = this.#io;
    // One that was left without a record may come free while another is being synced: its file is to stay until then.
    for (const slot of slots) segmentFiles.pin(slot);
    try {
      for (const slot of slots) {
        await files.sync(await segmentFiles.open(slot));
        this.#headers.delete(slot);
        // It is durable as it is, and may be gone by the next sync.
        if (this.#unsynced.get(slot) === 'header') this.#unsynced.delete(slot);
      }
    } finally {
      for (const slot of slots) segmentFiles.unpin(slot);
    }
  }

  /**
   * Makes the headers of all segments that have joined the chain durable. A sync for records does it by the way, but
   * before the first record of a segment there is none to wait for. Throws FileError.
   */
  async headersSynced(): Promise<void> {
    this.#underWay.begin();
    try {
      await this.#syncFiles([...this.#headers]);
    } finally {
      this.#underWay.end();
    }
  }

  #count(ms: number): void {
    this.syncs += 1;
    this.msSum += ms;
    let bucket = 0;
    while (bucket < LATENCY_BOUNDS_MS.length && ms > LATENCY_BOUNDS_MS[bucket]) bucket += 1;
    this.buckets[bucket] += 1;
    this.#syncsInSegment += 1;
    if (this.#syncsInSegment === SYNCS_FOR_ZEROS) this.#io.pool.zeroNext();
  }

  /** Refuses everything from now on, and tells everyone who waits. */
  fail(failure: StoreError): void {
    this.#failure = failure;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.done(failure);
  }

  /** Resolves when nothing is with the addon's threads. */
  settled(): Promise<void> {
    return this.#underWay.ended();
  }
}
