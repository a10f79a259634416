import type { Clock, Timer } from '../base/clock.js';
import type { BlockRequest, WaitingEnd } from '../device/block-device.js';
import { LONG_TICK_MS, TICK_MS, TICK_SHARE, WAIT_MS_MAX } from './limits.js';
import { bytesOf, Direction, directionOf, operationsOf } from './request-cost.js';
import { type Burst, RateLimit } from './rate-limit.js';
import type { RequestSink } from './request-sink.js';
import type { ThrottleStatistics } from './throttle-statistics.js';
import { WaitingRequests } from './waiting-requests.js';

/** Limits a second; 0: none. */
export interface Rates {
  readonly operations: number;
  readonly bytes: number;
}

export interface ThrottleLimits {
  /** Of reads and changes together. */
  readonly total: Rates;
  readonly read: Rates;
  readonly write: Rates;
  readonly burst: Burst;
}

/** The limits of one scope, as buckets. */
interface Scope {
  readonly operations: RateLimit | null;
  readonly bytes: RateLimit | null;
}

const NO_SCOPE: Scope = { operations: null, bytes: null };

/**
 * Holds the requests of one volume to its limits. What may go goes in the turn in which it came; the rest waits in the
 * order in which it came, reads apart from changes, behind one timer. Nothing is allocated per request.
 *
 * Nobody overtakes a request that waits for what reads and changes share: a large one would never have its turn. FLUSH
 * does not come here, it moves no data, and waits for nothing that the volume has not been given yet.
 */
export class Throttle implements RequestSink {
  readonly #next: RequestSink;
  readonly #clock: Clock;
  readonly #statistics: ThrottleStatistics;
  /** By Direction. */
  readonly #waiting: readonly [WaitingRequests, WaitingRequests] = [new WaitingRequests(), new WaitingRequests()];
  #total: Scope = NO_SCOPE;
  /** By Direction. */
  #scopes: readonly [Scope, Scope] = [NO_SCOPE, NO_SCOPE];
  #came = 0;
  #timer: Timer | null = null;
  #dueMs = Infinity;
  #isPumping = false;

  constructor(
    limits: ThrottleLimits,
    dependencies: { readonly next: RequestSink; readonly clock: Clock; readonly statistics: ThrottleStatistics },
  ) {
    this.#next = dependencies.next;
    this.#clock = dependencies.clock;
    this.#statistics = dependencies.statistics;
    this.configure(limits);
  }

  get waiting(): number {
    return this.#waiting[Direction.READ].length + this.#waiting[Direction.WRITE].length;
  }

  /** Takes effect at once, also for what waits. Buckets start full, but what is owed stays owed. */
  configure({ total, read, write, burst }: ThrottleLimits): void {
    const nowMs = this.#clock.monotonicMs();
    const scope = (rates: Rates, before: Scope): Scope => ({
      operations: rates.operations > 0 ? new RateLimit(rates.operations, burst, nowMs, before.operations) : null,
      bytes: rates.bytes > 0 ? new RateLimit(rates.bytes, burst, nowMs, before.bytes) : null,
    });
    this.#total = scope(total, this.#total);
    const [reads, writes] = this.#scopes;
    this.#scopes = [scope(read, reads), scope(write, writes)];
    this.#stopTimer();
    this.#pump();
  }

  submit(request: BlockRequest): void {
    const nowMs = this.#clock.monotonicMs();
    const direction = directionOf(request);
    if (this.#isFree(nowMs, direction) && this.#waitMs(nowMs, request, direction) === 0) {
      this.#pay(request, direction);
      this.#next.submit(request);
      return;
    }
    const queue = this.#waiting[direction];
    queue.push(request, this.#came);
    this.#came += 1;
    this.#statistics.began(nowMs);
    // Behind others of its kind there is nothing to look at: the timer is set for the first of them.
    if (queue.length === 1) this.#pump();
  }

  /** Ends the waiting of those that `of` picks. Those that are served are charged nothing. */
  endWaiting(how: WaitingEnd, of: (request: BlockRequest) => boolean): void {
    const ended = this.#waiting.flatMap((queue) => queue.remove(of));
    this.#statistics.ended(this.#clock.monotonicMs(), ended.length);
    if (this.waiting === 0) this.#stopTimer();
    for (const request of ended) {
      if (how === 'serve') this.#next.submit(request);
      else request.done({ code: 'CLOSED' });
    }
    this.#pump();
  }

  readonly #fired = (): void => {
    this.#timer = null;
    this.#dueMs = Infinity;
    this.#pump();
  };

