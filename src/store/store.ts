import type { Timer } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import type { Closable } from '../base/lifecycle.js';
import type { DeviceFault } from '../device/block-device.js';
import type { SpaceReport as StoreSpace } from '../io/files.js';
import type { Engine, EngineDependencies } from './engine.js';
import { openEngine } from './engine-opening.js';
import { Head, type HeadOptions } from './head.js';
import { Cleaner, type CleanerWork } from './cleaner/cleaner.js';
import { differenceOf, usageOf, type BlockUsage, type Difference } from './layer-comparison.js';
import { LayerMerger, type MergeProgress } from './layer-merger.js';
import { LayerVerbs } from './layer-verbs.js';
import {
  BAD_BLOCKS_LOGGED,
  CHECKPOINT_INTERVAL_MS_DEFAULT,
  JOURNAL_CACHE_BYTES_DEFAULT,
  JOURNAL_REPLAY_BYTES_DEFAULT,
  MAP_CACHE_BYTES_DEFAULT,
  REOPEN_DELAY_MS_FIRST,
  REOPEN_DELAY_MS_MAX,
  SEGMENT_BYTES_DEFAULT,
} from './limits.js';
import { presentLayer } from './map/layer-tree.js';
import type { Layer } from './map/layer.js';
import type { ResealDependencies } from './cleaner/resealer.js';
import { describeStatus, ReadQueue, type BadBlock } from './read-queue.js';
import type { ScrubDependencies } from './scrub.js';
import { spaceLeft } from './space-left.js';
import { StoreError, type StoreFault } from './store-error.js';
import { WriteQueue } from './write-queue.js';

export interface StoreOptions {
  readonly storagePath: string;
  /** 16 bytes. */
  readonly nodeId: Uint8Array;
  readonly segmentBytes?: number;
  readonly mapCacheBytes?: number;
  /** Newest bytes of the journal that stay in the page cache. */
  readonly journalCacheBytes?: number;
  /** The journal takes no more of the disk. */
  readonly capacityBytes?: number;
  /** Whether dead space is given back; for looking at a store that is left as it is. */
  readonly cleaning?: boolean;
  /** Appends wait when a start would have to replay so much. */
  readonly journalReplayBytesMax?: number;
  readonly checkpointIntervalMs?: number;
}

export type StoreDependencies = EngineDependencies;

export type { StoreSpace };

/** opening -> ready -> reopening -> ready ... -> closed. Moves in `#become` only. */
export type StoreState = 'opening' | 'ready' | 'reopening' | 'closed';

const CHECKPOINT_RETRY_MS = 1000;

/**
 * The block store of a node: layers of sealed blocks in one journal. After a failed append or fdatasync it stops
 * acknowledging, and serves again only from what it has read back from the disk.
 */
export class Store implements Closable {
  readonly #options: Required<StoreOptions>;
  readonly #io: StoreDependencies;
  #engine: Engine | null = null;
  #state: StoreState = 'opening';
  #reason = '';
  readonly #reads: ReadQueue;
  readonly #writes: WriteQueue;
  readonly #heads = new Set<Head>();
  readonly layers: LayerVerbs;
  #merger: LayerMerger | null = null;
  #cleaner: Cleaner | null = null;
  #checkpointTimer: Timer | null = null;
  #checkpointRetryAtMs = 0;
  #retryTimer: Timer | null = null;
  #waiters: { resolve: (engine: Engine) => void; reject: (error: StoreError) => void }[] = [];
  #reopening: Promise<void> | null = null;
  /** Ends the wait before the next try of reopening. */
  #tryNow: () => void = () => undefined;
  /** Told when the store stops serving. */
  #broken: (() => void)[] = [];
  #closing: Promise<void> | null = null;
  /** Blocks that could not be opened since start. */
  badBlocks = 0;

