import { assert } from '../base/assert.js';
import type { Clock, Timer } from '../base/clock.js';
import { Operation, RequestFlag, type BlockRequest, type DeviceFault } from '../device/block-device.js';
import type { Checksums } from '../io/block-keys.js';
import { storedBytesOf } from '../io/record-layout.js';
import { SEALED_ALREADY } from '../io/seal-batch.js';
import type { Engine } from './engine.js';
import { AppendBatch } from './journal/append-batch.js';
import { HoleQueue } from './hole-queue.js';
import { HOLES_HELD_MS_MAX, PAGE_BYTES } from './limits.js';
import type { Layer } from './map/layer.js';
import { isData, type QueuedChange, type QueuedFence, type WriteSource } from './queued-change.js';
import { StoreError } from './store-error.js';
import { WritePace } from './write-pace.js';

/** A layer verb on its way into the journal. */
export interface LayerVerb {
  /** Called when its turn has come: null, or why it cannot be any more. */
  readonly refusal: () => StoreError | null;
  /** Adds its record; false when it does not fit into the segment. */
  readonly add: (batch: AppendBatch<Layer>) => boolean;
  /** Called in the turn in which the record was appended, to change the layer tree in journal order. */
  readonly publish: (sequence: number) => void;
  /** Called when the record is appended (null) or cannot be. */
  readonly done: (failure: StoreError | null, sequence: number) => void;
}

type Item = QueuedChange | QueuedFence | { readonly kind: 'verb'; readonly verb: LayerVerb };

/** How long a full disk is believed before a write asks again. */
const FULL_RETRY_MS = 1000;

/**
 * Every change of the store, in the order in which it was accepted, but for trims of more than a batch: what does not overlap
 * them passes (hole-queue.ts). What arrived in one turn of the event loop becomes one batch; at most one append is in flight
 * while the next one gathers; the map is published in journal order, and only then is a write acknowledged.
 */
export class WriteQueue {
  readonly #clock: Clock;
  readonly #checksums: Checksums;
  readonly #engine: () => Engine | null;
  readonly #replayBytesMax: number;
  readonly #wantCheckpoint: () => void;
  readonly #makeRoom: () => Promise<void>;
  readonly #rolled: () => void;
  /** Accepted items; those before `#head` are done with, or wait in `#holes`. */
  #items: Item[] = [];
  #head = 0;
  #scheduled = false;
  #rolling = false;
  /** The last change of segments; settles, never rejects. */
  #roll: Promise<void> = Promise.resolve();
  #fullUntilMs = 0;
  /** Data waits for the cleaner: only pads are appended. */
  #starved = false;
  /** Why nothing is accepted any more; null while the store lives. */
  #ended: { readonly fault: DeviceFault; readonly error: StoreError } | null = null;
  readonly #pace: WritePace;
  readonly #batch = new AppendBatch<Layer>();
  /** Items completed by the append in flight. */
  #finishing: Item[] = [];
  readonly #holes = new HoleQueue(this.#batch);
  /** When a slice of what waits there was taken last, and what wakes it when it is held. */
  #slicedAtMs = 0;
  #heldTimer: Timer | null = null;

