import type { Checkpointer } from '../checkpointer.js';
import type { SegmentPool } from '../journal/segment-pool.js';
import type { SegmentRow, SegmentTable } from '../journal/segment-table.js';
import type { BlockMap } from '../map/block-map.js';
import {
  IDLE_GARBAGE_MAX,
  IDLE_SEGMENTS_MAX,
  LIVE_SHARE_IDLE_MAX,
  LIVE_SHARE_MAX,
  SPARE_SEGMENTS_LEAST,
  SPARE_SHARE,
  UNFILLED_BYTES_MAX,
} from '../limits.js';

/** When to clean, and what. Live bytes are hints here: a wrong one costs work, never data. */
export class CleaningPolicy {
  readonly #segmentBytes: number;
  readonly #io: {
    readonly table: SegmentTable;
    readonly pool: SegmentPool;
    readonly checkpointer: Checkpointer;
    readonly map: BlockMap;
  };

  constructor(
    options: { segmentBytes: number },
    dependencies: { table: SegmentTable; pool: SegmentPool; checkpointer: Checkpointer; map: BlockMap },
  ) {
    this.#segmentBytes = options.segmentBytes;
    this.#io = dependencies;
  }

  /** A segment of which more is live may take as much room again: blocks and records do not fill one to its end. */
  get #worthMax(): number {
    return LIVE_SHARE_MAX - UNFILLED_BYTES_MAX / this.#segmentBytes;
  }

  /** Few segments are left under the journal's limit. */
  get pressed(): boolean {
    return this.spareShare < 1;
  }

  /** Segments left to spare under the journal's limit, of those that there should be; Infinity without a limit. */
  get spareShare(): number {
    const { pool } = this.#io;
    if (!Number.isFinite(pool.segmentsMax)) return Number.POSITIVE_INFINITY;
    const wanted = Math.max(SPARE_SEGMENTS_LEAST, Math.floor(pool.segmentsMax * SPARE_SHARE));
    return Math.max(0, pool.spare) / wanted;
  }

  /** The journal takes little more than its live bytes. */
  get lean(): boolean {
    const most = this.#io.map.sealedBytes * IDLE_GARBAGE_MAX + IDLE_SEGMENTS_MAX * this.#segmentBytes;
    const { pool } = this.#io;
    return (pool.fileCount - pool.held) * this.#segmentBytes <= most;
  }

  /**
   * The segment that gives most for its cost: dead space, weighed with how long the rest has stayed, since what lives long
   * will go on living (the cost-benefit rule of log-structured file systems). `thorough`: only while the journal takes more
   * than its live bytes explain. null: nothing is worth it.
   */
  next(thorough: boolean, unfit: ReadonlySet<number>): SegmentRow | null {
    if (thorough && this.lean) return null;
    const { pool } = this.#io;
    const live = this.#io.map.sealedBytes;
    let best: SegmentRow | null = null;
    let bestScore = 0;
    let oldest: SegmentRow | null = null;
    let hints = 0;
    const isTight = !pool.has('data');
    for (const row of this.#io.table.rows()) {
      hints += Math.max(0, row.liveBytes);
      if (!this.#fits(row) || unfit.has(row.slot)) continue;
      if (oldest === null || row.generation < oldest.generation) oldest = row;
      const share = Math.min(1, Math.max(0, row.liveBytes / this.#segmentBytes));
      if (share > (thorough ? LIVE_SHARE_IDLE_MAX : this.#worthMax)) continue;
      const age = 1 + pool.generation - row.generation;
      // When only what is held back is left to move blocks to, what takes least of it comes first.
      const score = isTight ? 1 - share : ((1 - share) * age) / (1 + share);
      if (score <= bestScore) continue;
      best = row;
      bestScore = score;
    }
    // More is said to be live than is: somewhere a segment looks full that is not, and reading it tells.
    return best ?? (hints > live + this.#segmentBytes ? oldest : null);
  }

  #fits(row: SegmentRow): boolean {
    // One beside the chain that a crash left before anything in it was published holds nothing.
    if (row.state === 'cold') return true;
    return row.state === 'chain' && row.usedBytes > 0 && row.generation < this.#io.checkpointer.generation;
  }
}
