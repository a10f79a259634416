import { describe, expect, it } from 'vitest';
import type { ScheduleRequest } from '../../../src/control/snapshots/snapshot-schedules.js';
import { eachWithPlane, plane, restart, start, world } from '../each-with-plane.js';
import { request, TESTER } from '../fake-world.js';

eachWithPlane();

const HOUR_MS = 3_600_000;
const STEP_MS = 20_000;
const NONE = { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0 };
const HOURLY: ScheduleRequest = { cron: '0 * * * *', timeZone: 'UTC', keep: { ...NONE, last: 3 } };

const create = (name: string): Promise<unknown> => plane.volumes.create(request(name), TESTER);
const schedule = (wish: Partial<ScheduleRequest> = {}): Promise<unknown> =>
  plane.schedules.set('web', { ...HOURLY, ...wish }, TESTER);
const snapshots = async (): Promise<string[]> => (await plane.snapshots.list('web', {})).map(({ name }) => name);

/** Time goes by in steps that a timer may fire in. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= STEP_MS) await world.advance(Math.min(left, STEP_MS));
}

describe('a schedule', () => {
  it('takes snapshots when they are due, and gives up those that it does not keep', async () => {
    await create('web');
    await schedule();
    expect(plane.schedules.list()).toMatchObject([
      { volume: 'web', cron: '0 * * * *', timeZone: 'UTC', nextRunMs: Date.UTC(2023, 10, 14, 23), last: null },
    ]);
    await pass(HOUR_MS);
    expect(await snapshots()).toEqual(['auto-2023-11-14-230000']);
    await pass(4 * HOUR_MS);
    expect(await snapshots()).toEqual(['auto-2023-11-15-010000', 'auto-2023-11-15-020000', 'auto-2023-11-15-030000']);
    expect(plane.schedules.list()[0]).toMatchObject({ last: { ok: true, text: 'auto-2023-11-15-030000', deleted: 1 } });
    expect((await plane.snapshots.get('web@auto-2023-11-15-030000')).origin).toBe('schedule');
  });

  it('leaves alone what it did not take, what is held, and what clients read', async () => {
    await create('web');
    await plane.snapshots.create(['web'], { name: 'mine', labels: {} }, TESTER);
    await schedule({ keep: { ...NONE, last: 1 } });
    await pass(HOUR_MS);
    await plane.snapshots.setHeld('web@auto-2023-11-14-230000', true, TESTER);
    await pass(HOUR_MS);
    const { id } = await plane.snapshots.export('web@auto-2023-11-15-000000', TESTER);
    world.exports.connect(id, '127.0.0.1:1');
    await pass(2 * HOUR_MS);
    expect(await snapshots()).toEqual([
      'mine',
      'auto-2023-11-14-230000',
      'auto-2023-11-15-000000',
      'auto-2023-11-15-020000',
    ]);
  });

  it('makes up once for what was missed while the daemon did not run', async () => {
    await create('web');
    await schedule();
    await plane.close();
    world.clock.advance(7 * HOUR_MS);
    await start();
    await world.advance(0);
    expect(await snapshots()).toEqual(['auto-2023-11-15-051320']);
    await pass(HOUR_MS);
    expect(await snapshots()).toEqual(['auto-2023-11-15-051320', 'auto-2023-11-15-060000']);
  });

  it('does not run at a start when nothing was missed', async () => {
    await create('web');
    await schedule();
    await restart();
    await world.advance(0);
    expect(await snapshots()).toEqual([]);
    expect(plane.schedules.list()).toHaveLength(1);
  });

  it('shows a failure, and goes on', async () => {
    await create('web');
    await schedule();
    world.host.failFreeze = 'the disk is full';
    await pass(HOUR_MS);
    expect(plane.schedules.list()[0].last).toMatchObject({ ok: false, text: 'freeze volume: the disk is full' });
    expect(plane.problems()).toMatchObject([{ subject: 'schedule of volume web' }]);
    expect(plane.events.recent(1, 'web')).toMatchObject([{ kind: 'schedule.failed', level: 'error' }]);
    world.host.failFreeze = null;
    await pass(HOUR_MS);
    expect(await snapshots()).toEqual(['auto-2023-11-15-000000']);
    expect(plane.problems()).toEqual([]);
  });

  it('is replaced, ended, and goes with its volume', async () => {
    await create('web');
    await schedule();
    await schedule({ cron: '@daily', timeZone: '' });
    expect(plane.schedules.list()).toMatchObject([{ cron: '@daily', timeZone: 'UTC' }]);
    await plane.schedules.remove('web', TESTER);
    expect(plane.schedules.list()).toEqual([]);
    await expect(plane.schedules.remove('web', TESTER)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await schedule();
    await plane.volumes.delete('web', true, TESTER);
    expect(plane.schedules.list()).toEqual([]);
    expect((await world.meta.list('control/schedule/')).entries).toEqual([]);
    await pass(2 * HOUR_MS);
  });

  it('rests while its volume is retained', async () => {
    await create('web');
    await schedule();
    await plane.volumes.delete('web', false, TESTER);
    await pass(2 * HOUR_MS);
    expect(plane.schedules.list()).toMatchObject([{ nextRunMs: 0 }]);
    await plane.volumes.restore('web', '', TESTER);
    await pass(HOUR_MS);
    expect((await snapshots()).length).toBeGreaterThan(0);
  });

  it.each([
    [{ cron: 'hourly' }, 'CRON'],
    [{ timeZone: 'Mars/X' }, 'TIME_ZONE'],
    [{ keep: NONE }, 'RETENTION'],
  ])('is refused with %j', async (wish, code) => {
    await create('web');
    await expect(schedule(wish)).rejects.toMatchObject({ code });
  });

  it('that cannot be read is named, and can be set again', async () => {
    await create('web');
    await schedule();
    const [{ key }] = (await world.meta.list('control/schedule/')).entries;
    await world.meta.transaction({ set: [{ key, value: Buffer.from('{"volumeId":1}') }] });
    await restart();
    expect(plane.problems()).toMatchObject([{ subject: `record ${key}` }]);
    await schedule();
    expect(plane.problems()).toEqual([]);
    expect(plane.schedules.list()).toHaveLength(1);
  });
});