  constructor(
    options: { replayBytesMax: number },
    dependencies: {
      clock: Clock;
      checksums: Checksums;
      /** null while the store reopens: changes wait. */
      engine: () => Engine | null;
      /** Limits are near: a checkpoint would help. */
      wantCheckpoint: () => void;
      /** Cleans until a segment is free, or nothing is left to gain. */
      makeRoom: () => Promise<void>;
      /** A segment was taken. */
      rolled: () => void;
      /** Bytes of data a second that the cleaner can keep up with; Infinity: as many as come. */
      pace: () => number;
    },
  ) {
    this.#replayBytesMax = options.replayBytesMax;
    this.#clock = dependencies.clock;
    this.#checksums = dependencies.checksums;
    this.#engine = dependencies.engine;
    this.#wantCheckpoint = dependencies.wantCheckpoint;
    this.#makeRoom = dependencies.makeRoom;
    this.#rolled = dependencies.rolled;
    this.#pace = new WritePace({
      clock: dependencies.clock,
      rate: dependencies.pace,
      wake: () => {
        this.wake();
      },
    });
  }

  get waiting(): number {
    return this.#items.length - this.#head + this.#holes.length;
  }

  /**
   * Takes a WRITE, TRIM or WRITE_ZEROES whose range is inside the layer and aligned to its blocks. `bound`: a part of
   * a change that was read and modified; it fails if the store reopens before it is in the journal.
   */
  submit(request: BlockRequest, source: WriteSource, bound: boolean): void {
    this.#push({ kind: 'request', request, source, bound, progressBlocks: 0 });
  }

  verb(verb: LayerVerb): void {
    this.#push({ kind: 'verb', verb });
  }

  /** Calls `done` when everything that this source, or with null anybody, had accepted before has been published. */
  fence(source: WriteSource | null, done: () => void): void {
    this.#push({ kind: 'fence', source, done });
  }

  /**
   * The store has reopened. Layer verbs were made for an engine that is gone: they fail. A request whose first parts
   * were appended starts anew: what was not durable of them may be gone, and it must not be acknowledged without them.
   * What was read from the old engine and changed fails, since it may hold bytes that are gone; so does what lies behind
   * the end of a layer whose growth is gone.
   */
  restart(error: StoreError): void {
    const items = this.#takeAll();
    const stale = (item: Item): boolean => item.kind === 'verb' || (item.kind === 'request' && isStale(item));
    this.#items = items.filter((item) => !stale(item));
    for (const item of items) {
      if (item.kind === 'verb') item.verb.done(error, 0);
      else if (item.kind === 'request' && isStale(item)) item.request.done({ code: 'IO', detail: error.message });
      else if (item.kind === 'request') item.progressBlocks = 0;
    }
  }

  /** Resolves when no change of segments is under way: it writes to files that the next engine will use. */
  rolled(): Promise<void> {
    return this.#roll;
  }

  #push(item: Item): void {
    this.#items.push(item);
    this.wake();
  }

  /**
   * Fails everything that waits and everything that still comes: a change that fails here lets go of its range, and the
   * next one of that range arrives only then.
   */
  end(fault: DeviceFault, error: StoreError): void {
    this.#ended = { fault, error };
    this.failAll(fault, error);
  }

  /** Looks again at what waits: called when a limit that held it back may have gone. */
  wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.endOfTurn(this.#pump);
  }

  /** Fails everything that waits if a limit holds it back. No append may be in flight. */
  refuseBlocked(fault: DeviceFault, error: StoreError): void {
    const engine = this.#engine();
    if (engine !== null && this.#overLimit(engine)) this.failAll(fault, error);
  }

  /** Fails everything that waits. */
  failAll(fault: DeviceFault, error: StoreError): void {
    for (const item of this.#takeAll()) {
      if (item.kind === 'request') item.request.done(fault);
      else if (item.kind === 'verb') item.verb.done(error, 0);
      else item.done();
    }
  }

  /** Everything that waits, and waits here no more. */
  #takeAll(): Item[] {
    const items = [...this.#holes.takeAll(), ...this.#items.slice(this.#head)];
    this.#items = [];
    this.#head = 0;
    return items;
  }

  readonly #pump = (): void => {
    this.#scheduled = false;
    if (this.#ended !== null) this.failAll(this.#ended.fault, this.#ended.error);
    const engine = this.#engine();
    if (engine === null || this.#rolling || engine.journal.appending) return;
    if (this.waiting === 0 && !engine.journal.padWanted) return;
    const blocked = this.#blocked(engine);
    if (blocked && !engine.journal.padWanted) return;
    this.#batch.begin(engine.journal.batchStart());
    const needsSegment = blocked ? false : this.#gather(engine);
    if (engine.journal.padWanted || (engine.journal.syncsAhead && !this.#batch.empty)) this.#batch.addPad();
    else this.#batch.closeRecord();
    if (this.#batch.empty) {
      this.#complete(engine);
      if (needsSegment) this.#startRoll(engine);
      // Holes that are held go on when fewer leaves are dirty.
      else if (this.#items.length > this.#head || (this.#holes.length > 0 && !this.#areHolesHeld(engine))) this.wake();
      return;
    }
    this.#pace.took(this.#batch.payloadBytes);
    engine.journal.append(this.#batch, (failure) => {
      this.#appended(engine, failure);
    });
  };

  /** Whether a limit holds changes back; whoever lifts it calls `wake`. */
  #blocked(engine: Engine): boolean {
    if (engine.journal.congested || this.#starved || this.#pace.waits) return true;
    const { checkpointer, map } = engine;
    const half = checkpointer.replayBytes > this.#replayBytesMax / 2 || map.dirtyLeaves > map.dirtyLeavesMax / 2;
    if (half) this.#wantCheckpoint();
    return half && this.#overLimit(engine);
  }

  #overLimit({ checkpointer, map }: Engine): boolean {
    return checkpointer.replayBytes >= this.#replayBytesMax || map.dirtyLeaves >= map.dirtyLeavesMax;
  }

  /** While the map has many dirty leaves, those that holes would add wait: they leave the rest to data, but never wait for long. */
  #areHolesHeld({ map }: Engine): boolean {
    if (!this.#holes.wantsLeaves || map.dirtyLeaves <= map.dirtyLeavesMax / 2) return false;
    const leftMs = this.#slicedAtMs + HOLES_HELD_MS_MAX - this.#clock.monotonicMs();
    if (leftMs <= 0) return false;
    this.#heldTimer ??= this.#clock.after(leftMs, () => {
      this.#heldTimer = null;
      this.wake();
    });
    return true;
  }

  /** Moves items into the batch until it is full. True when the next item needs another segment. */
  #gather(engine: Engine): boolean {
    const { journal } = engine;
    this.#holes.begin();
    this.#passFences();
    const next = this.#items.at(this.#head);
    // Verbs want an empty batch, and so does data that is to be refused.
    const isAlone = next?.kind === 'verb' || (journal.reserved && next !== undefined && isData(next));
    if (this.#holes.length > 0 && !isAlone && !this.#areHolesHeld(engine)) {
      if (journal.spent) return true;
      this.#slicedAtMs = this.#clock.monotonicMs();
      if (this.#holes.gather(engine, this.#finishing)) return this.#batch.empty;
    }
    this.#holes.beginNew();
    const needsSegment = this.#gatherInOrder(engine);
    this.#compact();
    return needsSegment;
  }

  /** Nothing is in flight here, so everything before a fence is published while this batch holds nothing, but for large holes. */
  #passFences(): void {
    for (;;) {
      const item = this.#items.at(this.#head);
      if (item?.kind !== 'fence' || !this.#batch.empty || this.#finishing.length > 0) return;
      this.#head += 1;
      if (this.#holes.has(item.source)) this.#holes.push(item);
      else item.done();
    }
  }

  #gatherInOrder(engine: Engine): boolean {
    for (;;) {
      this.#passFences();
      const waited = this.#holes.data;
      const item = waited ?? this.#items.at(this.#head);
      if (item === undefined || item.kind === 'fence') return false;
      if (engine.journal.spent) return this.#batch.empty;
      if (item.kind === 'verb') {
        // It sees the tree as everything before it leaves it, but for holes that are not acknowledged.
        if (!this.#batch.empty || this.#finishing.length > 0) return false;
        const refusal = item.verb.refusal();
        if (refusal !== null) {
          this.#head += 1;
          item.verb.done(refusal, 0);
          continue;
        }
        if (!item.verb.add(this.#batch)) return true;
        this.#pass(null);
        this.#finishing.push(item);
        // Alone at the end of its batch: publishing it must not overtake the extents before it.
        return false;
      }
      const isFirst = item.progressBlocks === 0;
      if (waited === null && isFirst && this.#holes.length > 0 && this.#holes.overlaps(item)) {
        this.#head += 1;
        this.#holes.push(item);
        continue;
      }
      if (item.source.layer.gone) {
        this.#pass(waited);
        item.request.done({ code: 'CLOSED' });
        continue;
      }
      if (isData(item) && engine.journal.reserved) return this.#batch.empty;
      const before = item.progressBlocks;
      if (isData(item) ? this.#addData(item) : this.#holes.add(engine, item)) {
        this.#pass(waited);
        this.#finishing.push(item);
      } else if (isData(item) || !this.#holes.isSliced) {
        // Without payload so far the limit was the segment's end.
        return this.#batch.payloadBytes === 0 && this.#batch.empty;
      } else if (item.progressBlocks === before) {
        // Others have used up the slice; the next batch has another.
        return false;
      } else {
        // What comes behind it need not wait for the rest.
        this.#head += 1;
        this.#holes.push(item);
      }
    }
  }

  /** The item at hand is done with. */
  #pass(waited: QueuedChange | null): void {
    if (waited === null) this.#head += 1;
    else this.#holes.shift();
  }

  #compact(): void {
    if (this.#head === this.#items.length) {
      this.#items.length = 0;
      this.#head = 0;
    } else if (this.#head > 1024) {
      this.#items.splice(0, this.#head);
      this.#head = 0;
    }
  }

  /** Adds as many blocks of a write as fit; zero blocks become holes, sealed ones stay as they are. Whether all are in. */
  #addData(item: QueuedChange): boolean {
    const batch = this.#batch;
    const { request, source } = item;
    const { layer, sealing } = source;
    const { data } = request;
    const { blockBytes } = layer;
    const first = request.offsetBytes / blockBytes;
    const count = request.lengthBytes / blockBytes;
    const isSealed = (request.flags & RequestFlag.SEALED) !== 0;
    const step = isSealed ? storedBytesOf(blockBytes) : blockBytes;
    let sourceNumber = -1;
    let n = item.progressBlocks;
    while (n < count) {
      batch.openRecord(layer, source.epoch);
      // Alternating data and zeros use an extent each.
      const room = Math.min(batch.room(), count - n, batch.extentsLeft - 1);
      if (room === 0) break;
      for (const end = n + room; n < end; n += 1) {
        const at = request.dataOffset + n * step;
        if (!isSealed && data[at] === 0 && data[at + 511] === 0 && this.#checksums.isZero(data, at, blockBytes)) {
          batch.addZeros(first + n, 1);
          continue;
        }
        if (sourceNumber < 0) {
          sourceNumber = batch.seal.sources.length;
          batch.seal.sources.push(data);
        }
        if (isSealed) batch.addBlock(first + n, sourceNumber, at, SEALED_ALREADY, 0);
        else batch.addBlock(first + n, sourceNumber, at, sealing.id, sealing.counter++);
      }
    }
    item.progressBlocks = n;
    return n === count;
  }

  #appended(engine: Engine, failure: StoreError | null): void {
    if (failure !== null) {
      const items = this.#finishing;
      this.#finishing = [];
      for (const item of items) {
        if (item.kind === 'request') item.request.done({ code: 'IO', detail: failure.message });
        else if (item.kind === 'verb') item.verb.done(failure, 0);
      }
      return;
    }
    // 1. Publish in journal order.
    const { map } = engine;
    for (let n = 0; n < this.#batch.publicationCount; n += 1) {
      const row = this.#batch.publications[n];
      if (row.location === 0) map.setHole(row.layer, row.first, row.count, row.sequence);
      else map.setBlocks(row.layer, row.first, row.count, row.location, row.sequence);
    }
    // What was trimmed or dropped may be gained.
    const gains = (item: Item): boolean => item.kind !== 'request' || item.request.operation !== Operation.WRITE;
    if (this.#finishing.some(gains)) this.#fullUntilMs = 0;
    // 2. Only then acknowledge.
    this.#complete(engine);
    if (this.waiting > 0) {
      if (engine.journal.room <= 0) this.#startRoll(engine);
      else this.wake();
    }
  }

  /** Completes the items whose last part is in the map. */
  #complete(engine: Engine): void {
    const items = this.#finishing;
    if (items.length === 0) return;
    this.#finishing = [];
    const sequence = this.#batch.sequence - 1;
    for (const item of items) {
      if (item.kind === 'verb') {
        item.verb.publish(sequence);
        item.verb.done(null, sequence);
      } else if (item.kind === 'request') {
        const { request } = item;
        if ((request.flags & RequestFlag.FUA) === 0) request.done(null);
        else this.#whenDurable(engine, request, sequence);
      }
    }
  }

  #whenDurable(engine: Engine, request: BlockRequest, sequence: number): void {
    engine.journal.sync(sequence, (failure) => {
      request.done(failure === null ? null : { code: 'IO', detail: failure.message });
    });
  }

  /**
   * Takes the next segment; on a full disk fails the data writes that wait, and lets holes and verbs use the reserve until
   * only the part of the next start is left of it: then they fail too.
   */
  #startRoll(engine: Engine): void {
    if (this.#rolling) return;
    this.#rolling = true;
    this.#roll = this.#rollNow(engine);
  }

  /** Waits for the cleaner, beside everything else: its checkpoint wants pages closed. Then the segment is tried for again. */
  #starve(engine: Engine): void {
    if (this.#starved) return;
    this.#starved = true;
    const goOn = (): void => {
      this.#starved = false;
      if (this.#engine() !== engine || this.#rolling) {
        this.wake();
        return;
      }
      this.#rolling = true;
      this.#roll = this.#rollNow(engine, true);
    };
    this.#makeRoom().then(goOn, goOn);
  }

  /** `cleaned`: what could be gained by cleaning has been. */
  async #rollNow(engine: Engine, cleaned = false): Promise<void> {
    try {
      const { journal, pool } = engine;
      if (this.#clock.monotonicMs() >= this.#fullUntilMs) {
        if (journal.reserved ? await pool.replenish('data') : await journal.rollOver('data')) {
          this.#rolled();
          return;
        }
        if (!cleaned) {
          this.#starve(engine);
          return;
        }
        this.#fullUntilMs = this.#clock.monotonicMs() + FULL_RETRY_MS;
      }
      this.#failData();
      if (this.waiting === 0) return;
      const goesOn = journal.spent
        ? await pool.replenish('holes')
        : journal.room >= PAGE_BYTES || (await journal.rollOver('holes'));
      if (goesOn) return;
      const left = 'what is left of the space held back is for the next start; free some disk space';
      this.failAll({ code: 'FULL' }, new StoreError(`the disk is full, and ${left}`, { code: 'FULL' }));
    } catch (thrown) {
      engine.journal.fail(thrown);
    } finally {
      this.#rolling = false;
      this.wake();
    }
  }

  #failData(): void {
    assert(this.#finishing.length === 0, 'nothing is in flight while segments change');
    const waiting = this.#items.slice(this.#head);
    const refused = [...this.#holes.takeData(), ...waiting.filter(isData)];
    // Before anybody is told: who is may submit the next.
    this.#items = waiting.filter((item) => !isData(item));
    this.#head = 0;
    for (const { request } of refused) request.done({ code: 'FULL' });
  }
}

function isStale({ request, source, bound }: QueuedChange): boolean {
  const { blockBytes, sizeBlocks } = source.layer;
  return bound || request.offsetBytes + request.lengthBytes > sizeBlocks * blockBytes;
}
