import { parseArgs } from 'node:util';
import { SEED_WITH_KEYS } from './script.js';

/** What `npm run sim` was asked for. */
export interface SimOptions {
  /** null: fresh ones, one after another, for `minutes`. */
  readonly seed: number | null;
  readonly steps: number;
  readonly minutes: number;
  readonly shrink: boolean;
  readonly trace: boolean;
}

export const USAGE = `usage: npm run sim -- [--seed N] [--steps M] [--minutes T] [--no-shrink] [--trace]

  --seed N      run this one seed (1 to 8589934591; from 4294967296 on with changes of keys and scrubs)
  --steps M     steps of each run (1 to 100000; 400 unless said otherwise)
  --minutes T   without --seed: run fresh seeds for so long (more than 0, at most 10000; 1 unless said otherwise)
  --no-shrink   do not look for the shortest trace that still fails
  --trace       print everything that happened`;

const STEPS_DEFAULT = 400;
const STEPS_MAX = 100_000;
const SEED_MAX = 2 * SEED_WITH_KEYS - 1;
const MINUTES_MAX = 10_000;

/** Reads the arguments; a string says what is wrong with them, 'help' asks for the usage. */
export function parseSimOptions(args: readonly string[]): SimOptions | string {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        seed: { type: 'string' },
        steps: { type: 'string' },
        minutes: { type: 'string' },
        'no-shrink': { type: 'boolean', default: false },
        trace: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }));
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
  if (values.help) return 'help';
  const whole = (name: 'seed' | 'steps', least: number, most: number): number | string => {
    const text = values[name] ?? '';
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    return `--${name} takes a whole number from ${least} to ${most}, not "${text}"`;
  };
  const seed = values.seed === undefined ? null : whole('seed', 1, SEED_MAX);
  if (typeof seed === 'string') return seed;
  const steps = values.steps === undefined ? STEPS_DEFAULT : whole('steps', 1, STEPS_MAX);
  if (typeof steps === 'string') return steps;
  const minutes = values.minutes === undefined ? 1 : Number(values.minutes);
  if (!(minutes > 0 && minutes <= MINUTES_MAX)) {
    return `--minutes takes a number above 0 and up to ${MINUTES_MAX}, not "${values.minutes ?? ''}"`;
  }
  if (seed !== null && values.minutes !== undefined)
    return '--seed runs one seed; --minutes runs many: give one of the two';
  return { seed, steps, minutes, shrink: !values['no-shrink'], trace: values.trace };
}
