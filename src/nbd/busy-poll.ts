import type { Clock } from '../base/clock.js';
import { BUSY_POLL_ANSWERS_MIN, BUSY_POLL_MS } from './limits.js';

/**
 * Keeps the event loop awake for a moment after a session has answered everything, while its client asks in quick
 * succession. A client with one request at a time otherwise pays twice for each: the kernel puts our core to sleep, and
 * an interrupt wakes it (in a virtual machine each costs tens of microseconds). Requests that come more slowly than
 * BUSY_POLL_MS never make it poll, so an idle or throttled node burns nothing; and it never polls while the device has
 * work, whose threads want the core.
 */
export class BusyPoll {
  readonly #clock: Clock;
  #isOn: boolean;
  #lastMs = -Infinity;
  /** Answers in a row that followed each other within BUSY_POLL_MS. */
  #quick = 0;
  /** When it ends unless something is answered before. */
  #untilMs = -Infinity;
  #isPolling = false;
  readonly #turn = (): void => {
    if (this.#clock.monotonicMs() < this.#untilMs) {
      this.#clock.endOfTurn(this.#turn);
      return;
    }
    // In vain, unless the device got work: such a client is not worth it.
    if (this.#untilMs !== -Infinity) this.#quick = 0;
    this.#isPolling = false;
  };

  constructor(clock: Clock, isOn: boolean) {
    this.#clock = clock;
    this.#isOn = isOn;
  }

  /** A session has nothing left to do: it is its client's turn. */
  answered(): void {
    if (!this.#isOn) return;
    const nowMs = this.#clock.monotonicMs();
    this.#quick = nowMs - this.#lastMs < BUSY_POLL_MS ? this.#quick + 1 : 0;
    this.#lastMs = nowMs;
    if (this.#quick < BUSY_POLL_ANSWERS_MIN) return;
    this.#untilMs = nowMs + BUSY_POLL_MS;
    if (this.#isPolling) return;
    this.#isPolling = true;
    this.#clock.endOfTurn(this.#turn);
  }

  /** The device has work of a session. */
  rest(): void {
    this.#untilMs = -Infinity;
  }

  stop(): void {
    this.#isOn = false;
    this.rest();
  }
}
