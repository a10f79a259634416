import { assert } from '../base/assert.js';

/** A held range of bytes; given back with `release`. */
export interface HeldRange {
  readonly first: number;
  readonly end: number;
}

interface Waiting {
  readonly first: number;
  readonly end: number;
  /** Holds the range; without it the range is only passed through. */
  readonly hold: boolean;
  readonly granted: (range: HeldRange) => void;
}

/**
 * Orders changes of overlapping ranges. Every change passes it; only a read-modify-write holds its range, from before
 * its read until its write has been accepted. First come, first served: a change that overlaps an earlier waiting one
 * waits behind it. With nothing held, passing is one comparison.
 */
export class RangeLock {
  #held: HeldRange[] = [];
  #waiting: Waiting[] = [];

  /** Nothing is held or waiting: a change may go on at once. */
  get idle(): boolean {
    return this.#held.length === 0 && this.#waiting.length === 0;
  }

  /** Whether a change of [first, end) may go on at once. */
  free(first: number, end: number): boolean {
    return this.idle || !(overlaps(this.#held, first, end) || overlaps(this.#waiting, first, end));
  }

  /** Calls `granted` once nothing earlier overlaps, possibly now. With `hold` the range stays held until released. */
  acquire(first: number, end: number, hold: boolean, granted: (range: HeldRange) => void): void {
    if (!this.free(first, end)) {
      this.#waiting.push({ first, end, hold, granted });
      return;
    }
    this.#grant({ first, end, hold, granted });
  }

  #grant(request: Waiting): void {
    const range: HeldRange = { first: request.first, end: request.end };
    if (request.hold) this.#held.push(range);
    request.granted(range);
  }

  release(range: HeldRange): void {
    const at = this.#held.indexOf(range);
    assert(at >= 0, 'a held range is released once');
    this.#held.splice(at, 1);
    // Those that still wait are looked at in order, so that none is overtaken by a later one that overlaps it.
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const request of waiting) {
      if (overlaps(this.#held, request.first, request.end) || overlaps(this.#waiting, request.first, request.end)) {
        this.#waiting.push(request);
      } else {
        this.#grant(request);
      }
    }
  }
}

function overlaps(ranges: readonly { first: number; end: number }[], first: number, end: number): boolean {
  return ranges.some((range) => range.first < end && first < range.end);
}
