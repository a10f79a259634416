import { spawnSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeDaemon } from './fake-daemon.js';
import { GOLDEN_SNAPSHOT } from './fixtures.js';
import { runGfs, runWith } from './run-gfs.js';

describe('candidates', () => {
  let daemon: FakeDaemon;

  beforeEach(async () => {
    daemon = await FakeDaemon.start();
    daemon.add('data');
    daemon.add('database');
    daemon.snapshots.push({ ...GOLDEN_SNAPSHOT, volume: 'data', name: 'monday' });
    daemon.add('old', { retainedAtMs: 1, state: 'retained' });
  });

  afterEach(() => {
    daemon.close();
  });

  test.each([
    [['vol'], ['volume']],
    [
      ['volume', 're'],
      ['rename', 'restore', 'receive'],
    ],
    [
      ['volume', 'get', 'data'],
      ['data', 'database', 'data@monday'],
    ],
    [['-o', 'json', 'volume', 'get', 'datab'], ['database']],
    [['volume', 'get', 'data@'], ['data@monday']],
    [['snapshot', 'hold', ''], ['data@monday']],
    [
      ['volume', 'snapshot', 'sch'],
      ['schedule', 'schedules'],
    ],
    [['volume', 'restore', ''], ['old']],
    [
      ['volume', 'create', 'x', '-c', ''],
      ['encrypted-storage', 'fast-local-ssd'],
    ],
    [['volume', 'list', '--sort', 's'], ['size']],
    [['volume', 'list', '--so'], ['--sort']],
    [
      ['volume', 'get', 'data', '-o', ''],
      ['table', 'json', 'yaml'],
    ],
    [
      ['completion', ''],
      ['bash', 'zsh', 'fish'],
    ],
    [['storage-class', 'create', ''], []],
    [['volume', 'get', 'data', ''], []],
  ])('after %j come %j', async (typed, expected) => {
    const { status, stdout } = await runWith(daemon, ['__complete', '--', ...typed]);
    expect(status).toBe(0);
    const words = stdout.split('\n').flatMap((line) => (line === '' ? [] : [line.split('\t')[0]]));
    expect(words).toEqual(expected);
  });
});

test('without a daemon nothing is said and nothing fails', async () => {
  const argv = ['--daemon-address', '127.0.0.1:1', '__complete', '--', 'volume', 'get', ''];
  expect(await runGfs(argv)).toEqual({ status: 0, stdout: '', stderr: '' });
});

test.each(['bash', 'zsh', 'fish'])('the script of %s is valid for it', async (shell) => {
  const { status, stdout } = await runGfs(['completion', shell]);
  expect(status).toBe(0);
  expect(stdout).toContain('__complete --');
  const check = spawnSync(shell, ['-n'], { input: stdout, encoding: 'utf8' });
  if (check.error !== undefined)
    process.stderr.write(`skipped: ${shell} is not installed, its script was not parsed\n`);
  else expect(check.stderr).toBe('');
});

test('bash takes candidates without their descriptions', async () => {
  const { stdout } = await runGfs(['completion', 'bash']);
  const run = spawnSync('bash', ['-s'], {
    // A program named `gfs` that shows what it is asked and answers as the real one does.
    input: `${stdout}
gfs() { printf '%s|' "$@" > /dev/stderr; printf 'restore\\tbring it back\\nrename\\n'; }
exec 3>&2
COMP_WORDS=(gfs volume re)
COMP_CWORD=2
_gfs_complete
printf '<%s>' "\${COMPREPLY[@]}"
`,
    encoding: 'utf8',
  });
  expect(run.stdout).toBe('<restore><rename>');
});
