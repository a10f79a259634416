import type { Clock, Timer } from '../../base/clock.js';
import { messageOf } from '../../base/errors.js';
import type { Log } from '../../base/log.js';
import { Mutex } from '../../base/mutex.js';
import type { Checksums } from '../../io/block-keys.js';
import type { Files } from '../../io/files.js';
import { storedBytesOf } from '../../io/record-layout.js';
import type { Checkpointer } from '../checkpointer.js';
import type { Journal } from '../journal/journal.js';
import { ReadAhead } from '../journal/read-ahead.js';
import type { SegmentFiles } from '../journal/segment-files.js';
import type { SegmentPool } from '../journal/segment-pool.js';
import type { SegmentRow, SegmentTable } from '../journal/segment-table.js';
import {
  CLEANER_CHECK_MS,
  CLEANER_LANES,
  CLEANER_TURN_BLOCKS,
  CLEANER_VICTIMS_MAX,
  COLD_TIERS,
  LEAF_BLOCKS,
  PACE_RATE_LEAST,
  PACE_SHARE_LEAST,
} from '../limits.js';
import type { BlockMap } from '../map/block-map.js';
import type { LeafMoves } from '../map/leaf-moves.js';
import { holdersOf } from '../map/layer-tree.js';
import { MovedBlocks } from '../map/moved-blocks.js';
import { StoreError } from '../store-error.js';
import { ColdStream } from './cold-stream.js';
import { CleaningPolicy } from './cleaning-policy.js';
import { EmptiedSegments } from './emptied-segments.js';
import { publishMoved } from './publish-moved.js';
import type { RecordBlocks } from './record-blocks.js';
import { SealingStream } from './sealing-stream.js';
import { VictimScan } from './victim-scan.js';

export interface CleanerDependencies {
  readonly files: Files;
  readonly segmentFiles: SegmentFiles;
  readonly table: SegmentTable;
  readonly pool: SegmentPool;
  readonly map: BlockMap;
  readonly moves: LeafMoves;
  readonly journal: Journal;
  readonly checkpointer: Checkpointer;
  readonly checksums: Checksums;
  readonly clock: Clock;
  readonly log: Log;
  /** Makes a segment's row durable. */
  readonly register: (row: SegmentRow) => Promise<void>;
}

/** What a cleaner has done. */
export interface CleanerWork {
  /** Victims that nothing lives in any more. */
  readonly segments: number;
  readonly blocks: number;
  /** Appended for moved blocks, headers and padding included. */
  readonly bytes: number;
}

/** Victims that are emptied together. */
interface Round {
  readonly victims: Iterator<SegmentRow>;
  /** Those of which everything that is live was copied. */
  readonly whole: { readonly victim: SegmentRow; readonly copiedBytes: number }[];
  /** There was no segment to move blocks to. */
  isFull: boolean;
  isEnded: boolean;
}

/**
 * Gives space back: copies what is live of mostly dead segments beside the chain, sealed as it is, and frees them.
 *
 *   1. Read every record of a victim; what the map still says lies there is copied into a cold stream.
 *   2. Make the copies durable, then publish each, if the map still says what it said.
 *   3. Once a checkpoint has made the map durable, and nobody reads the victim any more, free it.
 *
 * A crash before 3 leaves the old blocks where the old map says they are, so nothing is replayed and no order with the
 * journal is kept.
 */
export class Cleaner {
  readonly #io: CleanerDependencies;
  readonly #policy: CleaningPolicy;
  /** Of each lane. */
  readonly #scans: VictimScan[];
  /** One lane at a time looks for live blocks and copies them; the others read. */
  readonly #copying = new Mutex();
  readonly #streams: ColdStream[];
  /** Where blocks go that are sealed anew, while the cleaner waits (resealer.ts). */
  readonly sealing: SealingStream;
  readonly #emptied: EmptiedSegments;
  /** Segments that cannot be cleaned: part of them cannot be read, or is damaged. By slot, their generation. */
  readonly #refused = new Map<number, number>();
  #running: Promise<void> | null = null;
  #closed = false;
  #timer: Timer | null = null;
  #appendedAtCheck = -1;
  /** What the victims at hand held, and of the record at hand where its live blocks are in its bytes. */
  readonly #moved = new MovedBlocks();
  #at = new Int32Array(0);
  /** Blocks looked at since the event loop had its turn. */
  #turnBlocks = 0;
  #victims = 0;
  #movedBlocks = 0;

