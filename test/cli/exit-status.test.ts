import { status as grpc } from '@grpc/grpc-js';
import { createServer, type Socket } from 'node:net';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { toClientError } from '../../src/ipc/client-status.js';
import { exitCodeOf } from '../../src/cli/exit-code.js';
import { FakeDaemon } from './fake-daemon.js';
import { runGfs, runWith } from './run-gfs.js';

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await FakeDaemon.start();
});

afterEach(() => {
  daemon.close();
});

test.each([
  [grpc.NOT_FOUND, 4],
  [grpc.INVALID_ARGUMENT, 2],
  [grpc.ALREADY_EXISTS, 1],
  [grpc.FAILED_PRECONDITION, 1],
  [grpc.RESOURCE_EXHAUSTED, 1],
  [grpc.DATA_LOSS, 1],
  [grpc.UNAUTHENTICATED, 1],
  [grpc.DEADLINE_EXCEEDED, 1],
  [grpc.INTERNAL, 1],
  [grpc.UNIMPLEMENTED, 1],
  [grpc.UNAVAILABLE, 3],
  [grpc.CANCELLED, 3],
])('gRPC status %i is exit status %i, and keeps the words of the daemon', (code, expected) => {
  const error = Object.assign(new Error('long'), { code, details: 'what it said', metadata: undefined as never });
  const circumstances = { address: 'a:1', timeoutMs: 1000, connected: true, connectTimedOut: false, idle: false };
  const fault = toClientError(error, circumstances);
  expect(exitCodeOf(fault)).toBe(expected);
  const own: number[] = [grpc.DEADLINE_EXCEEDED, grpc.UNIMPLEMENTED];
  if (!own.includes(code)) expect(fault.message).toContain('what it said');
});

test('an address where nobody listens fails fast with status 3 and one line that names it', async () => {
  const closed = daemon.address;
  daemon.close();
  const began = performance.now();
  const { status, stdout, stderr } = await runGfs(['volume', 'list', '--daemon-address', closed]);
  expect(performance.now() - began).toBeLessThan(3000);
  expect(status).toBe(3);
  expect(stdout).toBe('');
  expect(stderr).toBe(
    `gfs: no daemon answers at ${closed} (connection refused); start one with \`gfs -d --storage-path DIR\`, ` +
      'or name the right one with --daemon-address\n',
  );
});

test('streams at a dead address fail with status 3 as well', async () => {
  const closed = daemon.address;
  daemon.close();
  expect((await runGfs(['events', '--daemon-address', closed])).status).toBe(3);
  expect((await runGfs(['volume', 'stats', '--daemon-address', closed])).status).toBe(3);
});

test('a socket path that is not there is status 3', async () => {
  const { status, stderr } = await runGfs(['status', '--daemon-address', 'unix:/no/such/socket']);
  expect(status).toBe(3);
  expect(stderr).toContain('no such socket');
});

test('something that accepts and never speaks is given up after seconds, not after 20', async () => {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => sockets.push(socket.on('error', () => {})));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  try {
    const port = (silent.address() as { port: number }).port;
    const began = performance.now();
    const { status } = await runGfs(['status', '--daemon-address', `127.0.0.1:${String(port)}`]);
    expect(status).toBe(3);
    expect(performance.now() - began).toBeLessThan(8000);
  } finally {
    for (const socket of sockets) socket.destroy();
    silent.close();
  }
});

test('a daemon that does not answer in time is status 1 and says how to wait longer', async () => {
  daemon.mute.add('list');
  const { status, stderr } = await runWith(daemon, ['volume', 'list', '--timeout', '300ms']);
  expect(status).toBe(1);
  expect(stderr).toContain('did not answer within 0.3 s');
  expect(stderr).toContain('--timeout');
});

test.each(['192.0.2.1:8090', '[2001:db8::1]:8090', 'storage.example:8090', '0.0.0.0:8090'])(
  'the token never goes in clear to %s',
  async (address) => {
    const options = ['--daemon-address', address, '--token-file', daemon.tokenFile];
    const { status, stderr } = await runGfs(['volume', 'list', ...options]);
    expect(status).toBe(2);
    expect(stderr).toContain('the token would cross the network in clear');
  },
);

test('a missing, a wrong and an unreadable token say what to do', async () => {
  const none = await runGfs(['volume', 'list', '--daemon-address', daemon.address]);
  expect(none.status).toBe(1);
  expect(none.stderr).toContain('--token-file');
  const wrong = join(daemon.folder, 'wrong');
  writeFileSync(wrong, 'other');
  expect((await runWith(daemon, ['volume', 'list', '--token-file', wrong])).status).toBe(1);
  const unreadable = await runWith(daemon, ['volume', 'list', '--token-file', '/no/such/token']);
  expect(unreadable.status).toBe(2);
  expect(unreadable.stderr).toContain('/no/such/token');
  writeFileSync(wrong, 'two\nlines of something else');
  expect((await runWith(daemon, ['volume', 'list', '--token-file', wrong])).stderr).toContain('does not hold a token');
});

test('an interrupted call is status 130', async () => {
  daemon.mute.add('create');
  const interruption = new AbortController();
  const run = runWith(daemon, ['volume', 'create', 'x', '-s', '1M'], { signal: interruption.signal });
  await daemon.until(() => daemon.methods().includes('create'));
  interruption.abort('interrupted');
  const { status, stderr } = await run;
  expect(status).toBe(130);
  expect(stderr).toBe('gfs: interrupted\n');
});

test('a proxy in the environment is not asked', async () => {
  const before = process.env['http_proxy'];
  process.env['http_proxy'] = 'http://127.0.0.1:1';
  try {
    expect((await runWith(daemon, ['volume', 'list'])).status).toBe(0);
  } finally {
    if (before === undefined) delete process.env['http_proxy'];
    else process.env['http_proxy'] = before;
  }
});

test.each([
  ['events', '--follow'],
  ['volume', 'stats', '--watch', '60', '--count', '1000000'],
])('a daemon that goes away while %s %s listens is status 3', async (...argv) => {
  daemon.holdStreams = true;
  const run = runWith(daemon, argv);
  await daemon.until(() => daemon.methods().length > 0);
  daemon.close();
  const { status, stderr } = await run;
  expect(status).toBe(3);
  expect(stderr).toContain(daemon.address);
});

test('a daemon that goes away in the middle of an export is status 3 and leaves no file', async () => {
  daemon.add('data', {}, Buffer.alloc(1024 * 1024, 1));
  daemon.mute.add('exportImage');
  const folder = mkdtempSync(join(tmpdir(), 'gfs-gone-'));
  try {
    const run = runWith(daemon, ['volume', 'export-image', 'data', join(folder, 'out')]);
    await daemon.until(() => daemon.methods().includes('exportImage'));
    daemon.close();
    expect((await run).status).toBe(3);
    expect(readdirSync(folder)).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a daemon that goes away in the middle of an import is status 3', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'gfs-gone-'));
  try {
    writeFileSync(join(folder, 'in'), Buffer.alloc(64 * 1024 * 1024, 1));
    const run = runWith(daemon, ['volume', 'import', join(folder, 'in'), 'data']);
    await daemon.until(() => daemon.importedBytes > 0);
    daemon.close();
    const { status, stderr } = await run;
    expect(stderr).toContain(daemon.address);
    expect(status).toBe(3);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
