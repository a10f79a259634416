import type { Clock, Timer } from '../../base/clock.js';
import { messageOf } from '../../base/errors.js';
import type { Log } from '../../base/log.js';
import type { Checksums } from '../../io/block-keys.js';
import type { Files } from '../../io/files.js';
import type { Checkpointer } from '../checkpointer.js';
import type { Journal } from '../journal/journal.js';
import type { SegmentFiles } from '../journal/segment-files.js';
import type { SegmentPool } from '../journal/segment-pool.js';
import type { SegmentRow, SegmentTable } from '../journal/segment-table.js';
import {
  CLEANER_CHECK_MS,
  CLEANER_PUBLISH_LEAVES,
  CLEANER_TURN_BLOCKS,
  CLEANER_UNCHECKPOINTED_MAX,
  COLD_TIERS,
  LEAF_BLOCKS,
} from '../limits.js';
import type { BlockMap } from '../map/block-map.js';
import type { LeafMoves, Move } from '../map/leaf-moves.js';
import type { Layer } from '../map/layer.js';
import { holdersOf } from '../map/layer-tree.js';
import { ColdStream, type Copied } from './cold-stream.js';
import { CleaningPolicy } from './cleaning-policy.js';
import { VictimScan, type FoundBlock } from './victim-scan.js';

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
  readonly #scan: VictimScan;
  readonly #streams: ColdStream[];
  /** Victims of which nothing is live, until a checkpoint lets them go: slot and generation. */
  readonly #emptied = new Map<number, number>();
  /** Segments that cannot be cleaned: part of them cannot be read, or is damaged. By slot, their generation. */
  readonly #refused = new Map<number, number>();
  #running: Promise<void> | null = null;
  #closed = false;
  #timer: Timer | null = null;
  #appendedAtCheck = -1;
  /** Blocks looked at since the event loop had its turn. */
  #turnBlocks = 0;
  victims = 0;
  movedBlocks = 0;

  constructor(options: { segmentBytes: number; nodeId: Uint8Array }, dependencies: CleanerDependencies) {
    this.#io = dependencies;
    this.#policy = new CleaningPolicy({ segmentBytes: options.segmentBytes }, dependencies);
    this.#scan = new VictimScan(dependencies);
    this.#streams = Array.from(
      { length: COLD_TIERS },
      (_, n) => new ColdStream({ ...options, tier: n + 1 }, dependencies),
    );
    this.#arm();
  }

  /** Bytes appended for moved blocks since start, headers and padding included. */
  get appendedBytes(): number {
    return this.#streams.reduce((sum, stream) => sum + stream.appendedBytes, 0);
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
    this.#running = this.#run(idle)
      .catch((thrown: unknown) => {
        if (this.#closed) return;
        this.#io.log.warn({ error: messageOf(thrown) }, 'store: cleaning failed; it is tried again');
      })
      .finally(() => {
        this.#running = null;
      });
  }

  /** Cleans until there is room again, or, while nobody writes, until little is left to gain. */
  async #run(idle: boolean): Promise<void> {
    while (!this.#closed) {
      const quiet = idle && this.#io.journal.appendedBytes === this.#appendedAtCheck;
      if (!this.#policy.pressed && !quiet) break;
      if (!(await this.#step(quiet && !this.#policy.pressed))) break;
    }
    await this.#free();
  }

  /**
   * Makes room for data that waits for a segment: cleans until one is free. When nothing is left to gain before, the space
   * is really used up.
   */
  async makeRoom(): Promise<void> {
    while (this.#running !== null) await this.#running;
    if (this.#closed) return;
    const running = this.#makeRoom().finally(() => {
      this.#running = null;
    });
    this.#running = running.catch(() => undefined);
    await running;
  }

  async #makeRoom(): Promise<void> {
    const { pool, table } = this.#io;
    await this.#free();
    // Each segment is worth one look: what is gained by less is gained by nothing.
    for (let steps = table.count('chain') + table.count('cold'); steps > 0 && !pool.has('data'); steps -= 1) {
      if (this.#closed || !(await this.#step(false))) break;
      await this.#free();
    }
  }

  /** Cleans one victim; false when none is worth it. `thorough`: for little gain too. */
  async #step(thorough: boolean): Promise<boolean> {
    const { checkpointer, journal } = this.#io;
    let victim = this.#policy.next(thorough, this.#unfit());
    const behind = checkpointer.generation < journal.position.generation;
    if (victim === null && behind && !(thorough && this.#policy.lean)) {
      // What a start would replay cannot be freed; with a newer checkpoint less would be.
      await checkpointer.run();
      victim = this.#policy.next(thorough, this.#unfit());
    }
    if (victim === null) return false;
    // A victim takes at most one segment and gives one back.
    if (!this.#io.pool.has('moving')) await this.#free();
    const outcome = await this.#clean(victim);
    if (outcome === 'full') return false;
    if (outcome === 'refused') this.#refused.set(victim.slot, victim.generation);
    if (this.#emptied.size >= CLEANER_UNCHECKPOINTED_MAX) await this.#free();
    return true;
  }

  #unfit(): Set<number> {
    const { table } = this.#io;
    const unfit = new Set(this.#streams.map((stream) => stream.slot));
    for (const marks of [this.#emptied, this.#refused]) {
      for (const [slot, generation] of marks) {
        if (table.generations[slot] === generation) unfit.add(slot);
        else marks.delete(slot);
      }
    }
    return unfit;
  }

  /** Moves what is live of a victim. refused: it cannot be cleaned. full: there is no segment to move it to. */
  async #clean(victim: SegmentRow): Promise<'emptied' | 'refused' | 'full'> {
    const { log, table } = this.#io;
    const stream = this.#streams[Math.min(victim.tier, COLD_TIERS - 1)];
    const copies: Copied[] = [];
    let full = false;
    const whole = await this.#scan.run(victim.slot, async (blockBytes, blocks, bytes) => {
      for (const { found, holder } of await this.#live(blocks)) {
        const copied: Copied = { layer: holder.id, block: found.block, from: found.location, to: 0 };
        const outcome = await stream.add({ id: holder.id, blockBytes }, copied, bytes, found.at);
        full = outcome === 'full';
        if (outcome !== 'copied') return false;
        copies.push(copied);
      }
      return !this.#closed;
    });
    if (this.#closed) return 'refused';
    await stream.sync();
    await this.#publish(copies);
    this.victims += 1;
    if (whole) {
      table.setLive(victim.slot, 0);
      this.#emptied.set(victim.slot, victim.generation);
      return 'emptied';
    }
    // What was moved so far need not be moved by the next try.
    if (full) return 'full';
    log.error(
      { slot: victim.slot, generation: victim.generation },
      'store: a segment cannot be read to its end, so its space is not given back; scrub the volumes',
    );
    return 'refused';
  }

  /** The blocks that the map says lie where the record has them. */
  async #live(blocks: readonly FoundBlock[]): Promise<{ found: FoundBlock; holder: Layer }[]> {
    const { map, moves, clock } = this.#io;
    this.#turnBlocks += blocks.length;
    if (this.#turnBlocks >= CLEANER_TURN_BLOCKS) {
      this.#turnBlocks = 0;
      await new Promise<void>((resolve) => clock.endOfTurn(resolve));
    }
    const [first] = blocks;
    if (first === undefined) return [];
    const holders = holdersOf(map.layers, first.layer);
    if (holders.length === 0) return [];
    const cold = new Set<number>();
    for (const { block } of blocks) {
      const leaf = Math.floor(block / LEAF_BLOCKS);
      if (holders.some((holder) => moves.isCold(holder, leaf))) cold.add(leaf);
    }
    if (cold.size > 0) await map.prefetchOwn(holders, [...cold]);
    const live: { found: FoundBlock; holder: Layer }[] = [];
    for (const found of blocks) {
      const leaf = Math.floor(found.block / LEAF_BLOCKS);
      const holder = holders.find((each) => moves.ownEntry(each, leaf, found.block % LEAF_BLOCKS) === found.location);
      if (holder !== undefined) live.push({ found, holder });
    }
    return live;
  }

  async #publish(copies: readonly Copied[]): Promise<void> {
    const { map, moves: own, clock, checkpointer } = this.#io;
    const byLayer = new Map<number, Map<number, Move[]>>();
    for (const { layer, block, from, to } of copies) {
      const leaf = Math.floor(block / LEAF_BLOCKS);
      let leaves = byLayer.get(layer);
      if (leaves === undefined) byLayer.set(layer, (leaves = new Map<number, Move[]>()));
      const moves = leaves.get(leaf);
      const move = { n: block % LEAF_BLOCKS, from, to };
      if (moves === undefined) leaves.set(leaf, [move]);
      else moves.push(move);
    }
    for (const [id, leaves] of byLayer) {
      const order = [...leaves.keys()].toSorted((a, b) => a - b);
      for (let at = 0; at < order.length && !this.#closed; at += CLEANER_PUBLISH_LEAVES) {
        const slice = order.slice(at, at + CLEANER_PUBLISH_LEAVES);
        if (map.dirtyLeaves > map.dirtyLeavesMax / 2) await checkpointer.run();
        await map.prefetchOwn(holdersOf(map.layers, id), slice);
        // Asked again: the layer may have been merged, dropped or written to meanwhile.
        for (const holder of holdersOf(map.layers, id)) {
          for (const leaf of slice) this.movedBlocks += own.relocate(holder, leaf, leaves.get(leaf) ?? []);
        }
        await new Promise<void>((resolve) => clock.endOfTurn(resolve));
      }
    }
  }

  /** Frees the emptied victims once the map is durable without them. */
  async #free(): Promise<void> {
    if (this.#emptied.size === 0 || this.#closed) return;
    const { checkpointer, segmentFiles, pool, table } = this.#io;
    const slots = [...this.#emptied].filter(([slot, generation]) => table.generations[slot] === generation);
    await checkpointer.run();
    const free: number[] = [];
    for (const [slot] of slots) {
      // Reads that were under way when their block moved.
      await segmentFiles.whenUnpinned(slot);
      this.#emptied.delete(slot);
      if (table.has(slot) && table.state(slot) !== 'free') free.push(slot);
    }
    if (this.#closed) return;
    await pool.release(free);
    pool.refill();
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
    await this.#running?.catch(() => undefined);
    for (const stream of this.#streams) stream.close();
  }
}
