import { usageError } from '../cli-error.js';
import { command, type Command } from '../command.js';
import { parseCount } from '../option-values.js';
import { keepText, nextRunText, scheduleTable } from '../output/snapshot-text.js';
import { toScheduleView } from '../output/snapshot-view.js';
import { VOLUME } from './volume-word.js';

/** Options by the rule of retention that they set. */
const KEEP_OPTIONS = {
  keep: { kind: 'text', summary: 'keep the newest N', value: 'N' },
  'keep-hourly': { kind: 'text', summary: 'keep the newest of each of N hours', value: 'N' },
  'keep-daily': { kind: 'text', summary: 'keep the newest of each of N days', value: 'N' },
  'keep-weekly': { kind: 'text', summary: 'keep the newest of each of N weeks', value: 'N' },
  'keep-monthly': { kind: 'text', summary: 'keep the newest of each of N months', value: 'N' },
} as const;

export function scheduleCommands(group: readonly string[]): Command[] {
  const line = ['gfs', ...group, 'schedule'].join(' ');
  return [
    command({
      verb: [...group, 'schedule'],
      summary: 'take snapshots of a volume by itself, and keep so many',
      details:
        'A volume has one schedule; setting it again replaces it. What any --keep rule keeps stays; only snapshots that\n' +
        'a schedule took are deleted, and none that is held. A run that was missed is made up for at the start.\n' +
        `Example:\n  ${line} data --cron "0 * * * *" --keep-hourly 24 --keep-daily 7 --time-zone Europe/Berlin`,
      words: { volume: VOLUME },
      options: {
        cron: { kind: 'text', summary: 'minute, hour, day, month, weekday; or @hourly, @daily, ...', value: 'CRON' },
        ...KEEP_OPTIONS,
        'time-zone': { kind: 'text', summary: "whose clock is meant (default: the daemon's)", value: 'ZONE' },
      },
      async run({ volume }, options, session) {
        if (options.cron === undefined)
          throw usageError(`--cron is missing: ${line} VOLUME --cron "0 * * * *" --keep 24`);
        const count = (option: keyof typeof KEEP_OPTIONS): number => {
          const text = options[option];
          return text === undefined ? 0 : parseCount(`--${option}`, text, 1);
        };
        const keep = {
          last: count('keep'),
          hourly: count('keep-hourly'),
          daily: count('keep-daily'),
          weekly: count('keep-weekly'),
          monthly: count('keep-monthly'),
        };
        if (Object.values(keep).every((one) => one === 0)) {
          throw usageError('how many to keep is missing: --keep N, --keep-daily N, ...');
        }
        const request = { volume, cron: options.cron, timeZone: options['time-zone'] ?? '', keep };
        const schedule = await (await session.client()).snapshots.setSchedule(request);
        session.output.answer(
          toScheduleView(schedule),
          () =>
            `${schedule.volume} is snapshotted at "${schedule.cron}" (${schedule.timeZone}), keeping ` +
            `${keepText(schedule.keep)}; next: ${nextRunText(schedule)}`,
        );
      },
    }),
    command({
      verb: [...group, 'schedules'],
      summary: 'show the schedules, when each runs next, and how its last run ended',
      words: {},
      options: {},
      async run(_words, _options, session) {
        const schedules = await (await session.client()).snapshots.listSchedules();
        session.output.answer(schedules.map(toScheduleView), () =>
          schedules.length === 0 ? 'no schedules' : scheduleTable(schedules, session.output),
        );
      },
    }),
    command({
      verb: [...group, 'unschedule'],
      summary: 'take no more snapshots of a volume by itself; those that there are stay',
      words: { volume: VOLUME },
      options: {},
      async run({ volume }, _options, session) {
        const ended = await (await session.client()).snapshots.removeSchedule(volume);
        session.output.answer(toScheduleView(ended), () => `${ended.volume} is no longer snapshotted by itself`);
      },
    }),
  ];
}
