import { Cron } from 'croner';
import { messageOf } from '../base/errors.js';
import { LocalTime } from './local-time.js';
import { CRON_LENGTH_MAX } from './limits.js';
import { ModelError } from './model-error.js';

/** Five fields; croner takes dates and fields of seconds as well, which no schedule of snapshots means. */
const FIELDS = /^\s*\S+(\s+\S+){4}\s*$/;
const NICKNAME = /^@(yearly|annually|monthly|weekly|daily|midnight|hourly)$/;

/** Checks both, and that there ever is a run. Throws ModelError CRON or TIME_ZONE that says what is wrong. */
export function checkCron(cron: string, timeZone: string, fromMs: number): void {
  checkTimeZone(timeZone);
  const shown = JSON.stringify(cron.slice(0, CRON_LENGTH_MAX));
  if (cron.length > CRON_LENGTH_MAX || !(FIELDS.test(cron) || NICKNAME.test(cron))) {
    throw cronError(cron, `${shown} is not a schedule: it has five fields (minute, hour, day, month, weekday)`);
  }
  let next: number | null;
  try {
    next = nextRunMs(cron, timeZone, fromMs);
  } catch (thrown) {
    throw cronError(cron, `${shown} is not a schedule: ${messageOf(thrown).replace(/^CronPattern: /, '')}`);
  }
  // Such as the 30th of February.
  if (next === null) throw cronError(cron, `${shown} never comes: no day has all of it`);
}

/** The first run after that moment, milliseconds since 1970; null: there is none. */
export function nextRunMs(cron: string, timeZone: string, afterMs: number): number | null {
  const pattern = new Cron(cron, { mode: '5-part', timezone: timeZone, paused: true });
  return pattern.nextRun(new Date(afterMs))?.getTime() ?? null;
}

function checkTimeZone(timeZone: string): void {
  try {
    new LocalTime(timeZone);
  } catch {
    const message = `there is no time zone ${JSON.stringify(timeZone.slice(0, 80))}; they are named like Europe/Berlin or UTC`;
    throw new ModelError(message, { code: 'TIME_ZONE', timeZone });
  }
}

function cronError(cron: string, message: string): ModelError {
  return new ModelError(message, { code: 'CRON', cron });
}
