import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { Clock, Random, Timer } from './clock.js';

/** Node turns a longer delay into 1 ms; longer waits are made of several of these. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

class SystemTimer {
  handle: NodeJS.Timeout | undefined;
}

/** The real clock. Timers do not keep the process alive. */
export class SystemClock implements Clock {
  wallMs(): number {
    return Date.now();
  }

  monotonicMs(): number {
    return performance.now();
  }

  after(delayMs: number, callback: () => void): Timer {
    const timer = new SystemTimer();
    const arm = (restMs: number): void => {
      const stepMs = Math.min(Math.max(restMs, 0), TIMEOUT_MS_MAX);
      timer.handle = setTimeout(() => {
        if (restMs > stepMs) arm(restMs - stepMs);
        else callback();
      }, stepMs);
      timer.handle.unref();
    };
    arm(delayMs);
    return timer as unknown as Timer;
  }

  clear(timer: Timer): void {
    clearTimeout((timer as unknown as SystemTimer).handle);
  }

  endOfTurn(callback: () => void): void {
    setImmediate(callback);
  }
}

/** The kernel's randomness, through OpenSSL's generator. */
export class SystemRandom implements Random {
  bytes(count: number): Uint8Array {
    // A copy of its own: small Buffers are views of a pool that other code can see and that nobody wipes.
    return Uint8Array.from(randomBytes(count));
  }
}
