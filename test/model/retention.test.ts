import { describe, expect, it } from 'vitest';
import { LocalTime } from '../../src/model/local-time.js';
import { ModelError } from '../../src/model/model-error.js';
import { checkRetention, expired, type Retention } from '../../src/model/retention.js';

const NONE: Retention = { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0 };
const HOUR_MS = 3_600_000;

function dated(...moments: string[]): { createdAtMs: number; moment: string }[] {
  return moments.map((moment) => ({ createdAtMs: Date.parse(`${moment}:00Z`), moment }));
}

function kept(items: ReturnType<typeof dated>, keep: Partial<Retention>, timeZone = 'UTC'): string[] {
  const gone = new Set(expired(items, { ...NONE, ...keep }, timeZone));
  return items.filter((item) => !gone.has(item)).map(({ moment }) => moment);
}

describe('retention', () => {
  const items = dated(
    '2026-01-01T10:00',
    '2026-01-01T22:00',
    '2026-01-02T10:00',
    '2026-01-02T10:30',
    '2026-02-01T10:00',
  );

  it('keeps the newest ones', () => {
    expect(kept(items, { last: 2 })).toEqual(['2026-01-02T10:30', '2026-02-01T10:00']);
  });

  it('keeps the newest of each hour, day, week and month', () => {
    expect(kept(items, { hourly: 3 })).toEqual(['2026-01-02T10:30', '2026-02-01T10:00', '2026-01-01T22:00'].sort());
    expect(kept(items, { daily: 9 })).toEqual(['2026-01-01T22:00', '2026-01-02T10:30', '2026-02-01T10:00']);
    expect(kept(items, { weekly: 9 })).toEqual(['2026-01-02T10:30', '2026-02-01T10:00']);
    expect(kept(items, { monthly: 1 })).toEqual(['2026-02-01T10:00']);
  });

  it('keeps what any rule keeps', () => {
    expect(kept(items, { last: 1, daily: 3 })).toEqual(['2026-01-01T22:00', '2026-01-02T10:30', '2026-02-01T10:00']);
  });

  it('counts days that have a snapshot, not days that went by', () => {
    const old = dated('2020-05-05T05:00', '2020-05-06T05:00');
    expect(kept(old, { daily: 2 })).toHaveLength(2);
  });

  it('means the days of its zone', () => {
    const night = dated('2026-01-01T22:30', '2026-01-01T23:30');
    expect(kept(night, { daily: 5 })).toEqual(['2026-01-01T23:30']);
    expect(kept(night, { daily: 5 }, 'Europe/Berlin')).toHaveLength(2);
  });

  it('takes the hour that comes twice in autumn for two', () => {
    const twice = dated('2026-10-25T00:30', '2026-10-25T01:30');
    expect(kept(twice, { hourly: 5 }, 'Europe/Berlin')).toHaveLength(2);
  });

  it('never keeps more by forgetting more, and is stable when repeated', () => {
    const many = Array.from({ length: 400 }, (_, hour) => ({ createdAtMs: hour * HOUR_MS }));
    const keep: Retention = { last: 3, hourly: 12, daily: 7, weekly: 4, monthly: 2 };
    const gone = new Set(expired(many, keep, 'America/New_York'));
    const left = many.filter((item) => !gone.has(item));
    expect(left.length).toBeLessThanOrEqual(3 + 12 + 7 + 4 + 2);
    expect(expired(left, keep, 'America/New_York')).toEqual([]);
  });

  it.each([NONE, { ...NONE, last: -1 }, { ...NONE, daily: 1.5 }, { ...NONE, last: 1e9 }])('refuses %j', (keep) => {
    expect(() => checkRetention(keep)).toThrow(ModelError);
  });
});

describe('weeks', () => {
  it.each([
    ['2026-01-01', '2026-W1'],
    ['2027-01-03', '2026-W53'],
    ['2027-01-04', '2027-W1'],
    ['2024-12-30', '2025-W1'],
  ])('%s is in %s', (day, week) => {
    expect(new LocalTime('UTC').weekOf(Date.parse(day))).toBe(week);
  });
});
