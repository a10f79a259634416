import { assert } from '../../base/assert.js';
import { SEGMENT_SLOTS_MAX } from '../limits.js';

/**
 * free: its content means nothing. ready: registered under a fresh generation and preallocated, waiting to join the
 * chain. chain: part of the journal. cold: holds blocks that the cleaner moved; it is in no chain, and no start replays it.
 */
export type SegmentState = 'free' | 'ready' | 'chain' | 'cold';

export interface SegmentRow {
  readonly slot: number;
  readonly generation: number;
  readonly stampLow: number;
  readonly stampHigh: number;
  readonly state: SegmentState;
  /** chain: sequence of its first record; else 0. */
  readonly firstSequence: number;
  /** Bytes of live sealed blocks; a hint, the map is the truth. */
  readonly liveBytes: number;
  /** Where its records end; 0: not known, or it is still being appended to. */
  readonly usedBytes: number;
  /** cold: how often its blocks have been moved, at most COLD_TIERS; else 0. */
  readonly tier: number;
}

const STATES: readonly SegmentState[] = ['free', 'ready', 'chain', 'cold'];

/** Every segment slot of the node, as columns by slot: what reads compare generations with. */
export class SegmentTable {
  /** Expected generation by slot, for the read kernel. */
  generations = new Float64Array(64);
  #stampLow = new Uint32Array(64);
  #stampHigh = new Uint32Array(64);
  #state = new Uint8Array(64);
  #firstSequence = new Float64Array(64);
  #live = new Float64Array(64);
  #used = new Float64Array(64);
  #tier = new Uint8Array(64);
  #known = new Uint8Array(64);
  #changed = new Set<number>();
  #slots = 0;

  /** One more than the highest slot in use. */
  get slots(): number {
    return this.#slots;
  }

  has(slot: number): boolean {
    return slot < this.#slots && this.#known[slot] === 1;
  }

  row(slot: number): SegmentRow {
    assert(this.has(slot), 'a row is asked for a known slot');
    return {
      slot,
      generation: this.generations[slot],
      stampLow: this.#stampLow[slot],
      stampHigh: this.#stampHigh[slot],
      state: STATES[this.#state[slot]],
      firstSequence: this.#firstSequence[slot],
      liveBytes: this.#live[slot],
      usedBytes: this.#used[slot],
      tier: this.#tier[slot],
    };
  }

  state(slot: number): SegmentState {
    return STATES[this.#state[slot]];
  }

  put(row: SegmentRow): void {
    const { slot } = row;
    assert(slot >= 0 && slot < SEGMENT_SLOTS_MAX, 'a slot fits 24 bits');
    this.#grow(slot + 1);
    this.generations[slot] = row.generation;
    this.#stampLow[slot] = row.stampLow;
    this.#stampHigh[slot] = row.stampHigh;
    this.#state[slot] = STATES.indexOf(row.state);
    this.#firstSequence[slot] = row.firstSequence;
    this.#live[slot] = row.liveBytes;
    this.#used[slot] = row.usedBytes;
    this.#tier[slot] = row.tier;
    this.#known[slot] = 1;
    this.#changed.add(slot);
  }

  /** The segment joins the chain; its first record will have `firstSequence`. */
  join(slot: number, firstSequence: number): void {
    assert(this.has(slot) && this.state(slot) === 'ready', 'only a ready segment joins the chain');
    this.#state[slot] = STATES.indexOf('chain');
    this.#firstSequence[slot] = firstSequence;
    this.#changed.add(slot);
  }

  /** A ready segment takes blocks that the cleaner moves. */
  chill(slot: number, tier: number): void {
    assert(this.has(slot) && this.state(slot) === 'ready', 'only a ready segment is taken for moved blocks');
    this.#state[slot] = STATES.indexOf('cold');
    this.#tier[slot] = tier;
    this.#changed.add(slot);
  }

  /** Where its records end, now that nothing is appended behind them, or so far. */
  setUsed(slot: number, bytes: number): void {
    this.#used[slot] = bytes;
    this.#changed.add(slot);
  }

  /** What is live in it, counted. */
  setLive(slot: number, bytes: number): void {
    this.#live[slot] = bytes;
    this.#changed.add(slot);
  }

  /** Its content means nothing any more. */
  free(slot: number): void {
    assert(this.has(slot), 'a known slot is freed');
    this.#state[slot] = STATES.indexOf('free');
    this.#firstSequence[slot] = 0;
    this.#live[slot] = 0;
    this.#used[slot] = 0;
    this.#tier[slot] = 0;
    this.#changed.add(slot);
  }

  addLive(slot: number, bytes: number): void {
    if (slot >= this.#slots) return;
    this.#live[slot] += bytes;
    this.#changed.add(slot);
  }

  /** Rows changed since they were last taken, for the checkpoint. */
  takeChanged(): SegmentRow[] {
    const rows = [...this.#changed].map((slot) => this.row(slot));
    this.#changed.clear();
    return rows;
  }

  /** Gives rows back that could not be written. */
  keepChanged(rows: readonly SegmentRow[]): void {
    for (const row of rows) this.#changed.add(row.slot);
  }

  *rows(): Generator<SegmentRow> {
    for (let slot = 0; slot < this.#slots; slot += 1) if (this.#known[slot] === 1) yield this.row(slot);
  }

  count(state: SegmentState): number {
    let found = 0;
    for (let slot = 0; slot < this.#slots; slot += 1) {
      if (this.#known[slot] === 1 && STATES[this.#state[slot]] === state) found += 1;
    }
    return found;
  }

  #grow(slots: number): void {
    if (slots > this.#slots) this.#slots = slots;
    if (slots <= this.generations.length) return;
    const size = Math.max(slots, this.generations.length * 2);
    const grown = <T extends Float64Array | Uint32Array | Uint8Array>(to: T, from: T): T => {
      to.set(from);
      return to;
    };
    this.generations = grown(new Float64Array(size), this.generations);
    this.#stampLow = grown(new Uint32Array(size), this.#stampLow);
    this.#stampHigh = grown(new Uint32Array(size), this.#stampHigh);
    this.#state = grown(new Uint8Array(size), this.#state);
    this.#firstSequence = grown(new Float64Array(size), this.#firstSequence);
    this.#live = grown(new Float64Array(size), this.#live);
    this.#used = grown(new Float64Array(size), this.#used);
    this.#tier = grown(new Uint8Array(size), this.#tier);
    this.#known = grown(new Uint8Array(size), this.#known);
  }
}
