import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FakeDaemon } from './fake-daemon.js';
import { spawnGfs } from './run-gfs.js';

let daemon: FakeDaemon;
let folder: string;
let environment: Record<string, string>;
const children: ChildProcess[] = [];

beforeEach(async () => {
  daemon = await FakeDaemon.start();
  folder = mkdtempSync(join(tmpdir(), 'gfs-process-'));
  environment = {
    GFS_DAEMON_ADDRESS: daemon.address,
    GFS_TOKEN_FILE: daemon.tokenFile,
    GFS_RUNTIME_FOLDER: folder,
  };
});

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  daemon.close();
  rmSync(folder, { recursive: true, force: true });
});

function start(...argv: string[]): ChildProcess {
  const child = spawnGfs(argv, environment);
  children.push(child);
  return child;
}

async function end(child: ChildProcess): Promise<{ status: number | null; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  child.stdout!.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr!.on('data', (data: Buffer) => (stderr += data.toString()));
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, stdout, stderr };
}

test('Ctrl-C in the middle of an import leaves no volume', async () => {
  writeFileSync(join(folder, 'in.raw'), randomBytes(1024 * 1024));
  const padded = join(folder, 'big.raw');
  writeFileSync(padded, Buffer.concat(Array.from({ length: 96 }, () => randomBytes(1024 * 1024))));
  const child = start('volume', 'import', padded, 'data');
  const ended = end(child);
  await daemon.until(() => daemon.importedBytes > 0);
  child.kill('SIGINT');
  const { status, stdout, stderr } = await ended;
  expect(stderr).toBe('gfs: interrupted\n');
  expect(stdout).toBe('');
  expect(status).toBe(130);
  expect(daemon.importedBytes).toBeLessThan(96 * 1024 * 1024);
  expect(daemon.methods()).toContain('importAbandoned');
  expect(daemon.volumes.size).toBe(0);
});

test('a killed import leaves no volume either', async () => {
  const big = join(folder, 'big.raw');
  writeFileSync(big, Buffer.concat(Array.from({ length: 64 }, () => randomBytes(1024 * 1024))));
  const child = start('volume', 'import', big, 'data');
  await daemon.until(() => daemon.importedBytes > 0);
  child.kill('SIGKILL');
  await daemon.until(() => daemon.volumes.size === 0);
});

test('a reader that goes away ends a long output quietly', async () => {
  const child = start('volume', 'stats', '--watch', '0.1', '-o', 'json');
  child.stdout!.once('data', () => child.stdout!.destroy());
  let stderr = '';
  child.stderr!.on('data', (data: Buffer) => (stderr += data.toString()));
  const [status] = (await once(child, 'close')) as [number | null];
  expect(stderr).toBe('');
  expect(status).toBe(0);
});

test('Ctrl-C while following events ends with 130 and without a crash', async () => {
  const child = start('events', '--follow');
  const ended = end(child);
  await once(child.stdout!, 'data');
  child.kill('SIGINT');
  const { status, stderr } = await ended;
  expect(status).toBe(130);
  expect(stderr).toBe('gfs: interrupted\n');
});

test('a big answer reaches a pipe whole', async () => {
  for (let index = 0; index < 3000; index++) daemon.add(`volume-${String(index)}`);
  const { status, stdout } = await end(start('volume', 'list', '-o', 'json'));
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toHaveLength(3000);
});

test('the program finds the only daemon of its user by itself', async () => {
  const { registerDaemon, registryPlace } = await import('../../src/ipc/daemon-registry.js');
  const entry = {
    pid: process.pid,
    startedAtMs: 1,
    ipcAddress: daemon.address,
    tokenFile: daemon.tokenFile,
    storagePath: '/srv/galleon',
  };
  const registration = await registerDaemon(entry, registryPlace({ GFS_RUNTIME_FOLDER: folder }));
  try {
    environment = { GFS_RUNTIME_FOLDER: folder };
    daemon.add('data');
    const { status, stdout } = await end(start('volume', 'get', 'data', '-o', 'json'));
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ name: 'data' });
  } finally {
    await registration.close();
  }
});

test("a check of nothing says what is missing, and its help is the command line's", async () => {
  const { status, stderr } = await end(start('daemon', 'check'));
  expect(status).toBe(2);
  expect(stderr).toContain('no storage path is given');
  expect((await end(start('daemon', 'check', '--help'))).stdout).toContain('gfs daemon check');
});

test('a verb with -d is no daemon', async () => {
  const { status, stderr } = await end(start('volume', 'list', '-d'));
  expect(status).toBe(2);
  expect(stderr).toContain('gfs volume list has no option -d');
});
