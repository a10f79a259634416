import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { skipReport, tallyLine, tallyOf, type Tally } from '../../scripts/test-tally.mjs';

const root = join(import.meta.dirname, '../..');
let folder = '';

beforeEach(() => {
  // Inside the tree, so that `vitest` resolves; .cache/ is ignored by git and by the project's own test run.
  mkdirSync(join(root, '.cache'), { recursive: true });
  folder = mkdtempSync(join(root, '.cache/tally-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Runs vitest with our reporter over one test file with this body, and adds the results up. */
function tallyOfRun(body: string, args: string[] = []): Tally {
  const results = join(mkdtempSync(join(tmpdir(), 'galleon-tally-')), 'results.jsonl');
  writeFileSync(results, '');
  writeFileSync(join(folder, 'a.test.ts'), `import { describe, it, expect } from 'vitest';\n${body}`);
  writeFileSync(
    join(folder, 'vitest.config.mjs'),
    "export default { test: { include: ['*.test.ts'], pool: 'forks' } };\n",
  );
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const reporter = `--reporter=${join(root, 'scripts/test-reporter.mjs')}`;
  const run = spawnSync(process.execPath, [vitest, 'run', reporter, ...args], {
    cwd: folder,
    env: { ...process.env, GALLEON_TEST_RESULTS: results, VITEST: '', VITEST_WORKER_ID: '', VITEST_POOL_ID: '' },
    encoding: 'utf8',
  });
  const text = readFileSync(results, 'utf8');
  rmSync(join(results, '..'), { recursive: true });
  return tallyOf(text, run.status ?? 1);
}

describe('the tally', () => {
  it('counts what passed', () => {
    expect(tallyLine(tallyOfRun("it('a', () => {}); it('b', () => {});"))).toBe('2 passed, 0 failed');
  });

  it('counts what failed, and says why others were skipped', () => {
    const tally = tallyOfRun(
      "it('a', () => { expect(1).toBe(2); }); it('b', (context) => { context.skip('no FUSE here'); }); it.skip('c', () => {});",
    );
    expect(tallyLine(tally)).toBe('0 passed, 1 failed, 2 skipped');
    expect(skipReport(tally)).toEqual(['SKIPPED b: no FUSE here', 'SKIPPED 1 in a.test.ts: no reason given']);
  });

  it('counts a file that cannot be loaded', () => {
    const tally = tallyOfRun("it('a', () => {}); throw new Error('broken file');");
    expect(tallyLine(tally)).toBe('0 passed, 1 failed');
    expect(tally.troubles[0]).toContain('broken file');
  });

  it('counts an error that no test caught', () => {
    const tally = tallyOfRun(
      "it('a', async () => { setImmediate(() => { throw new Error('stray'); }); await new Promise((r) => setTimeout(r, 50)); });",
    );
    expect(tally.failed).toBe(1);
    expect(tally.troubles.join()).toContain('stray');
  });

  it('counts a failing hook', () => {
    const tally = tallyOfRun(
      "import { afterAll } from 'vitest'; describe('s', () => { afterAll(() => { throw new Error('hook'); }); it('a', () => {}); });",
    );
    expect(tally.failed).toBe(1);
  });

  it('counts a worker that died', () => {
    const tally = tallyOfRun("it('a', () => {}); it('b', () => { process.kill(process.pid, 'SIGKILL'); });");
    expect(tally.failed).toBeGreaterThan(0);
  });

  it('calls a run without a test a failure', () => {
    expect(tallyLine(tallyOfRun("it('a', () => {});", ['nothing-matches']))).toBe('0 passed, 1 failed');
  });

  it('calls a run that left nothing behind a failure', () => {
    expect(tallyLine(tallyOf('', 0))).toBe('0 passed, 1 failed');
    expect(tallyLine(tallyOf('', 139))).toBe('0 passed, 1 failed');
  });

  it('keeps what had passed when the run was killed, and does not trip over a torn line', () => {
    const passed = JSON.stringify({ kind: 'test', state: 'passed', name: 'a', file: 'a.test.ts', note: '' });
    expect(tallyLine(tallyOf(`${passed}\n{"kind":"te`, 137))).toBe('1 passed, 1 failed');
  });

  it('never takes a bad exit status for success', () => {
    const passed = JSON.stringify({ kind: 'test', state: 'passed', name: 'a', file: 'a.test.ts', note: '' });
    expect(tallyLine(tallyOf(`${passed}\n{"kind":"end"}\n`, 1))).toBe('1 passed, 1 failed');
  });
});
