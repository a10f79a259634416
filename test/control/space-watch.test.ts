import { describe, expect, it, onTestFinished } from 'vitest';
import { SPACE_WATCH_MS } from '../../src/control/limits.js';
import { FakeWorld } from './fake-world.js';

describe('the watch over the space for volumes', () => {
  it('says once that it gets short, shows it as long as it is, and says when it is over', async () => {
    const world = new FakeWorld();
    const plane = await world.start();
    onTestFinished(() => plane.close());
    const kinds = (): string[] => plane.events.recent(0, '').map(({ kind, level }) => `${kind} ${level}`);
    const look = async (freeBytes: number): Promise<void> => {
      world.host.space = { freeBytes, totalBytes: 1000 };
      await world.advance(SPACE_WATCH_MS);
    };
    await look(210);
    expect(kinds()).toEqual([]);
    expect(plane.problems()).toEqual([]);
    await look(200);
    await look(195);
    expect(kinds()).toEqual(['space.low warn']);
    expect(plane.problems()).toMatchObject([{ subject: 'space', reason: expect.stringContaining('80%') as string }]);
    await look(40);
    expect(kinds()).toEqual(['space.low warn', 'space.low error']);
    await look(60);
    expect(kinds(), 'a little back is not back').toHaveLength(2);
    await look(100);
    expect(kinds().at(-1)).toBe('space.freed info');
    expect(plane.problems(), 'still above the first level').toHaveLength(1);
    await look(500);
    expect(plane.problems()).toEqual([]);
    const warned = world.log.lines.filter(({ level, message }) => level === 'warn' && message.startsWith('space'));
    expect(warned).toHaveLength(2);
    expect(warned[0]?.message).toContain('--capacity');
  });
});
