/** `npm run bench`: Galleon and its peers on the same work, in turn, in one run. `--help` lists the options. */
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { runCommand } from '../run-command.mjs';
import { Bed } from './bed.js';
import { BenchError } from './bench-error.js';
import { type BenchOptions, HELP, parseOptions } from './options.js';
import { PEERS } from './peers.js';
import { checkPrograms } from './programs.js';
import { cpuTable, latencyTable, rateTable, ratioTable, spreadTable, verdictTable } from './report.js';
import { Rounds } from './rounds.js';
import { markdownTable, type Table, textTable } from './table.js';
import { ratioVerdicts } from './verdicts.js';
import { WORKS } from './works.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const KNOWN = {
  works: WORKS.map(({ name }) => name),
  figures: [] as string[],
  peers: PEERS.map(({ name }) => name),
};

async function main(argv: readonly string[]): Promise<number> {
  const wish = parseOptions(argv, KNOWN);
  if ('show' in wish) {
    console.log(
      wish.show === 'help'
        ? HELP
        : Object.entries(KNOWN)
            .map(([kind, names]) => `${kind}: ${names.join(', ')}`)
            .join('\n'),
    );
    return 0;
  }
  const options = wish.run;
  if (options.build) await build();
  const bed = new Bed(options.folder);
  const interrupted = interruption();
  try {
    return await Promise.race([run(bed, options), interrupted]);
  } finally {
    await bed.close();
  }
}

async function run(bed: Bed, options: BenchOptions): Promise<number> {
  bed.copyProgram();
  const works = WORKS.filter(({ name }) => options.works.includes(name));
  const peers = PEERS.filter(({ name }) => options.peers.includes(name));
  await checkPrograms(bed, {
    fio: works.length > 0,
    libnbd: works.some(({ kind }) => kind === 'flush'),
    nbdkit: options.peers.includes('nbdkit'),
    qemu: options.peers.some((name) => name.startsWith('qemu-')),
  });
  const say = (text: string): void => console.error(text);
  const rows = await new Rounds(bed, options, say).run(works, peers);
  const verdicts = ratioVerdicts(rows);
  const show = (title: string, table: Table | null): void => {
    if (table === null || table.rows.length === 0) return;
    console.log(`\n${title}\n\n${options.markdown ? markdownTable(table) : textTable(table)}`);
  };
  show('Medians', rateTable(rows));
  show('Galleon encrypted as a multiple of the others', ratioTable(rows));
  show('Processor seconds of the server per GiB', cpuTable(rows));
  show('Latency, 99% / 99.9%, microseconds', latencyTable(rows));
  show('Spread of the rounds', spreadTable(rows));
  show('Bars', verdictTable(verdicts));
  if (options.jsonFile !== '') {
    const measured = rows.map(({ peer, work, measurements }) => ({ peer: peer.name, work: work.name, measurements }));
    await writeFile(options.jsonFile, `${JSON.stringify({ options, measured, verdicts }, null, 2)}\n`);
  }
  const missed = verdicts.filter(({ met, goal }) => !met && !goal).length;
  return options.strict && missed > 0 ? 1 : 0;
}

async function build(): Promise<void> {
  const result = await runCommand(process.execPath, ['scripts/build.mjs'], { cwd: ROOT });
  if (result.status !== 0)
    throw new BenchError(`the build failed (--no-build measures dist/ as it is)\n${result.stdout}${result.stderr}`);
}

/** Resolves with an exit status at the first Ctrl-C or SIGTERM; a second one ends us as usual. */
function interruption(): Promise<number> {
  return new Promise((resolve) => {
    process.once('SIGINT', () => resolve(130));
    process.once('SIGTERM', () => resolve(143));
  });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (thrown) {
  console.error(
    `bench: ${thrown instanceof BenchError ? thrown.message : String(thrown instanceof Error ? thrown.stack : thrown)}`,
  );
  process.exitCode = thrown instanceof BenchError ? 2 : 1;
}