  constructor(options: { segmentBytes: number; nodeId: Uint8Array }, dependencies: CleanerDependencies) {
    this.#io = dependencies;
    this.#policy = new CleaningPolicy({ segmentBytes: options.segmentBytes }, dependencies);
    this.#emptied = new EmptiedSegments(options, dependencies);
    this.#scans = Array.from({ length: CLEANER_LANES }, () => new VictimScan(dependencies));
    this.#streams = Array.from(
      { length: COLD_TIERS },
      (_, n) => new ColdStream({ ...options, tier: n + 1 }, dependencies),
    );
    this.sealing = new SealingStream(options, dependencies);
    this.#arm();
  }

  /** Since the store was opened last. */
  get work(): CleanerWork {
    return {
      segments: this.#victims,
      blocks: this.#movedBlocks,
      bytes: this.#copiedBytes + this.sealing.appendedBytes,
    };
  }

  get #copiedBytes(): number {
    return this.#streams.reduce((sum, stream) => sum + stream.appendedBytes, 0);
  }

  /** Bytes a second that data may take while space is short, so that it lasts until there is more; Infinity: it is not. */
  get paceBytesPerSecond(): number {
    const { spareShare } = this.#policy;
    const gain = this.#emptied.gainBytesPerSecond;
    if (spareShare >= 1 || gain === 0) return Number.POSITIVE_INFINITY;
    return Math.max(PACE_RATE_LEAST, gain * Math.max(PACE_SHARE_LEAST, 2 * spareShare));
  }

  #arm(): void {
    this.#timer = this.#io.clock.after(CLEANER_CHECK_MS, () => {
      if (this.#closed) return;
      const { appendedBytes } = this.#io.journal;
      const idle = appendedBytes === this.#appendedAtCheck;
      this.#appendedAtCheck = appendedBytes;
      if (idle || this.#policy.pressed) this.#start(idle);
      this.#arm();
    });
  }

  /** A segment has been taken: there may be too few left. */
  wake(): void {
    if (this.#policy.pressed) this.#start(false);
  }

  #start(idle: boolean): void {
    if (this.#closed || this.#running !== null) return;
    this.#emptied.startGain();
    this.#running = this.#run(idle)
      .catch((thrown: unknown) => {
        if (this.#closed) return;
        this.#io.log.warn({ error: messageOf(thrown) }, 'store: cleaning failed; it is tried again');
      })
      .finally(this.#ended);
  }

  readonly #ended = async (): Promise<void> => {
    await this.#emptied.freed().catch(() => undefined);
    this.#running = null;
  };

  /** Cleans until there is room again, or, while nobody writes, until little is left to gain. */
  async #run(idle: boolean): Promise<void> {
    let more = true;
    while (!this.#closed) {
      const { pressed } = this.#policy;
      const quiet = idle && this.#io.journal.appendedBytes === this.#appendedAtCheck;
      if (more && (pressed || quiet)) {
        more = await this.#step(!pressed);
        continue;
      }
      if (this.#emptied.size === 0) break;
      // Space may have become short meanwhile.
      await this.#emptied.free();
    }
  }

  /**
   * Makes room for data that waits for a segment: cleans until one is free. When nothing is left to gain before, the space
   * is really used up.
   */
  async makeRoom(): Promise<void> {
    while (this.#running !== null) await this.#running;
    if (this.#closed) return;
    await this.alone(() => {
      this.#emptied.startGain();
      return this.#makeRoom();
    });
  }

  async #makeRoom(): Promise<void> {
    const { pool, table } = this.#io;
    await this.#emptied.free();
    // Each segment is worth one look: what is gained by less is gained by nothing.
    for (let steps = table.count('chain') + table.count('cold'); steps > 0 && !pool.has('data'); steps -= 1) {
      if (this.#closed || !(await this.#step(false))) break;
      await this.#emptied.free();
    }
  }

  /** Runs other work that moves blocks, while the cleaner does not. Throws StoreError CLOSED, and what the work throws. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    while (this.#running !== null) await this.#running;
    if (this.#closed) throw new StoreError('the store is closed', { code: 'CLOSED' });
    const running = work();
    this.#running = running.then(this.#ended, this.#ended);
    return running;
  }

  /** Cleans until space is not short any more, or nothing is left to gain: for who takes much of it, before he does. */
  async relieve(): Promise<void> {
    if (!this.#policy.pressed) return;
    await this.#running;
    this.#start(false);
    await this.#running;
  }

  /** Nothing more goes into the segments that are open for moved blocks. As a part of `alone`. */
  async leaveSegments(): Promise<void> {
    for (const stream of [...this.#streams, this.sealing]) await stream.seal();
  }

  /** Whether a segment is open for moved blocks, or was until a moment ago. */
  isOpen(slot: number): boolean {
    return [...this.#streams, this.sealing].some((stream) => stream.holds(slot));
  }

  /**
   * Empties segments and frees them, whatever is gained by it; those stay that cannot be read to their end, or of which it is
   * not known. They lie before the last checkpoint. As a part of `alone`. false when there was no segment to move what lives in them to.
   */
  async discard(segments: readonly SegmentRow[]): Promise<boolean> {
    const { table } = this.#io;
    await this.#emptied.free();
    for (let at = 0; at < segments.length; at += CLEANER_VICTIMS_MAX) {
      const unfit = this.#unfit();
      const victims = segments
        .slice(at, at + CLEANER_VICTIMS_MAX)
        .filter(({ slot, generation }) => table.generations[slot] === generation && !unfit.has(slot))
        .map(({ slot }) => table.row(slot))
        .filter(({ state, usedBytes }) => state === 'cold' || (state === 'chain' && usedBytes > 0));
      if (victims.length === 0) continue;
      const done = await this.#clean(victims);
      await this.#emptied.free();
      if (!done) return false;
    }
    return true;
  }

  /** Cleans the next victims; false when none is worth it. `thorough`: for little gain too. */
  async #step(thorough: boolean): Promise<boolean> {
    const { checkpointer, journal } = this.#io;
    const unfit = this.#unfit();
    let victim = this.#policy.next(thorough, unfit);
    const behind = checkpointer.generation < journal.position.generation;
    if (victim === null && behind && !(thorough && this.#policy.lean)) {
      // What a start would replay cannot be freed; with a newer checkpoint less would be.
      await checkpointer.run();
      victim = this.#policy.next(thorough, unfit);
    }
    if (victim === null) return false;
    // A victim takes at most one segment and gives one back. What is held back is for one round: a crash gives it back only
    // to who has room to clean.
    if (!this.#io.pool.has('data')) await this.#emptied.free();
    const victims: SegmentRow[] = [];
    while (victim !== null && victims.length < CLEANER_VICTIMS_MAX) {
      victims.push(victim);
      unfit.add(victim.slot);
      victim = this.#policy.next(thorough, unfit);
    }
    const isFull = !(await this.#clean(victims));
    const gained = this.#emptied.size > 0;
    if (isFull || thorough) {
      await this.#emptied.free();
    } else {
      // While space is short the next victims are copied beside the checkpoint that lets these go.
      await this.#emptied.freed();
      this.#emptied.begin();
    }
    return gained || !isFull;
  }

  #unfit(): Set<number> {
    const { table } = this.#io;
    const unfit = new Set([...this.#streams, this.sealing].map((stream) => stream.slot));
    for (const slot of this.#emptied.slots()) unfit.add(slot);
    for (const [slot, generation] of this.#refused) {
      if (table.generations[slot] === generation) unfit.add(slot);
      else this.#refused.delete(slot);
    }
    return unfit;
  }

  /**
   * Moves what is live of some victims, with one sync for all of them. false when there was no segment to move it to: what was
   * moved so far need not be moved by the next try.
   */
  async #clean(victims: readonly SegmentRow[]): Promise<boolean> {
    const { files, segmentFiles, table } = this.#io;
    const readAhead = new ReadAhead({ files, segmentFiles });
    for (const { slot, usedBytes } of victims) readAhead.begin(slot, 0, usedBytes);
    const round: Round = { victims: victims.values(), whole: [], isFull: false, isEnded: false };
    this.#moved.clear();
    try {
      // With hardly a segment left one victim is emptied whole, where two would be in part.
      const scans = this.#io.pool.has('data') ? this.#scans : this.#scans.slice(0, 1);
      const lanes = scans.map((scan) => this.#copyInTurn(scan, round));
      await Promise.allSettled(lanes);
      // The first failure, if there was one.
      await Promise.all(lanes);
      if (this.#closed) return false;
      for (const stream of this.#streams) await stream.sync();
    } catch (thrown) {
      for (const stream of this.#streams) await stream.close();
      throw thrown;
    } finally {
      await readAhead.end();
    }
    await publishMoved(this.#io, this.#moved, {
      isEnded: () => this.#closed,
      published: (_, blocks) => {
        this.#movedBlocks += blocks;
      },
    });
    // Not everything may have been published.
    if (this.#closed) return false;
    for (const { victim, copiedBytes } of round.whole) {
      const { slot, generation } = victim;
      table.setLive(slot, 0);
      this.#emptied.add(slot, { generation, copiedBytes });
      this.#victims += 1;
    }
    return !round.isFull;
  }

  /** A lane: copies one victim after the other, until none is left or the round has ended. */
  async #copyInTurn(scan: VictimScan, round: Round): Promise<void> {
    try {
      while (!round.isEnded && !this.#closed) {
        const next = round.victims.next();
        if (next.done === true) return;
        const victim = next.value;
        const copied = await this.#copy(victim, scan, round);
        if (copied === 'bad') this.#refuse(victim);
        else if (copied !== 'cut') round.whole.push({ victim, copiedBytes: copied });
      }
    } catch (thrown) {
      round.isEnded = true;
      throw thrown;
    }
  }

  #refuse({ slot, generation }: SegmentRow): void {
    this.#refused.set(slot, generation);
    this.#io.log.error(
      { slot, generation },
      'store: a segment cannot be read to its end, so its space is not given back; scrub the volumes',
    );
  }

  /**
   * Copies what is live of a victim, and says how many bytes that was. bad: part of it cannot be read, or is damaged. cut: the
   * round has ended, or the cleaner is closed.
   */
  async #copy(victim: SegmentRow, scan: VictimScan, round: Round): Promise<number | 'bad' | 'cut'> {
    const stream = this.#streams[Math.min(victim.tier, COLD_TIERS - 1)];
    let copiedBytes = 0;
    const isWhole = await scan.run(victim.slot, (found, bytes) =>
      this.#copying.run(async () => {
        if (round.isEnded || this.#closed) return false;
        const copied = await this.#copyRecord(found, bytes, stream, round);
        copiedBytes += Math.max(0, copied);
        return copied >= 0 && !this.#closed;
      }),
    );
    if (isWhole) return copiedBytes;
    return round.isEnded || this.#closed ? 'cut' : 'bad';
  }

  /** Copies the live blocks of a record. Returns their bytes; -1 when one of them must stay where it is. */
  async #copyRecord(found: RecordBlocks, bytes: Uint8Array, stream: ColdStream, round: Round): Promise<number> {
    const moved = this.#moved;
    const first = moved.count;
    await this.#listLive(found);
    const { blockBytes } = found;
    for (let place = first; place < moved.count; place += 1) {
      if (!stream.fits(moved.layers[place], blockBytes) && !(await stream.makeFit(moved.layers[place], blockBytes))) {
        round.isFull = true;
        round.isEnded = true;
      } else if (stream.add(moved, place, blockBytes, bytes, this.#at[place - first])) {
        continue;
      }
      moved.count = place;
      return -1;
    }
    return (moved.count - first) * storedBytesOf(blockBytes);
  }

  /** Lists the blocks of a record that the map says lie where the record has them. */
  async #listLive(found: RecordBlocks): Promise<void> {
    const { map, moves, clock } = this.#io;
    this.#turnBlocks += found.count;
    if (this.#turnBlocks >= CLEANER_TURN_BLOCKS) {
      this.#turnBlocks = 0;
      await new Promise<void>((resolve) => clock.endOfTurn(resolve));
    }
    const holders = holdersOf(map.layers, found.layer);
    if (holders.length === 0) return;
    const cold = new Set<number>();
    for (let n = 0; n < found.count; n += 1) {
      const leaf = Math.floor(found.blocks[n] / LEAF_BLOCKS);
      for (const holder of holders) if (moves.isCold(holder, leaf)) cold.add(leaf);
    }
    if (cold.size > 0) await map.prefetchOwn(holders, [...cold]);
    if (this.#at.length < found.count) this.#at = new Int32Array(found.count);
    let listed = 0;
    for (let n = 0; n < found.count; n += 1) {
      const block = found.blocks[n];
      const leaf = Math.floor(block / LEAF_BLOCKS);
      for (const holder of holders) {
        if (moves.ownEntry(holder, leaf, block - leaf * LEAF_BLOCKS) !== found.locations[n]) continue;
        this.#moved.add(holder.id, block, found.locations[n]);
        this.#at[listed] = found.places[n];
        listed += 1;
        break;
      }
    }
  }

  /** Cleans as it does while nobody writes, until little is left to gain. */
  async settle(): Promise<void> {
    await this.#running;
    this.#appendedAtCheck = this.#io.journal.appendedBytes;
    this.#start(true);
    await this.#running;
  }

  /** Stops at the next step. Resolves when nothing is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) this.#io.clock.clear(this.#timer);
    const freed = this.#emptied.close();
    await this.#running?.catch(() => undefined);
    await freed;
    for (const stream of this.#streams) await stream.close();
    await this.sealing.close();
  }
}
