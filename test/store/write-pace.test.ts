import { describe, expect, it } from 'vitest';
import { PACE_MS_MAX } from '../../src/store/limits.js';
import { WritePace } from '../../src/store/write-pace.js';
import { ManualClock } from '../base/manual-clock.js';

describe('the pace of data while the cleaner makes room', () => {
  function paced(): { clock: ManualClock; pace: WritePace; rate: { now: number }; wakes: () => number } {
    const clock = new ManualClock();
    const rate = { now: 1000 };
    let wakes = 0;
    const wake = (): void => {
      wakes += 1;
    };
    const pace = new WritePace({ clock, rate: () => rate.now, wake });
    return { clock, pace, rate, wakes: () => wakes };
  }

  it('lets as many bytes through as the rate says, and wakes whoever waits', () => {
    const { clock, pace, wakes } = paced();
    expect(pace.waits).toBe(false);
    let taken = 0;
    for (let ms = 0; ms < 10_000; ms += 1) {
      while (!pace.waits) {
        pace.took(10);
        taken += 10;
      }
      clock.advance(1);
    }
    expect(taken).toBeGreaterThan(9_900);
    expect(taken).toBeLessThan(10_100);
    expect(wakes()).toBeGreaterThan(900);
  });

  it('looks again before long, and forgets what is due once nothing holds data back', () => {
    const { clock, pace, rate, wakes } = paced();
    pace.took(60_000);
    expect(pace.waits).toBe(true);
    expect(pace.waits).toBe(true);
    expect(clock.pending, 'one timer, however often it is asked').toBe(1);
    clock.advance(PACE_MS_MAX);
    expect(wakes()).toBe(1);
    rate.now = Number.POSITIVE_INFINITY;
    pace.took(1);
    expect(pace.waits).toBe(false);
  });
});
