import { describe, expect, it, vi } from 'vitest';
import { SystemClock, SystemRandom } from '../../src/base/system-clock.js';

describe('SystemClock', () => {
  it('fires once, and not at all when cleared', async () => {
    const clock = new SystemClock();
    const cleared = clock.after(1, () => {
      throw new Error('cleared');
    });
    clock.clear(cleared);
    // An unreferenced timer alone would not keep the process waiting.
    const keepAlive = setInterval(() => undefined, 1000);
    try {
      await new Promise<void>((resolve) => clock.after(5, resolve));
    } finally {
      clearInterval(keepAlive);
    }
  });

  it('waits longer than one timeout of Node can', () => {
    vi.useFakeTimers();
    try {
      const fired = vi.fn();
      const days30 = 30 * 86_400_000;
      new SystemClock().after(days30, fired);
      vi.advanceTimersByTime(days30 - 1);
      expect(fired).not.toHaveBeenCalled();
      vi.advanceTimersByTime(1);
      expect(fired).toHaveBeenCalledTimes(1);
    } finally {
      vi.useRealTimers();
    }
  });

  it('ends the turn after what has already arrived', async () => {
    const order: string[] = [];
    await new Promise<void>((resolve) => {
      new SystemClock().endOfTurn(() => {
        order.push('end of turn');
        resolve();
      });
      queueMicrotask(() => order.push('microtask'));
      process.nextTick(() => order.push('tick'));
    });
    expect(order.at(-1)).toBe('end of turn');
    expect(order).toHaveLength(3);
  });
});

describe('SystemRandom', () => {
  it('gives arrays of their own, of the length asked for', () => {
    const random = new SystemRandom();
    const first = random.bytes(32);
    const second = random.bytes(32);
    expect(first).toHaveLength(32);
    expect(first.buffer.byteLength).toBe(32);
    expect(first).not.toEqual(second);
  });
});
