/** What the limits of one volume made its requests wait. It only grows, but for `waiting`. */
export interface ThrottleReading {
  /** Time in which at least one request waited, milliseconds: at most all the time there is. */
  readonly throttledMs: number;
  /** Sum of what each request waited, milliseconds. */
  readonly waitedMs: number;
  /** Requests that had to wait. */
  readonly throttledRequests: number;
  /** Requests that wait now. */
  readonly waiting: number;
}

/** Counts waiting by the length of the queue over time, so that no request carries the time at which it came. */
export class ThrottleStatistics {
  #throttledMs = 0;
  #waitedMs = 0;
  #requests = 0;
  #waiting = 0;
  #atMs: number;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  began(nowMs: number): void {
    this.#count(nowMs);
    this.#waiting += 1;
    this.#requests += 1;
  }

  ended(nowMs: number, requests: number): void {
    this.#count(nowMs);
    this.#waiting -= requests;
  }

  read(nowMs: number): ThrottleReading {
    this.#count(nowMs);
    return {
      throttledMs: this.#throttledMs,
      waitedMs: this.#waitedMs,
      throttledRequests: this.#requests,
      waiting: this.#waiting,
    };
  }

  #count(nowMs: number): void {
    const passedMs = nowMs - this.#atMs;
    this.#atMs = nowMs;
    if (this.#waiting === 0) return;
    this.#throttledMs += passedMs;
    this.#waitedMs += passedMs * this.#waiting;
  }
}
