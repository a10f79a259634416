import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeDaemon } from './fake-daemon.js';
import { runGfs, runWith } from './run-gfs.js';

describe('without a daemon', () => {
  test.each([
    [['volume', 'creat', 'x'], 'gfs volume has no verb "creat"; did you mean create?'],
    [['volumes'], 'gfs has no verb "volumes"; did you mean volume?'],
    [['frobnicate'], 'gfs has no verb "frobnicate"; `gfs --help` lists them'],
    [['volume', 'list', '--srot', 'size'], 'gfs volume list has no option --srot; did you mean --sort?'],
    [['volume', 'list', '--sort', 'colour'], '--sort is one of name, size, created, allocated, not "colour"'],
    [['volume', 'get'], 'VOLUME is missing (name, id, or the beginning of an id): gfs volume get VOLUME'],
    [['volume', 'get', 'a', 'b'], '"b" is one word too many: gfs volume get VOLUME'],
    [['volume', 'create', 'a'], 'a size is missing: gfs volume create a --size 10G'],
    [['volume', 'create', 'a', '--size'], '--size needs a value: --size SIZE'],
    [['volume', 'create', 'a', '-s', '1G', '-s', '2G'], '--size is given 2 times; once is enough'],
    [['volume', 'create', 'a', '-n', 'b', '-s', '1G'], 'two names are given, "a" and "b"; one volume has one'],
    [['volume', 'create', 'a', '-s', '1G', '--label', 'x'], '--label takes KEY=VALUE, not "x"'],
    [['volume', 'create', 'a', '-s', '1G', '-r', 'two'], '--replicas takes a whole number from 1, not "two"'],
    [['status', '-o', 'xml'], '--output is one of table, json, yaml, not "xml"'],
    [['status', '--daemon-address', 'here'], '"here" is not a daemon\'s address'],
    [['completion', 'tcsh'], 'SHELL is one of bash, zsh, fish, not "tcsh"'],
    [['help', 'volume', 'creat'], 'there is no `gfs volume creat`; did you mean volume create?'],
  ])('%j is wrong usage and says what is right', async (argv, message) => {
    const { status, stdout, stderr } = await runGfs(argv);
    expect(stderr).toContain(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toMatch(/^gfs: /);
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });

  test('a size that is none says what a size is', async () => {
    const { status, stderr } = await runGfs(['volume', 'create', 'a', '-s', '10 gigs']);
    expect(status).toBe(2);
    expect(stderr).toContain('not a size');
  });

  test.each([[['help']], [['--help']], [['-h']], [[]]])('%j shows every command', async (argv) => {
    const { status, stdout, stderr } = await runGfs(argv);
    expect(status).toBe(0);
    expect(stderr).toBe('');
    for (const verb of ['volume create', 'storage-class list', 'daemon stop', 'events', 'completion SHELL']) {
      expect(stdout).toContain(`gfs ${verb}`);
    }
    expect(stdout).not.toContain('__complete');
  });

  test.each([[['help', 'volume', 'create']], [['volume', 'create', '--help']], [['-h', 'volume', 'create', '-s']]])(
    '%j explains one command',
    async (argv) => {
      const { status, stdout } = await runGfs(argv);
      expect(status).toBe(0);
      expect(stdout).toContain('Usage: gfs volume create [NAME] [options]');
      expect(stdout).toContain('-s, --size SIZE');
    },
  );

  test.each([[['volume', '--help']], [['volume', 'help']], [['help', 'volume']]])('%j lists a group', async (argv) => {
    const { status, stdout } = await runGfs(argv);
    expect(status).toBe(0);
    expect(stdout).toContain('gfs volume purge VOLUME');
    expect(stdout).not.toContain('gfs daemon');
  });

  test('--version says the version of the package', async () => {
    expect((await runGfs(['--version'])).stdout).toMatch(/^gfs \d+\.\d+\.\d+\n$/);
  });

  test('help fits what a terminal of 80 columns wraps sensibly: no line starts beyond the option column', async () => {
    const { stdout } = await runGfs(['help', 'volume', 'import']);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThan(130);
  });
});

describe('global options', () => {
  let daemon: FakeDaemon;

  beforeEach(async () => {
    daemon = await FakeDaemon.start();
    daemon.add('data');
  });

  afterEach(() => {
    daemon.close();
  });

  test.each([
    [['-o', 'json', 'volume', 'get', 'data']],
    [['volume', '-o', 'json', 'get', 'data']],
    [['volume', 'get', 'data', '-o', 'json']],
    [['volume', 'get', '--output=json', 'data']],
    [['-ojson', 'volume', 'get', 'data']],
    [['--no-color', '--output', 'json', '--timeout', '5', 'volume', 'get', 'data']],
  ])('stand before or after the verb: %j', async (argv) => {
    const { status, stdout } = await runWith(daemon, argv);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ name: 'data' });
  });

  test('address and token file as options, also before the verb', async () => {
    const options = ['--daemon-address', daemon.address, '--token-file', daemon.tokenFile];
    expect((await runGfs([...options, 'volume', 'get', 'data'])).status).toBe(0);
    expect((await runGfs(['volume', 'get', 'data', ...options])).status).toBe(0);
    // Options win over the environment.
    const environment = { GFS_DAEMON_ADDRESS: '127.0.0.1:1', GFS_TOKEN_FILE: '/no/token' };
    expect((await runGfs(['volume', 'get', 'data', ...options], { environment })).status).toBe(0);
  });
});
