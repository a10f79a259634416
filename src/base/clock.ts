/** Time, given from outside, so that a simulated world can hold the clock. */
export interface Clock {
  /** Wall clock, milliseconds since 1970. For people and logs only: it may jump. */
  wallMs(): number;
  /** Monotonic milliseconds with fractions. For durations and deadlines. */
  monotonicMs(): number;
  /** Runs `callback` once after `delayMs`; does not keep the process alive. Returns a handle for `clear`. */
  after(delayMs: number, callback: () => void): Timer;
  clear(timer: Timer): void;
  /** Runs `callback` after the present turn of the event loop: everything that already arrived is handled before it. */
  endOfTurn(callback: () => void): void;
}

export type Timer = { readonly unit: 'timer' };

/** Randomness, given from outside for the same reason. */
export interface Random {
  /** `count` random bytes of cryptographic quality. */
  bytes(count: number): Uint8Array;
}
