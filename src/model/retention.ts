/** Which snapshots of a schedule stay: the newest ones, and the newest of each hour, day, week or month. */
import { RETENTION_MAX } from './limits.js';
import { LocalTime } from './local-time.js';
import { ModelError } from './model-error.js';

/** How many of each; 0: that rule keeps nothing. At least one of them is above 0. */
export interface Retention {
  readonly last: number;
  readonly hourly: number;
  readonly daily: number;
  readonly weekly: number;
  readonly monthly: number;
}

export interface Dated {
  readonly createdAtMs: number;
}

/** Throws ModelError RETENTION when a number is none, or when no rule would keep anything. */
export function checkRetention(retention: Retention): Retention {
  for (const [rule, count] of Object.entries(retention) as [string, number][]) {
    if (Number.isSafeInteger(count) && count >= 0 && count <= RETENTION_MAX) continue;
    throw retentionError(rule, `${count} snapshots to keep (${rule}) are not possible: from 0 to ${RETENTION_MAX}`);
  }
  if (Object.values(retention).every((count) => count === 0)) {
    throw retentionError('', 'a schedule says what it keeps: at least one of its numbers is above 0');
  }
  return retention;
}

/**
 * The items that no rule keeps. Hours, days, ISO weeks and months are those of `timeZone`; a rule counts only those that
 * have an item, so that a machine that was off for a month does not lose what it has.
 */
export function expired<T extends Dated>(items: readonly T[], retention: Retention, timeZone: string): T[] {
  const newestFirst = [...items].sort((a, b) => b.createdAtMs - a.createdAtMs);
  const local = new LocalTime(timeZone);
  const kept = new Set(newestFirst.slice(0, retention.last));
  keepOfEach(newestFirst, retention.hourly, (atMs) => local.hourOf(atMs), kept);
  keepOfEach(newestFirst, retention.daily, (atMs) => local.dayOf(atMs), kept);
  keepOfEach(newestFirst, retention.weekly, (atMs) => local.weekOf(atMs), kept);
  keepOfEach(newestFirst, retention.monthly, (atMs) => local.monthOf(atMs), kept);
  return newestFirst.filter((item) => !kept.has(item));
}

function keepOfEach<T extends Dated>(
  newestFirst: readonly T[],
  count: number,
  spanOf: (atMs: number) => string,
  kept: Set<T>,
): void {
  const seen = new Set<string>();
  for (const item of newestFirst) {
    const span = spanOf(item.createdAtMs);
    if (seen.has(span)) continue;
    if (seen.size >= count) return;
    seen.add(span);
    kept.add(item);
  }
}

function retentionError(rule: string, message: string): ModelError {
  return new ModelError(message, { code: 'RETENTION', rule });
}
