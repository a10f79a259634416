import { appendFileSync, readFileSync, statSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { temporaryFolder } from '../base/temporary-folder.js';
import { run } from '../nbd/programs.js';
import { DaemonProcess } from './daemon-process.js';
import { needs } from './needs.js';
import { PipelinedClient } from './pipelined-client.js';

// Many processes are started here, and a busy machine must not decide a test.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

const MIB = 1 << 20;

function start(options: Partial<Parameters<typeof DaemonProcess.start>[0]> = {}): Promise<DaemonProcess> {
  return DaemonProcess.start({ atEnd: onTestFinished, ...options });
}

test('what was made is there after an orderly stop and after kill -9: exports, events, retained, labels', async () => {
  const daemon = await start();
  await daemon.gfsOk('volume', 'create', 'data', '--size', '16M', '-l', 'a=b');
  await daemon.gfsOk('volume', 'create', 'scratch', '--size', '16M', '-t', 'ephemeral');
  await daemon.gfsOk('volume', 'export', 'data', '--read-only');
  await daemon.gfsOk('volume', 'create', 'old', '--size', '16M');
  await daemon.gfsOk('volume', 'delete', 'old');
  await daemon.gfsOk('volume', 'protect', 'data');
  const before = await daemon.json('events', '-n', '0');
  for (const end of ['stop', 'kill'] as const) {
    if (end === 'stop') expect(await daemon.stop()).toBe(0);
    else await daemon.kill9();
    await daemon.start();
    const [data, ...others] = await daemon.json('volume', 'list');
    expect(others).toEqual([]); // the ephemeral one is gone
    expect(data).toMatchObject({ name: 'data', labels: { a: 'b' }, protected: true, state: 'available' });
    expect(data.export).toMatchObject({ readOnly: true });
    expect(await daemon.json('volume', 'list', '--retained')).toHaveLength(1);
    const after = await daemon.json('events', '-n', '0');
    const ids = new Set(after.map((event: { id: number }) => event.id));
    expect(before.every((event: { id: number }) => ids.has(event.id))).toBe(true);
    const client = await PipelinedClient.connect(daemon.socketPath, 'data');
    expect((await client.read(0, 4096)).length).toBe(4096);
    client.close();
  }
});

test('SIGTERM with clients at work: what was acknowledged is there, exit 0, nothing to replay', async () => {
  const daemon = await start();
  await daemon.volume('data', 16 * MIB);
  const client = await PipelinedClient.connect(daemon.socketPath, 'data');
  let acknowledged = 0;
  const work = (async () => {
    for (let n = 0; n < 4096 && !client.ended; n += 1) {
      const { outcome } = await client.send(1, n * 4096, { payload: Buffer.alloc(4096, (n % 255) + 1) });
      if (outcome !== 0) return;
      acknowledged = n + 1;
      if (n === 300) daemon.signal('SIGTERM');
    }
  })();
  await work;
  expect(await daemon.exited()).toBe(0);
  client.close();
  expect(acknowledged).toBeGreaterThan(300);
  const from = daemon.log.length;
  await daemon.start();
  const { lastRecovery } = await daemon.client.status();
  expect(lastRecovery).not.toBe('');
  expect(daemon.log.slice(from).filter((line) => line.level === 'error')).toEqual([]);
  const again = await PipelinedClient.connect(daemon.socketPath, 'data');
  const data = await again.read(0, acknowledged * 4096);
  for (let n = 0; n < acknowledged; n += 1) expect(data[n * 4096]).toBe((n % 255) + 1);
  again.close();
});

test('gfs daemon stop ends it with exit status 0, and what follows says that it is gone', async () => {
  const daemon = await start();
  await daemon.gfsOk('daemon', 'stop');
  expect(await daemon.exited()).toBe(0);
  for (const verb of [['status'], ['daemon', 'status'], ['volume', 'list'], ['daemon', 'stop'], ['events', '-f']]) {
    const { status, stdout, stderr } = await daemon.gfs(...verb);
    expect({ verb, status, stdout }).toEqual({ verb, status: 3, stdout: '' });
    expect(stderr).toMatch(/127\.0\.0\.1:\d+.*gfs -d/);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  }
});

test('a daemon that cannot start says why in one line', async () => {
  const daemon = await start();
  const refusal = async (other: DaemonProcess, says: RegExp, flags: string[] = []): Promise<void> => {
    const { status, output } = await other.startRefused(flags);
    expect(status, output).toBeGreaterThan(0);
    const said = output.split('\n').filter((line) => says.test(line));
    expect(said, output).toHaveLength(1);
    expect(output).not.toMatch(/\n\s+at /); // no stack
  };
  const other = await DaemonProcess.prepare({ atEnd: onTestFinished });
  const same = await DaemonProcess.prepare({ atEnd: onTestFinished, storagePath: daemon.storagePath });
  await refusal(same, /another daemon/);
  const status = await daemon.client.status();
  for (const [flag, address] of [
    ['--ipc-address', status.ipcAddress],
    ['--nbd-address', status.nbdAddress],
    ['--metrics-address', status.metricsAddress],
  ] as const) {
    await refusal(other, new RegExp(`${address.replaceAll('.', '\\.')}.*in use`), [flag, address]);
  }
  await refusal(other, /0\.0\.0\.0.*--insecure-nbd/, ['--nbd-address', '0.0.0.0:0']);
  await refusal(other, /--colour/, ['--colour', 'blue']);
  await refusal(other, /block/i, ['--block-size', '5000']);
  await other.configure({ daemon: ['block_size = "8K"', 'colour = "blue"'] });
  await refusal(other, /galleonfs\.toml:3.*colour/);
  await other.configure({ persistence: ['checkpoint_interval = "soon"'] });
  await refusal(other, /galleonfs\.toml:3.*soon/);
  await other.configure({});
  appendFileSync(other.configFile, 'this is no TOML');
  await refusal(other, /galleonfs\.toml:\d+/);

  // The same daemon still serves, and the other starts once nothing is in its way.
  expect((await daemon.gfs('daemon', 'status')).status).toBe(0);
  await other.configure({});
  await other.start();
  expect((await other.client.status()).ready).toBe(true);
});

test('a storage path on a read-only disk is refused in one line', async (context) => {
  needs(context, 'root', 'permission to mount');
  const place = join(await temporaryFolder(), 'read-only');
  await mkdir(place);
  await run('mount', ['-t', 'tmpfs', '-o', 'ro,size=1m', 'tmpfs', place]);
  onTestFinished(async () => {
    await run('umount', [place]);
  });
  const readOnly = await DaemonProcess.prepare({ atEnd: onTestFinished, storagePath: join(place, 'storage') });
  const { status, output } = await readOnly.startRefused();
  expect(status).toBe(1);
  expect(output).toMatch(/^gfs: .*read-only.*$/m);
});

test('two daemons of one user: the command line asks which one is meant', async () => {
  const one = await start();
  const two = await start({ environment: { GFS_RUNTIME_FOLDER: join(one.folder, 'runtime') } });
  const { status, stderr } = await one.gfs('volume', 'list');
  expect(status).toBe(2);
  const addresses = [(await statusOf(one)).ipcAddress, (await statusOf(two)).ipcAddress];
  for (const address of addresses) expect(stderr).toContain(address);
  expect(await one.json('volume', 'list', '--daemon-address', addresses[1])).toEqual([]);
  expect(await two.stop()).toBe(0);
  expect(await one.json('volume', 'list')).toEqual([]);
});

async function statusOf(daemon: DaemonProcess): Promise<{ ipcAddress: string }> {
  const environment = { GFS_TOKEN_FILE: join(daemon.storagePath, 'run/control.token') };
  const { resultOf } = await import('./daemon-process.js');
  const { stdout } = await resultOf(daemon.spawnGfs(['daemon', 'status', '-o', 'json'], environment));
  return JSON.parse(stdout) as { ipcAddress: string };
}

test('without its token nobody is heard', async () => {
  const daemon = await start();
  const { ipcAddress } = await daemon.client.status();
  const other = await DaemonProcess.prepare({ atEnd: onTestFinished });
  const { status, stderr } = await other.gfs('volume', 'list', '--daemon-address', ipcAddress);
  expect(status).toBe(1);
  expect(stderr).toContain('--token-file');
  const tokenFile = join(daemon.storagePath, 'run/control.token');
  await other.gfsOk('volume', 'list', '--daemon-address', ipcAddress, '--token-file', tokenFile);
  for (const secret of [tokenFile, join(daemon.storagePath, 'keys/master.key'), daemon.socketPath]) {
    expect(statSync(secret).mode & 0o777, secret).toBe(0o600);
  }
});

test('/metrics and /healthz', async () => {
  const daemon = await start();
  await daemon.volume('data', 16 * MIB);
  const client = await PipelinedClient.connect(daemon.socketPath, 'data');
  for (let n = 0; n < 10; n += 1) await client.send(1, n * 4096, { payload: Buffer.alloc(4096, n + 1) });
  await client.send(3, 0, { length: 0 });
  const { metricsAddress } = await daemon.client.status();
  const health = await fetch(`http://${metricsAddress}/healthz`);
  expect(health.status).toBe(200);
  const text = await (await fetch(`http://${metricsAddress}/metrics`)).text();
  const value = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? NaN);
  const volume = (name: string): RegExp =>
    new RegExp(`^galleonfs_volume_${name}\\{[^}]*volume="data"[^}]*\\} (\\S+)$`, 'm');
  expect(Number(volume('written_bytes_total').exec(text)?.[1])).toBe(40960);
  expect(Number(volume('connections').exec(text)?.[1])).toBe(1);
  expect(value('galleonfs_store_ready')).toBe(1);
  expect(value('galleonfs_store_journal_bytes')).toBeGreaterThan(0);
  expect(value('galleonfs_store_sync_duration_seconds_count')).toBeGreaterThan(0);
  expect(value('process_resident_memory_bytes')).toBeGreaterThan(0);
  client.close();
});

