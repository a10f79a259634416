// `npm test`: sets up, builds, runs every test. The last line of output is the tally, whatever happens.
import { mkdtempSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fullPath } from './debian-packages.mjs';
import { runCommand } from './run-command.mjs';
import { setUp } from './setup.mjs';
import { skipReport, tallyLine, tallyOf } from './test-tally.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** @param {readonly string[]} args Passed on to vitest. */
async function test(args) {
  await setUp(root);
  const built = await runCommand(process.execPath, [join(root, 'scripts/build.mjs')], { cwd: root, show: true });
  if (built.status !== 0) throw new Error('the build failed');

  const folder = mkdtempSync(join(tmpdir(), 'galleon-test-'));
  const results = join(folder, 'results.jsonl');
  try {
    const status = await runVitest(args, results);
    return tallyOf(existsSync(results) ? readFileSync(results, 'utf8') : '', status);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {readonly string[]} args @param {string} results */
async function runVitest(args, results) {
  const reporter = join(root, 'scripts/test-reporter.mjs');
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  // Tests call mke2fs and its like, which are outside an ordinary user's PATH.
  const env = { ...process.env, PATH: fullPath(), GALLEON_TEST_RESULTS: results };
  const own = ['run', '--reporter=default', `--reporter=${reporter}`];
  const result = await runCommand(process.execPath, [vitest, ...own, ...args], { cwd: root, env, show: true });
  return result.status;
}

// Ctrl-C reaches vitest too; we stay to say what had passed by then.
process.on('SIGINT', () => undefined);

/** @type {import('./test-tally.mjs').Tally} */
let tally = { passed: 0, failed: 1, skipped: 0, troubles: [], skips: [] };
try {
  tally = await test(process.argv.slice(2));
} catch (thrown) {
  tally.troubles.push(thrown instanceof Error ? thrown.message : String(thrown));
}
for (const line of skipReport(tally)) console.log(line);
for (const trouble of tally.troubles) console.log(`FAILED outside of a test: ${trouble}`);
console.log(tallyLine(tally));
process.exitCode = tally.failed === 0 ? 0 : 1;
