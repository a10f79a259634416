/** Durations as people write them: `250ms`, `30s`, `1.5h`, `1h30m`. A unit is required: a bare number says nothing. */
import { assert } from './assert.js';
import { UnitError } from './unit-error.js';

/** Largest first: `formatDuration` takes them in this order, and a compound duration must too. */
const UNIT_MS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const;
const DURATION_MS_MAX = 3650 * 86_400_000;
const PART_PATTERN = /(\d{1,15})(?:\.(\d{1,15}))?(ms|s|m|h|d)/y;
const DURATION_HELP = 'a duration is a number with ms, s, m, h or d, such as 250ms, 30s, 5m or 1h30m';

/** Milliseconds. `0` alone needs no unit. At most ten years. */
export function parseDuration(text: string): number {
  const trimmed = text.trim();
  if (trimmed === '0') return 0;
  if (trimmed === '') throw durationError(text, `no duration given: ${DURATION_HELP}`);
  if (trimmed.startsWith('-')) throw durationError(text, `duration "${trimmed}" is negative: ${DURATION_HELP}`);
  let total = 0n;
  let unitsTaken = 0;
  PART_PATTERN.lastIndex = 0;
  let end = 0;
  while (end < trimmed.length) {
    const match = PART_PATTERN.exec(trimmed);
    if (match === null) throw notDuration(text, trimmed);
    const [part, whole = '', fraction = '', unit = ''] = match;
    const rank = UNIT_MS.findIndex(([name]) => name === unit);
    const unitMs = UNIT_MS[rank]?.[1];
    // `5m1h` and `1m1m` are more likely slips than wishes.
    if (unitMs === undefined || rank < unitsTaken) throw notDuration(text, trimmed);
    unitsTaken = rank + 1;
    const scale = 10n ** BigInt(fraction.length);
    const scaled = BigInt(whole + fraction) * BigInt(unitMs);
    if (scaled % scale !== 0n) {
      throw durationError(text, `duration "${trimmed}" is not a whole number of milliseconds`);
    }
    total += scaled / scale;
    end += part.length;
  }
  if (total > BigInt(DURATION_MS_MAX)) throw durationError(text, `duration "${trimmed}" is longer than ten years`);
  return Number(total);
}

/** `1h30m`, `250ms`, `0s`: exact, largest unit first. `parseDuration` reads it back. */
export function formatDuration(durationMs: number): string {
  assert(Number.isSafeInteger(durationMs) && durationMs >= 0, 'a duration is a whole number of milliseconds');
  let rest = durationMs;
  let text = '';
  for (const [unit, unitMs] of UNIT_MS) {
    const count = Math.floor(rest / unitMs);
    rest -= count * unitMs;
    if (count > 0) text += `${String(count)}${unit}`;
  }
  return text === '' ? '0s' : text;
}

function notDuration(text: string, trimmed: string): UnitError {
  const shown = trimmed.length > 64 ? `${trimmed.slice(0, 64)}...` : trimmed;
  return durationError(text, `"${shown}" is not a duration: ${DURATION_HELP}`);
}

function durationError(text: string, message: string): UnitError {
  return new UnitError(message, { code: 'DURATION', text });
}
