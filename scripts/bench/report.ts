import { formatSize } from '../../src/base/size.js';
import type { Verdict } from './figure.js';
import { cpuSecondsPerGib } from './measurement.js';
import type { Peer } from './peer.js';
import { formatRate, type Row } from './rounds.js';
import type { MemoryNote } from './memory-warming.js';
import type { BenchOptions } from './options.js';
import { median, ratio, spread } from './statistics.js';
import { markdownTable, type Table, textTable } from './table.js';
import type { Work } from './works.js';

type Figure = (row: Row, rows: readonly Row[]) => string;

const medianRate = (row: Row): number => median(row.measurements.map(({ rate }) => rate));

/** Works downwards, peers to the right. */
function grid(rows: readonly Row[], figure: Figure, worksShown: (work: Work) => boolean = () => true): Table {
  const peers = [...new Set(rows.map(({ peer }) => peer))];
  const works = [...new Set(rows.map(({ work }) => work))].filter(worksShown);
  const cell = (work: Work, peer: Peer): string => {
    const row = rows.find((each) => each.work === work && each.peer === peer);
    return row === undefined ? '' : figure(row, rows);
  };
  return {
    head: ['', ...peers.map(({ title }) => title)],
    rows: works.map((work) => [`${work.title}, ${work.unit}`, ...peers.map((peer) => cell(work, peer))]),
  };
}

/** Medians of the rounds. */
function rateTable(rows: readonly Row[]): Table {
  return grid(rows, (row) => formatRate(medianRate(row)));
}

/** The encrypted class as a multiple of everybody else; null where it was not measured. */
function ratioTable(rows: readonly Row[]): Table | null {
  const ours = rows.filter(({ peer }) => peer.name === 'galleon');
  const others = rows.filter(({ peer }) => peer.name !== 'galleon');
  if (ours.length === 0 || others.length === 0) return null;
  return grid(others, (row) => {
    const own = ours.find(({ work }) => work === row.work);
    return own === undefined ? '' : ratio(medianRate(own), medianRate(row)).toFixed(2);
  });
}

/** Processor seconds of the server per GiB that crossed the socket. */
function cpuTable(rows: readonly Row[]): Table {
  return grid(rows, (row) => median(row.measurements.map(cpuSecondsPerGib)).toFixed(2));
}

/** How far the rounds lie apart, in percent of the median: what a difference has to exceed to mean anything. */
function spreadTable(rows: readonly Row[]): Table {
  return grid(rows, (row) => `${Math.round(100 * spread(row.measurements.map(({ rate }) => rate)))}%`);
}

function latencyTable(rows: readonly Row[]): Table {
  return grid(rows, (row) => {
    const p99 = median(row.measurements.map(({ p99Us }) => p99Us));
    const p999 = median(row.measurements.map(({ p999Us }) => p999Us));
    return `${formatRate(p99)} / ${formatRate(p999)}`;
  });
}

function verdictTable(verdicts: readonly Verdict[]): Table {
  return {
    head: ['bar', 'wanted', 'measured', ''],
    rows: verdicts.map(({ what, bar, value, met, goal }) => {
      const missed = goal ? 'not yet' : 'MISSED';
      const verdict = met ? 'met' : missed;
      return [goal ? `${what} (goal)` : what, bar, value, met === null ? '' : verdict];
    }),
  };
}

/** Everything that one run found out. */
export interface Report {
  readonly at: Date;
  readonly machine: string;
  readonly programs: string;
  /** As it was asked for. */
  readonly argv: readonly string[];
  readonly options: BenchOptions;
  readonly rows: readonly Row[];
  readonly verdicts: readonly Verdict[];
  readonly memory: MemoryNote;
}

/** Above so many busy processors of others the figures say as much about them. */
const OTHERS_CORES_MAX = 0.2;

/** For people, or as Markdown for a README. */
export function printReport(report: Report, print: (text: string) => void): void {
  const { rows, verdicts, options } = report;
  const form = options.markdown ? markdownTable : textTable;
  const show = (title: string, table: Table | null): void => {
    if (table !== null && table.rows.length > 0) print(`\n${title}:\n\n${form(table)}`);
  };
  print(preamble(report).join(options.markdown ? '\n' : '\n  '));
  show('Medians', rateTable(rows));
  show('Galleon (encrypted) as a multiple of the others', ratioTable(rows));
  show('Processor seconds of the server per GiB', cpuTable(rows));
  if (!options.markdown) {
    show('Latency in microseconds, 99% / 99.9%', latencyTable(rows));
    show('How far the rounds lie apart', spreadTable(rows));
  }
  show('Bars', verdicts.length > 0 ? verdictTable(verdicts) : null);
}

/** When, on what and how: what is needed to repeat it and to believe it. */
function preamble({ at, machine, programs, argv, options, rows, memory }: Report): string[] {
  const { rounds, seconds, sizeBytes, quick } = options;
  const lines = [`Measured on ${at.toISOString().slice(0, 10)}: ${machine}; ${programs}.`];
  if (quick) lines.push('A quick run: it shows that the bench works, and its figures mean nothing.');
  if (rows.length > 0) {
    lines.push(
      `Medians of ${rounds} interleaved rounds of ${seconds} s over ${formatSize(sizeBytes)}, everything in the page ` +
        'cache, over a unix socket.',
    );
    lines.push(describeMemory(memory, rows));
    const others = median(rows.flatMap(({ measurements }) => measurements.map(({ othersCores }) => othersCores)));
    const noisy = others > OTHERS_CORES_MAX ? ': these figures are noisy' : '';
    lines.push(`Other programs kept ${others.toFixed(2)} processors busy meanwhile${noisy}.`);
  }
  lines.push(`To repeat it: npm run bench -- ${withoutPaths(argv).join(' ')}`.trimEnd());
  return lines;
}

function describeMemory({ touchedBytes, coldRate }: MemoryNote, rows: readonly Row[]): string {
  if (touchedBytes === 0) return 'The memory of the machine was left as it was.';
  const warm = rows.find(({ peer, work }) => peer.name === 'galleon' && work.name === 'rand-write-32');
  const touched = `${formatSize(Math.round(touchedBytes / 2 ** 20) * 2 ** 20)} of memory had been touched before`;
  if (coldRate === null || warm === undefined) return `${touched}.`;
  return `${touched}; without that Galleon wrote ${formatRate(coldRate)} random blocks a second, and ${formatRate(medianRate(warm))} after it.`;
}

/** Options that name files of this machine are nobody else's business. */
export function withoutPaths(argv: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at < argv.length; at += 1) {
    const [option = ''] = (argv[at] ?? '').split('=');
    const hasPath = option === '--json' || option === '--folder';
    if (!hasPath) kept.push(argv[at] ?? '');
    else if (argv[at] === option) at += 1;
  }
  return kept;
}

/** Every figure of every round. */
export function reportJson({ at, machine, programs, argv, options, rows, verdicts, memory }: Report): string {
  const { rounds, seconds, sizeBytes } = options;
  const measured = rows.map(({ peer, work, measurements }) => {
    const { name, unit } = work;
    return { work: name, peer: peer.name, unit, median: median(measurements.map(({ rate }) => rate)), measurements };
  });
  const run = { at: at.toISOString(), machine, programs, arguments: withoutPaths(argv), rounds, seconds, sizeBytes };
  return `${JSON.stringify({ ...run, memory, measured, verdicts }, null, 2)}\n`;
}
