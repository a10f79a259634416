import { describe, expect, it } from 'vitest';
import { checkCron, nextRunMs } from '../../src/model/cron-schedule.js';
import { ModelError } from '../../src/model/model-error.js';

function runs(cron: string, timeZone: string, from: string, count: number): string[] {
  const found: string[] = [];
  let atMs = Date.parse(from);
  for (let i = 0; i < count; i += 1) {
    atMs = nextRunMs(cron, timeZone, atMs) ?? Number.NaN;
    found.push(new Date(atMs).toISOString().slice(0, 16));
  }
  return found;
}

describe('a schedule', () => {
  it('runs strictly after the moment that it is asked about', () => {
    expect(runs('0 * * * *', 'UTC', '2026-01-02T03:00:00Z', 2)).toEqual(['2026-01-02T04:00', '2026-01-02T05:00']);
  });

  it('means the clock of its zone, over both changes of the clocks', () => {
    // 02:30 does not exist on the 29th of March: it comes right after the gap.
    expect(runs('30 2 * * *', 'Europe/Berlin', '2026-03-28T00:00:00Z', 3)).toEqual([
      '2026-03-28T01:30',
      '2026-03-29T01:00',
      '2026-03-30T00:30',
    ]);
    // On the 25th of October it exists twice, and counts once.
    expect(runs('30 2 * * *', 'Europe/Berlin', '2026-10-24T00:00:00Z', 3)).toEqual([
      '2026-10-24T00:30',
      '2026-10-25T00:30',
      '2026-10-26T01:30',
    ]);
  });

  it.each(['0 * * * *', '*/15 8-17 * * mon-fri', '@daily', '0 0 L * *'])('%s is fine', (cron) => {
    expect(() => checkCron(cron, 'Europe/Berlin', 0)).not.toThrow();
  });

  it.each([
    ['', /five fields/],
    ['* * * * * *', /five fields/],
    ['2026-01-01T00:00:00', /five fields/],
    ['@reboot', /five fields/],
    ['61 * * * *', /minute/],
    ['0 0 30 2 *', /never comes/],
    ['x'.repeat(300), /five fields/],
  ])('%s is refused', (cron, message) => {
    expect(() => checkCron(cron, 'UTC', 0)).toThrow(message);
    expect(() => checkCron(cron, 'UTC', 0)).toThrow(ModelError);
  });

  it('needs a time zone that exists', () => {
    expect(() => checkCron('0 * * * *', 'Mars/Olympus', 0)).toThrow('there is no time zone "Mars/Olympus"');
  });
});