  private constructor(options: StoreOptions, dependencies: StoreDependencies) {
    this.#options = {
      segmentBytes: SEGMENT_BYTES_DEFAULT,
      mapCacheBytes: MAP_CACHE_BYTES_DEFAULT,
      journalCacheBytes: JOURNAL_CACHE_BYTES_DEFAULT,
      journalReplayBytesMax: JOURNAL_REPLAY_BYTES_DEFAULT,
      checkpointIntervalMs: CHECKPOINT_INTERVAL_MS_DEFAULT,
      capacityBytes: Number.POSITIVE_INFINITY,
      cleaning: true,
      ...options,
    };
    this.#io = dependencies;
    const engine = (): Engine | null => (this.#state === 'ready' ? this.#engine : null);
    this.#reads = new ReadQueue({
      files: dependencies.files,
      clock: dependencies.clock,
      engine,
      bad: (block) => {
        this.#badBlock(block);
      },
    });
    this.#writes = new WriteQueue(
      { replayBytesMax: this.#options.journalReplayBytesMax },
      {
        clock: dependencies.clock,
        checksums: dependencies.checksums,
        engine,
        wantCheckpoint: () => {
          this.#startCheckpoint();
        },
        makeRoom: () => this.#cleaner?.makeRoom() ?? Promise.resolve(),
        rolled: () => this.#cleaner?.wake(),
        pace: () => this.#cleaner?.paceBytesPerSecond ?? Number.POSITIVE_INFINITY,
      },
    );
    this.layers = new LayerVerbs({
      writes: this.#writes,
      whenReady: () => this.#whenReady(),
      froze: (head, child) => {
        for (const each of this.#heads) if (each.layer === head) each.moveTo(child);
      },
      changed: () => this.#merger?.wake(),
    });
  }

  /** Opens the store in a storage path, recovering what a crash left. Throws StoreError or FileError. */
  static async open(options: StoreOptions, dependencies: StoreDependencies): Promise<Store> {
    const store = new Store(options, dependencies);
    store.#engine = await store.#openEngine();
    store.#become('ready', '');
    store.#armCheckpoint();
    store.#startBackground(store.#engine);
    return store;
  }

  get state(): StoreState {
    return this.#state;
  }

  /** Why it is not ready, the last error and the next try; '' when ready. */
  get stateReason(): string {
    return this.#reason;
  }

  /** The engine, for reports; null while there is none. */
  /** What the cleaner has done since the store was opened last. */
  get cleanerWork(): CleanerWork {
    return this.#cleaner?.work ?? { segments: 0, blocks: 0, bytes: 0 };
  }

  get engine(): Engine | null {
    return this.#engine;
  }

  space(): Promise<StoreSpace> {
    return this.#io.files.space(this.#options.storagePath);
  }

  /** What volumes can still write, and of how much; what the disk says until the store is open. */
  spaceLeft(disk: StoreSpace): StoreSpace {
    return this.#engine === null ? disk : spaceLeft(this.#engine, disk, this.#options);
  }

  #become(state: StoreState, reason: string): void {
    this.#state = state;
    this.#reason = reason;
    if (state === 'reopening') for (const tell of this.#broken.splice(0)) tell();
    if (state === 'ready' || state === 'closed') {
      const waiters = this.#waiters;
      this.#waiters = [];
      for (const waiter of waiters) {
        if (state === 'ready' && this.#engine !== null) waiter.resolve(this.#engine);
        else waiter.reject(closedError());
      }
    }
  }

  #whenReady(): Promise<Engine> {
    if (this.#state === 'ready' && this.#engine !== null) return Promise.resolve(this.#engine);
    if (this.#state === 'closed') return Promise.reject(closedError());
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  #openEngine(): Promise<Engine> {
    return openEngine(this.#options, this.#io, {
      wantPad: () => {
        this.#writes.wake();
      },
      progressed: () => {
        if (this.#writes.waiting > 0) this.#writes.wake();
      },
      failed: (error) => {
        this.#failed(error);
      },
    });
  }

  /** The disk failed. Nothing is acknowledged any more until the store has been reopened from what is on the disk. */
  #failed(error: StoreError): void {
    if (this.#state !== 'ready') return;
    this.#io.log.error({ error: error.message }, 'store: the disk failed; reopening from what it holds');
    this.#become('reopening', `${error.message}; reopening`);
    this.#reopening = this.#reopen().finally(() => {
      this.#reopening = null;
    });
  }

  async #reopen(): Promise<void> {
    const old = this.#engine;
    if (this.#checkpointTimer !== null) this.#io.clock.clear(this.#checkpointTimer);
    await this.#reads.drain();
    await this.#writes.rolled();
    if (old !== null) {
      await old.journal.drain();
      await old.checkpointer.settled();
      await old.dispose().catch(() => undefined);
    }
    this.#engine = null;
    let delayMs = REOPEN_DELAY_MS_FIRST;
    while (this.#closing === null) {
      try {
        this.#engine = await this.#openEngine();
        break;
      } catch (thrown) {
        const reason = `reopening failed: ${messageOf(thrown)}; tried again in ${delayMs} ms`;
        this.#io.log.error({ error: messageOf(thrown), delayMs }, 'store: reopening failed');
        this.#become('reopening', reason);
        await new Promise<void>((resolve) => {
          this.#tryNow = resolve;
          this.#io.clock.after(delayMs, resolve);
        });
        delayMs = Math.min(delayMs * 2, REOPEN_DELAY_MS_MAX);
      }
    }
    if (this.#engine === null) {
      // Closed meanwhile: whoever waits must not wait for ever.
      this.#writes.end({ code: 'CLOSED' }, closedError());
      return;
    }
    for (const head of this.#heads) {
      try {
        head.rebind(this.#engine);
      } catch (thrown) {
        this.#io.log.error({ layer: head.layerId, error: messageOf(thrown) }, 'store: a volume did not survive');
        head.orphan();
      }
    }
    this.#writes.restart(new StoreError('the disk failed before this was done', { code: 'IO', detail: this.#reason }));
    this.#become('ready', '');
    this.#armCheckpoint();
    this.#startBackground(this.#engine);
    this.#reads.wake();
    this.#writes.wake();
  }

  /** What works beside the requests, from one opening to the next. */
  #startBackground(engine: Engine): void {
    this.#merger = new LayerMerger({
      engine,
      clock: this.#io.clock,
      log: this.#io.log,
      merge: (layer, heir) => this.layers.merge(engine, layer, heir),
    });
    this.#merger.wake();
    engine.background.push(this.#merger);
    const { segmentBytes, nodeId, cleaning } = this.#options;
    if (!cleaning) return;
    this.#cleaner = new Cleaner({ segmentBytes, nodeId }, { ...this.#io, ...engine });
    engine.background.push(this.#cleaner);
  }

  #badBlock(block: BadBlock): void {
    this.badBlocks += 1;
    if (this.badBlocks > BAD_BLOCKS_LOGGED && this.badBlocks % 1000 !== 0) return;
    this.#io.log.error({ ...block, badBlocks: this.badBlocks }, `store: ${describeStatus(block.status)}`);
  }

  #armCheckpoint(): void {
    this.#checkpointTimer = this.#io.clock.after(this.#options.checkpointIntervalMs, () => {
      if (this.#engine !== null && this.#engine.checkpointer.replayBytes > 0) this.#startCheckpoint();
      this.#armCheckpoint();
    });
  }

  #startCheckpoint(): void {
    const engine = this.#engine;
    const { clock } = this.#io;
    if (this.#state !== 'ready' || engine === null || clock.monotonicMs() < this.#checkpointRetryAtMs) return;
    engine.checkpointer.start((failure) => {
      if (failure === null) {
        void engine.reserve.hold();
        return;
      }
      // What waits for a checkpoint would wait until somebody makes room, and a stop would wait with it.
      const full = failure instanceof StoreError && failure.code === 'FULL';
      if (full || engine.checkpointer.heldBack !== '' || this.#closing !== null) void this.#refuseBlocked(engine, full);
      this.#checkpointRetryAtMs = clock.monotonicMs() + CHECKPOINT_RETRY_MS;
      if (this.#retryTimer !== null) clock.clear(this.#retryTimer);
      this.#retryTimer = clock.after(CHECKPOINT_RETRY_MS, () => {
        this.#retryTimer = null;
        this.#writes.wake();
      });
    });
  }

  async #refuseBlocked(engine: Engine, full: boolean): Promise<void> {
    // An append in flight still reads what belongs to its requests.
    await engine.journal.quiet();
    if (this.#engine !== engine || this.#state !== 'ready') return;
    const detail = 'no checkpoint can be written, and the next start could not replay more';
    const fault: StoreFault & DeviceFault = full ? { code: 'FULL' } : { code: 'IO', detail };
    this.#writes.refuseBlocked(fault, new StoreError(full ? `the disk is full: ${detail}` : detail, fault));
  }

  /** Writes a checkpoint of everything published so far. */
  async checkpoint(): Promise<void> {
    const engine = await this.#whenReady();
    await engine.checkpointer.run();
  }

  /** Bytes of a layer's blocks. Throws StoreError UNKNOWN_LAYER, CLOSED. */
  async blockBytesOf(layer: number): Promise<number> {
    return presentLayer((await this.#whenReady()).map.layers, layer).blockBytes;
  }

  /** Throws StoreError UNKNOWN_LAYER, DAMAGED, CLOSED. */
  usage(layer: number): Promise<BlockUsage> {
    return this.#compare((engine) => usageOf(engine, presentLayer(engine.map.layers, layer)));
  }

  /** `from` null: nothing. Throws StoreError UNKNOWN_LAYER, UNRELATED, DAMAGED, CLOSED. */
  difference(from: number | null, to: number, firstBlock: number, rangesMax: number): Promise<Difference> {
    return this.#compare((engine) => {
      const before = from === null ? null : presentLayer(engine.map.layers, from);
      return differenceOf(engine, before, presentLayer(engine.map.layers, to), firstBlock, rangesMax);
    });
  }

  /** Walks maps. A store that reopens meanwhile lets go of its map: then the walk begins again with the next. */
  async #compare<T>(walk: (engine: Engine) => Promise<T>): Promise<T> {
    for (;;) {
      const engine = await this.#whenReady();
      try {
        return await walk(engine);
      } catch (thrown) {
        if (this.#state === 'ready' && this.#engine === engine) throw thrown;
      }
    }
  }

  /** Resolves to the engine when it serves. Throws StoreError CLOSED. */
  ready(): Promise<Engine> {
    return this.#whenReady();
  }

  /** What a scrub works with; it stands behind all reads and changes. */
  scrubDependencies(keyring: ScrubDependencies['keyring']): ScrubDependencies {
    return {
      files: this.#io.files,
      clock: this.#io.clock,
      store: () => this.#whenReady(),
      keyring,
      busy: () => this.#reads.busy || this.#writes.waiting > 0,
    };
  }

  /** What re-sealing the blocks of a head works with. `demandOpen` throws when its keys may not be used any more. */
  resealDependencies(head: Head, demandOpen: () => void): ResealDependencies {
    return {
      ...this.#io,
      store: async () => {
        const engine = await this.#whenReady();
        if (this.#cleaner === null) throw closedError();
        return { engine, cleaner: this.#cleaner };
      },
      keys: () => {
        demandOpen();
        if (head.layer.gone) throw closedError();
        return head;
      },
      leaveSegment: (engine) => this.layers.leaveSegment(engine),
      busy: () => this.#reads.busy || this.#writes.waiting > 0,
    };
  }

  /** Resolves when no layer is being merged, or a merge has failed and waits for its next try. */
  async merged(): Promise<void> {
    await this.#merger?.settled();
  }

  /** Cleans until little is left to gain, as it is done while nobody writes. */
  async cleaned(): Promise<void> {
    await this.#cleaner?.settle();
  }

  /** Progress of a merge; null when the layer is not being merged. */
  mergeProgress(layer: Layer): MergeProgress | null {
    return this.#merger?.progressOf(layer) ?? null;
  }

  /** Opens the way into a layer; copies the keys. Throws DeviceError when the layer is unknown. */
  openHead(options: HeadOptions): Head {
    if (this.#engine === null) throw new StoreError('the store is not open', { code: 'CLOSED' });
    const head = new Head(options, this.#engine, {
      reads: this.#reads,
      writes: this.#writes,
      engine: () => (this.#state === 'ready' ? this.#engine : null),
      whenReady: () => this.#whenReady(),
      keys: this.#io.keys,
    });
    this.#heads.add(head);
    return head;
  }

  /** Completes what was accepted on a head, then lets go of it. */
  async closeHead(head: Head): Promise<void> {
    head.close();
    if (this.#state !== 'closed') await head.drain();
    if (this.#heads.delete(head)) head.release();
  }

  /**
   * Completes what was accepted, writes a checkpoint and lets go of everything. Idempotent. Serves until `served`
   * resolves, unless the disk fails first: then what waits for it is refused, since it may never come back.
   */
  close(served: Promise<unknown> = Promise.resolve()): Promise<void> {
    this.#closing ??= this.#closeNow(served);
    return this.#closing;
  }

  async #closeNow(served: Promise<unknown>): Promise<void> {
    const { clock } = this.#io;
    this.#tryNow();
    await Promise.race([
      served,
      new Promise<void>((resolve) => {
        if (this.#state === 'reopening') resolve();
        else this.#broken.push(resolve);
      }),
    ]);
    for (const head of this.#heads) head.close();
    if (this.#checkpointTimer !== null) clock.clear(this.#checkpointTimer);
    await this.#reopening;
    const engine = this.#engine;
    // What it has begun ends while the queue still takes its record.
    const ended = Promise.all(engine?.background.map((each) => each.close()) ?? []);
    if (engine !== null && this.#state === 'ready') {
      await new Promise<void>((resolve) => {
        this.#writes.fence(null, resolve);
      });
    }
    // The disk may have failed meanwhile: then the engine is gone, and its map with it.
    if (engine !== null && this.#state === 'ready' && this.#engine === engine) {
      // What was acknowledged is durable after a stop, whether or not the map has room for a checkpoint.
      await engine.journal.synced(engine.journal.appended).catch(() => undefined);
    }
    if (engine !== null && this.#state === 'ready' && this.#engine === engine) {
      await engine.checkpointer.run(true).catch((thrown: unknown) => {
        this.#io.log.warn({ error: messageOf(thrown) }, 'store: no checkpoint at close; the next start replays more');
      });
    }
    const fault: DeviceFault = { code: 'CLOSED' };
    this.#become('closed', 'the store is closed');
    if (this.#checkpointTimer !== null) clock.clear(this.#checkpointTimer);
    if (this.#retryTimer !== null) clock.clear(this.#retryTimer);
    this.#reads.end(fault);
    this.#writes.end(fault, closedError());
    await this.#reads.drain();
    await this.#writes.rolled();
    // The disk may have failed under the last checkpoint.
    await this.#reopening;
    await ended;
    await engine?.journal.drain();
    await engine?.checkpointer.settled();
    await engine?.dispose();
    this.#engine = null;
  }
}

function closedError(): StoreError {
  return new StoreError('the store is closed', { code: 'CLOSED' });
}
