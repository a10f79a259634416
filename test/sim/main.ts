/** `npm run sim`: the simulated world from the command line. Exit status 0: every promise held. */
import { randomInt } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { makeScript, SEED_WITH_KEYS, type Script } from './script.js';
import { shrink } from './shrink.js';
import { parseSimOptions, USAGE, type SimOptions } from './sim-options.js';
import { Simulation, type Outcome } from './simulation.js';
import { Totals } from './totals.js';
import { Watchdog } from './watchdog.js';

const PROGRESS_MS = 15_000;
const SHRINK_ATTEMPTS_MAX = 400;
const TRACE_LINES = 60;
/** The longest turn of a run takes some milliseconds. */
const HUNG_MS = 30_000;

const startMs = performance.now();
const totals = new Totals();
const watchdog = new Watchdog({ patienceMs: HUNG_MS });
const seconds = (): number => (performance.now() - startMs) / 1000;

async function explain(script: Script, outcome: Outcome, options: SimOptions): Promise<void> {
  console.log(`\nFAILED: seed ${script.seed}, after ${outcome.steps} steps: ${outcome.failure}`);
  console.log(`again:  npm run sim -- --seed ${script.seed} --steps ${options.steps}`);
  if (!options.shrink) return;
  console.log('looking for the shortest trace that still fails ...');
  const fails = async (shorter: Script): Promise<string> =>
    (await new Simulation(shorter, null, watchdog).run()).failure;
  const found = await shrink(script, outcome.failure, fails, SHRINK_ATTEMPTS_MAX);
  const last = await new Simulation(found.script, null, watchdog).run();
  console.log(
    `${found.script.steps.length} of ${script.steps.length} steps are enough (${found.attempts} tries): ${found.failure}`,
  );
  for (const step of found.script.steps) console.log(`  ${JSON.stringify(step)}`);
  console.log(`the end of its trace:\n  ${last.trace.slice(-TRACE_LINES).join('\n  ')}`);
  console.log(`the end of the log:\n  ${last.log.slice(-20).join('\n  ')}`);
}

async function runSeed(seed: number, options: SimOptions): Promise<Outcome> {
  const script = makeScript(seed, options.steps);
  const outcome = await new Simulation(script, null, watchdog).run();
  totals.add(outcome);
  if (options.trace) console.log(outcome.trace.join('\n'));
  if (outcome.failure !== '') await explain(script, outcome, options);
  return outcome;
}

async function main(options: SimOptions): Promise<void> {
  if (options.seed !== null) {
    console.log(`seed ${options.seed}, ${options.steps} steps`);
    const outcome = await runSeed(options.seed, options);
    console.log(totals.report(seconds()));
    console.log(`trace ${outcome.traceHash}\ndisk  ${outcome.diskHash}`);
    return;
  }
  let nextLineMs = startMs + PROGRESS_MS;
  while (seconds() < options.minutes * 60) {
    await runSeed(randomInt(1, 2 * SEED_WITH_KEYS), options);
    if (performance.now() < nextLineMs) continue;
    nextLineMs = performance.now() + PROGRESS_MS;
    console.log(totals.line(seconds()));
  }
  console.log(totals.report(seconds()));
}

const options = parseSimOptions(process.argv.slice(2));
if (typeof options === 'string') {
  if (options === 'help') console.log(USAGE);
  else console.error(`sim: ${options}\n\n${USAGE}`);
  process.exit(options === 'help' ? 0 : 2);
}
process.on('SIGINT', () => {
  console.log(`\ninterrupted; so far:\n${totals.report(seconds())}`);
  process.exit(130);
});
await main(options);
process.exitCode = totals.failures === 0 ? 0 : 1;
