import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { parseSize } from '../../src/base/size.js';
import { BenchError } from './bench-error.js';

/** What can be asked for: the names that `--only` and `--peers` know. */
export interface Known {
  readonly works: readonly string[];
  readonly figures: readonly string[];
  readonly peers: readonly string[];
}

export interface BenchOptions {
  readonly works: readonly string[];
  readonly figures: readonly string[];
  readonly peers: readonly string[];
  readonly rounds: number;
  /** Of one measurement. */
  readonly seconds: number;
  /** Of each of the two workloads of the figure "cleaner". */
  readonly cleanerSeconds: number;
  readonly sizeBytes: number;
  /** Where working sets go; '': the system's temporary folder. */
  readonly folder: string;
  /** '': no file. */
  readonly jsonFile: string;
  readonly markdown: boolean;
  readonly strict: boolean;
  readonly quick: boolean;
  readonly build: boolean;
  readonly warm: boolean;
}

export const HELP = `npm run bench -- [option ...]

  --only NAME,...    works and figures; without it all but the long ones, "cleaner" and "sustained"
                     (with --peers: all works)
  --peers NAME,...   who is measured; without it everybody
  --rounds N         interleaved rounds, at least 3 (3)
  --seconds N        of one measurement (5)
  --size SIZE        of a working set (1G)
  --folder DIR       where working sets go: on the disk that is measured
  --cleaner-seconds N
                     of each of the two workloads of "cleaner" (600)
  --sustained        also five minutes or 30 GiB of random writes
  --all              everything, the long ones too
  --quick            tiny and in one round: shows that the bench works, and measures nothing
  --json FILE        writes every figure of every round
  --markdown         prints Markdown tables for a README
  --strict           the exit status is 1 when a bar is missed
  --no-warm          leaves the machine's memory as it is
  --no-build         measures dist/ as it is
  --list             names works, figures and peers

A measurement takes its seconds, about as long for starting, warming and settling, and each round fills the working
sets anew: all of it takes the better part of an hour, two works of two peers (--only, --peers) two minutes. Quiet
machines measure; the report says how busy others kept this one.
`;

/** Figures that are asked for by name or by `--all` only. */
const LONG_FIGURES: readonly string[] = ['cleaner', 'sustained'];

const ROUNDS_LEAST = 3;
const ROUNDS_MAX = 100;
const SECONDS_MAX = 3600;
const CLEANER_SECONDS = 600;
const CLEANER_SECONDS_MAX = 86_400;
const SIZE_BYTES_LEAST = 16 * 2 ** 20;
const QUICK = { rounds: 1, seconds: 0.5, cleanerSeconds: 2, sizeBytes: 64 * 2 ** 20 } as const;

/** What else a command line can ask for than a run. */
export type Wish = { readonly run: BenchOptions } | { readonly show: 'help' | 'list' };

/** Throws BenchError that says what is wrong and what there is. */
export function parseOptions(argv: readonly string[], known: Known): Wish {
  const values = parsed(argv);
  if (values.help) return { show: 'help' };
  if (values.list) return { show: 'list' };
  const { quick } = values;
  const peers = chosenNames(values.peers, known.peers, '--peers') ?? known.peers;
  const asked = new Set(askedNames(values, known));
  const run: BenchOptions = {
    works: known.works.filter((name) => asked.has(name)),
    figures: known.figures.filter((name) => asked.has(name)),
    peers: known.peers.filter((name) => peers.includes(name)),
    rounds: number(values.rounds, '--rounds', { least: quick ? 1 : ROUNDS_LEAST, most: ROUNDS_MAX, whole: true }),
    seconds: number(values.seconds, '--seconds', { least: 0.1, most: SECONDS_MAX, whole: false }),
    cleanerSeconds: number(values['cleaner-seconds'], '--cleaner-seconds', {
      ...{ least: 0.1, most: CLEANER_SECONDS_MAX, whole: false },
    }),
    sizeBytes: size(values.size),
    folder: values.folder === '' ? '' : resolve(values.folder),
    jsonFile: values.json === '' ? '' : resolve(values.json),
    markdown: values.markdown,
    strict: values.strict,
    build: !values['no-build'],
    warm: !values['no-warm'] && !quick,
    quick,
  };
  return { run };
}

/** Works and figures. Figures are Galleon's alone: nobody who leaves it out of `--peers` waits for them unasked. */
function askedNames(values: { only: string; peers: string; sustained: boolean; all: boolean }, known: Known): string[] {
  const everything = [...known.works, ...known.figures];
  if (values.all) return everything;
  const chosen = chosenNames(values.only, everything, '--only');
  const withoutChoice = values.peers === '' ? everything.filter((name) => !LONG_FIGURES.includes(name)) : known.works;
  return [...(chosen ?? withoutChoice), ...(values.sustained ? ['sustained'] : [])];
}

function parsed(argv: readonly string[]) {
  try {
    const quick = argv.includes('--quick');
    const text = (fallback: string) => ({ type: 'string', default: fallback }) as const;
    const flag = { type: 'boolean', default: false } as const;
    return parseArgs({
      args: [...argv],
      options: {
        ...{ only: text(''), peers: text(''), folder: text(''), json: text('') },
        rounds: text(String(quick ? QUICK.rounds : ROUNDS_LEAST)),
        seconds: text(String(quick ? QUICK.seconds : 5)),
        'cleaner-seconds': text(String(quick ? QUICK.cleanerSeconds : CLEANER_SECONDS)),
        size: text(quick ? String(QUICK.sizeBytes) : '1G'),
        ...{ sustained: flag, all: flag, quick: flag, markdown: flag, strict: flag, list: flag, help: flag },
        ...{ 'no-warm': flag, 'no-build': flag },
      },
    }).values;
  } catch (thrown) {
    throw new BenchError(`${thrown instanceof Error ? thrown.message : String(thrown)}\n\n${HELP}`);
  }
}

/** null: no choice was made. */
function chosenNames(text: string, known: readonly string[], option: string): string[] | null {
  if (text === '') return null;
  const names = text.split(',').map((name) => name.trim());
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new BenchError(`${option}: there is no ${unknown.join(', ')}; there are ${known.join(', ')}`);
  }
  return names;
}

function number(text: string, option: string, range: { least: number; most: number; whole: boolean }): number {
  const value = Number(text);
  const fits = value >= range.least && value <= range.most && (!range.whole || Number.isInteger(value));
  if (text.trim() !== '' && fits) return value;
  const what = range.whole ? 'a whole number' : 'a number';
  throw new BenchError(`${option}: "${text}" is not ${what} from ${range.least} to ${range.most}`);
}

function size(text: string): number {
  let bytes: number;
  try {
    bytes = parseSize(text);
  } catch (thrown) {
    throw new BenchError(`--size: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
  if (bytes >= SIZE_BYTES_LEAST && bytes % 2 ** 20 === 0) return bytes;
  throw new BenchError('--size: a working set is a whole number of MiB, at least 16');
}