  /** Whether a request of a kind would overtake nobody whom it must not. */
  #isFree(nowMs: number, direction: Direction): boolean {
    if (this.waiting === 0) return !this.#isPumping;
    const other = direction === Direction.READ ? Direction.WRITE : Direction.READ;
    return !this.#isPumping && this.#waiting[direction].length === 0 && !this.#sharedBlocks(nowMs, other);
  }

  /** Lets go on what may, then sets the timer for the next that will. */
  #pump(): void {
    // What a completed request's issuer submits in its place is seen by the loop that is running.
    if (this.#isPumping || this.waiting === 0) return;
    this.#isPumping = true;
    const nowMs = this.#clock.monotonicMs();
    const [reads, writes] = this.#waiting;
    let waitMs = 0;
    while (waitMs === 0 && this.waiting > 0) {
      const first = reads.firstNumber() < writes.firstNumber() ? Direction.READ : Direction.WRITE;
      waitMs = this.#goOn(nowMs, first);
      if (waitMs === 0 || this.#sharedBlocks(nowMs, first)) continue;
      // It waits for what its kind alone may have: the other kind goes on meanwhile.
      const other = first === Direction.READ ? Direction.WRITE : Direction.READ;
      if (this.#waiting[other].length > 0) waitMs = Math.min(waitMs, this.#goOn(nowMs, other));
    }
    this.#isPumping = false;
    if (this.waiting > 0) this.#setTimer(nowMs, waitMs);
  }

  /** Lets the first of a kind go on, or answers how many milliseconds it has to wait. */
  #goOn(nowMs: number, direction: Direction): number {
    const queue = this.#waiting[direction];
    const request = queue.first();
    if (request === undefined) return Infinity;
    const waitMs = this.#waitMs(nowMs, request, direction);
    if (waitMs > 0) return waitMs;
    queue.shift();
    this.#statistics.ended(nowMs, 1);
    this.#pay(request, direction);
    this.#next.submit(request);
    return 0;
  }

  #sharedBlocks(nowMs: number, direction: Direction): boolean {
    const request = this.#waiting[direction].first();
    return request !== undefined && scopeWaitMs(this.#total, nowMs, request) > 0;
  }

  #waitMs(nowMs: number, request: BlockRequest, direction: Direction): number {
    const sharedMs = scopeWaitMs(this.#total, nowMs, request);
    return Math.max(sharedMs, scopeWaitMs(this.#scopes[direction], nowMs, request));
  }

  #pay(request: BlockRequest, direction: Direction): void {
    pay(this.#total, request);
    pay(this.#scopes[direction], request);
  }

  #setTimer(nowMs: number, waitMs: number): void {
    const tickMs = Math.min(Math.max(waitMs * this.waiting * TICK_SHARE, TICK_MS), LONG_TICK_MS);
    const delayMs = Math.min(Math.max(waitMs, tickMs), WAIT_MS_MAX);
    if (this.#timer !== null && this.#dueMs <= nowMs + delayMs) return;
    this.#stopTimer();
    this.#dueMs = nowMs + delayMs;
    this.#timer = this.#clock.after(delayMs, this.#fired);
  }

  #stopTimer(): void {
    if (this.#timer !== null) this.#clock.clear(this.#timer);
    this.#timer = null;
    this.#dueMs = Infinity;
  }
}

function scopeWaitMs({ operations, bytes }: Scope, nowMs: number, request: BlockRequest): number {
  const forOperations = operations === null ? 0 : operations.waitMs(nowMs, operationsOf(request));
  const moved = bytesOf(request);
  // Who moves nothing does not wait for the debt of those who do.
  return bytes === null || moved === 0 ? forOperations : Math.max(forOperations, bytes.waitMs(nowMs, moved));
}

function pay({ operations, bytes }: Scope, request: BlockRequest): void {
  operations?.take(operationsOf(request));
  bytes?.take(bytesOf(request));
}
