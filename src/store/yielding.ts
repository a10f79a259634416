/** How background work stands back. */
import type { Clock } from '../base/clock.js';
import { SCRUB_YIELD_MS_MAX, SCRUB_YIELD_STEP_MS } from './limits.js';

/** Resolves after so long, or as soon as `signal` is aborted. */
export function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const done = (): void => {
      clock.clear(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = clock.after(delayMs, done);
    signal.addEventListener('abort', done);
  });
}

/** Waits for whoever waits; not for ever, or a busy store would never be done with. */
export async function yieldToOthers(clock: Clock, busy: () => boolean, signal: AbortSignal): Promise<void> {
  const until = clock.monotonicMs() + SCRUB_YIELD_MS_MAX;
  while (busy() && clock.monotonicMs() < until && !signal.aborted) await pause(clock, SCRUB_YIELD_STEP_MS, signal);
}