test('SIGHUP takes a new log level from the file and ends nothing', async () => {
  const daemon = await start();
  await daemon.volume('data', 16 * MIB);
  const client = await PipelinedClient.connect(daemon.socketPath, 'data');
  const reload = async (level: string): Promise<void> => {
    await daemon.configure({ daemon: [`log_level = "${level}"`] });
    const from = daemon.log.length;
    daemon.signal('SIGHUP');
    await daemon.logged((line) => /read again|reload failed/.test(line.msg ?? ''), from);
    expect((await client.read(0, 4096)).length).toBe(4096);
  };
  // Also a level that hides such lines is answered, once.
  await reload('error');
  await reload('debug');
  // What cannot be read changes nothing, and says so.
  await reload('loudly');
  expect(daemon.log.at(-1)).toMatchObject({ level: 'error', error: expect.stringMatching(/loudly/) as string });
  // The level is in force: a checkpoint is told of in debug lines only.
  const from = daemon.log.length;
  client.close();
  expect(await daemon.stop()).toBe(0);
  expect(daemon.log.slice(from).some((line) => line.level === 'debug')).toBe(true);
});

test('secrets are never in the log, nor unwrapped keys on the disk', async () => {
  const daemon = await start({ flags: ['--log-level', 'debug'] });
  await daemon.gfsOk('volume', 'create', 'data', '--size', '16M');
  await daemon.gfsOk('volume', 'export', 'data');
  const token = readFileSync(join(daemon.storagePath, 'run/control.token'), 'utf8').trim();
  const masterKey = readFileSync(join(daemon.storagePath, 'keys/master.key'));
  await daemon.gfs('volume', 'list', '--token-file', join(daemon.storagePath, 'node.json'));
  expect(await daemon.stop()).toBe(0);
  expect(token.length).toBeGreaterThan(20);
  const spellings = [token, masterKey.toString('utf8').trim(), masterKey.toString('hex'), masterKey.toString('base64')];
  for (const spelling of spellings) expect(daemon.output).not.toContain(spelling);
});

test('a storage path that went away while nobody ran is not silently replaced by an empty one', async () => {
  const daemon = await start();
  await daemon.volume('data', 16 * MIB);
  expect(await daemon.stop()).toBe(0);
  await rm(join(daemon.storagePath, 'node.json'));
  const { status, output } = await daemon.startRefused();
  expect(status).toBeGreaterThan(0);
  expect(output).toMatch(/node\.json/);
});

test('a port that another program holds is named', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => {
    server.close();
  });
  await new Promise((resolve) => server.once('listening', resolve));
  const address = `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const daemon = await DaemonProcess.prepare({ atEnd: onTestFinished });
  const { status, output } = await daemon.startRefused(['--nbd-address', address]);
  expect(status).toBe(1);
  expect(output).toMatch(new RegExp(`NBD.*${address}.*in use`));
});
