/** `npm run bench`: Galleon and its peers on the same work, in turn, in one run. `--help` lists the options. */
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { runCommand } from '../run-command.mjs';
import { Bed } from './bed.js';
import { BenchError } from './bench-error.js';
import type { FigureRun } from './figure.js';
import { FIGURES } from './figures.js';
import { describeMachine, describePrograms } from './machine.js';
import { type MemoryNote, warmed } from './memory-warming.js';
import { type BenchOptions, HELP, parseOptions } from './options.js';
import { PEERS } from './peers.js';
import { checkPrograms, programsOf } from './programs.js';
import { printReport, reportJson } from './report.js';
import { Rounds } from './rounds.js';
import { ratioVerdicts } from './verdicts.js';
import { WORKS } from './works.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const KNOWN = {
  works: WORKS.map(({ name }) => name),
  figures: FIGURES.map(({ name }) => name),
  peers: PEERS.map(({ name }) => name),
};

const INTERRUPTED_STATUS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Resolves to the exit status. Throws BenchError when the run cannot be made or a figure is none. */
async function main(argv: readonly string[]): Promise<number> {
  const wish = parseOptions(argv, KNOWN);
  if ('show' in wish) {
    console.log(wish.show === 'help' ? HELP : listing());
    return 0;
  }
  const interrupted = interruption();
  if (wish.run.build) await build();
  const bed = new Bed(wish.run.folder);
  try {
    return await Promise.race([run(bed, wish.run, argv), interrupted]);
  } finally {
    await bed.close();
  }
}

async function run(bed: Bed, options: BenchOptions, argv: readonly string[]): Promise<number> {
  const works = WORKS.filter(({ name }) => options.works.includes(name));
  const peers = PEERS.filter(({ name }) => options.peers.includes(name));
  const figures = FIGURES.filter(({ name }) => options.figures.includes(name));
  if (figures.length > 0 || peers.some(({ name }) => name.startsWith('galleon'))) bed.copyProgram();
  const needs = programsOf(works, works.length > 0 ? peers : [], figures);
  await checkPrograms(bed, needs);
  const machine = await describeMachine(bed);
  const programs = await describePrograms(bed, needs);

  const rounds = new Rounds(bed, options, say);
  const memory: MemoryNote = await warmed(bed, rounds, { wanted: options.warm, works, peers, say });
  const rows = works.length > 0 ? await rounds.run(works, peers) : [];
  const verdicts = ratioVerdicts(rows);
  const { sizeBytes, seconds, cleanerSeconds, quick } = options;
  const figureRun: FigureRun = { bed, sizeBytes, seconds, cleanerSeconds, quick, say };
  for (const figure of figures) {
    say(`${figure.name}: ${figure.title}`);
    verdicts.push(...(await figure.run(figureRun)));
    await bed.settle();
  }

  const report = { at: new Date(), machine, programs, argv, options, rows, verdicts, memory };
  printReport(report, (text) => console.log(text));
  if (options.jsonFile !== '') await writeFile(options.jsonFile, reportJson(report));
  const missed = verdicts.some(({ met, goal }) => met === false && !goal);
  return options.strict && missed ? 1 : 0;
}

/** Progress is for whoever watches; the report alone goes to stdout. */
function say(text: string): void {
  console.error(text);
}

function listing(): string {
  const about = new Map([...WORKS, ...FIGURES, ...PEERS].map(({ name, title }) => [name, title]));
  return Object.entries(KNOWN)
    .map(([kind, names]) => [`${kind}:`, ...names.map((name) => `  ${name.padEnd(14)} ${about.get(name) ?? ''}`)])
    .flat()
    .join('\n');
}

async function build(): Promise<void> {
  const { status, stdout, stderr } = await runCommand(process.execPath, ['scripts/build.mjs'], { cwd: ROOT });
  if (status === 0) return;
  throw new BenchError(`the build failed (--no-build measures dist/ as it is)\n${stdout}${stderr}`);
}

/** Resolves with an exit status at the first Ctrl-C, SIGTERM or SIGHUP; a second one ends us as usual. */
function interruption(): Promise<number> {
  return new Promise((resolve) => {
    for (const [signal, status] of Object.entries(INTERRUPTED_STATUS)) process.once(signal, () => resolve(status));
  });
}

let status: number;
try {
  status = await main(process.argv.slice(2));
} catch (thrown) {
  const unexpected = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  console.error(`bench: ${thrown instanceof BenchError ? thrown.message : unexpected}`);
  status = thrown instanceof BenchError ? 2 : 1;
}
// A run that was interrupted still waits for something: do not wait for it.
process.exit(status);
