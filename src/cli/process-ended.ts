import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../base/clock.js';
import { processStart } from '../ipc/process-start.js';

const LOOK_MS = 20;

/**
 * Waits until the process `pid` that was started at `start` has ended; false when it has not after `timeoutMs`. The
 * end of a process that is not our child is no event that Node can wait for, so this looks again and again.
 */
export async function processEnded(
  pid: number,
  start: number,
  timeoutMs: number,
  signal: AbortSignal,
  clock: Pick<Clock, 'monotonicMs'>,
): Promise<boolean> {
  const endMs = clock.monotonicMs() + timeoutMs;
  while (processStart(pid) === start) {
    if (clock.monotonicMs() > endMs) return false;
    await delay(LOOK_MS, undefined, { signal });
  }
  return true;
}
