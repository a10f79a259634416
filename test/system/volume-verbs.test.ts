import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { runGfs } from '../cli/run-gfs.js';
import { run } from '../nbd/programs.js';
import { DaemonProcess, resultOf } from './daemon-process.js';
import { needs } from './needs.js';
import { PipelinedClient } from './pipelined-client.js';

// Many processes are started here, and a busy machine must not decide a test.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

const MIB = 1 << 20;
const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3, notFound: 4, interrupted: 130 };

let daemon: DaemonProcess;
const cleanUps: (() => Promise<void>)[] = [];

afterAll(async () => {
  for (const cleanUp of cleanUps) await cleanUp();
});

beforeAll(async () => {
  daemon = await DaemonProcess.start({ atEnd: (cleanUp) => cleanUps.push(cleanUp) });
});

/** Runs a command that must fail with this status and one line that fits; in this process, because there are many. */
async function refused(status: number, says: RegExp, ...args: string[]): Promise<void> {
  const { ipcAddress } = await daemon.client.status();
  const tokenFile = join(daemon.storagePath, 'run/control.token');
  const environment = { GFS_DAEMON_ADDRESS: ipcAddress, GFS_TOKEN_FILE: tokenFile };
  const result = await runGfs(args, { environment, workingFolder: daemon.folder });
  const line = `gfs ${args.join(' ')}`;
  expect({ line, status: result.status, stdout: result.stdout }).toEqual({ line, status, stdout: '' });
  expect(result.stderr).toMatch(says);
  expect(result.stderr.trimEnd().split('\n').length, result.stderr).toBeLessThanOrEqual(2);
}

/** A client of an export, closed with the test. */
async function connect(name: string): Promise<PipelinedClient> {
  const client = await PipelinedClient.connect(daemon.socketPath, name);
  onTestFinished(() => client.close());
  return client;
}

test('create, list, get: what was asked for is what there is', async () => {
  const made = await daemon.json('volume', 'create', 'first', '--size', '1.5G', '-l', 'team=web', '--label', 'tier=a');
  expect(made).toMatchObject({
    name: 'first',
    sizeBytes: 1.5 * 2 ** 30,
    allocatedBytes: 0,
    blockBytes: 4096,
    storageClass: 'encrypted-storage',
    encrypted: true,
    state: 'available',
    replicas: { current: 1, desired: 3 },
    labels: { team: 'web', tier: 'a' },
    volumeType: 'persistent',
    reclaimPolicy: 'Retain',
    export: null,
  });
  expect(Date.parse(made.createdAt)).toBeGreaterThan(0);
  await daemon.gfsOk('volume', 'create', '-n', 'second', '-s', '512M', '-c', 'fast-local-ssd', '-r', '2');
  await daemon.gfsOk('volume', 'create', 'third', '-s', '16777216', '-t', 'shared', '--block-size', '64K');
  expect(await daemon.json('volume', 'get', 'second')).toMatchObject({ encrypted: false, replicas: { desired: 2 } });
  expect(await daemon.json('volume', 'get', 'third')).toMatchObject({ volumeType: 'shared', blockBytes: 65536 });

  const names = async (...args: string[]): Promise<string[]> =>
    (await daemon.json('volume', 'list', ...args)).map((volume: { name: string }) => volume.name);
  expect(await names()).toEqual(['first', 'second', 'third']);
  expect(await names('-l', 'team=web')).toEqual(['first']);
  expect(await names('--sort', 'size')).toHaveLength(3);
  // By id, by the beginning of an id, and with global flags before the verb.
  expect((await daemon.json('volume', 'get', made.id)).name).toBe('first');
  expect((await daemon.json('volume', 'get', made.id.slice(0, 13))).name).toBe('first');
  expect(JSON.parse(await daemon.gfsOk('-o', 'json', 'volume', 'get', 'first')).id).toBe(made.id);
  expect(await daemon.gfsOk('volume', 'list', '-o', 'yaml')).toContain('name: first');
  expect(await daemon.gfsOk('volume', 'list')).toMatch(/first .*1\.5 GiB/);
});

test('what cannot be is refused with its reason', async () => {
  await daemon.gfsOk('volume', 'create', 'taken', '--size', '16M');
  await refused(EXIT.failed, /taken/, 'volume', 'create', 'taken', '--size', '16M');
  await refused(EXIT.usage, /size/, 'volume', 'create', 'nosize');
  await refused(EXIT.usage, /Upper|name/, 'volume', 'create', 'Upper', '--size', '1G');
  await refused(EXIT.usage, /name/, 'volume', 'create', 'x'.repeat(64), '--size', '1G');
  for (const size of ['0', '-1G', '1000', '9000P', 'many', '1.0001K', '']) {
    await refused(EXIT.usage, /size|"|bytes/i, 'volume', 'create', 'odd', `--size=${size}`);
  }
  await refused(
    EXIT.notFound,
    /no storage class.*"nosuch"|nosuch/,
    'volume',
    'create',
    'odd',
    '-s',
    '1G',
    '-c',
    'nosuch',
  );
  await refused(EXIT.usage, /volume-type|forever/, 'volume', 'create', 'odd', '-s', '1G', '-t', 'forever');
  await refused(EXIT.usage, /--sise/, 'volume', 'create', 'odd', '--sise', '1G');
  await refused(EXIT.usage, /./, 'volume', 'frobnicate', 'odd');
  await refused(EXIT.usage, /./, 'frobnicate');
  await refused(EXIT.usage, /./, 'volume', 'get');
  await refused(EXIT.failed, /cannot shrink.*clone/, 'volume', 'expand', 'taken', '--size', '8M');
  const unknown = [
    ['get', 'nobody'],
    ['delete', 'nobody', '--force'],
    ['purge', 'nobody', '--force'],
    ['restore', 'nobody'],
    ['expand', 'nobody', '--size', '+1G'],
    ['export', 'nobody'],
    ['unexport', 'nobody'],
    ['kick', 'nobody'],
    ['stats', 'nobody'],
    ['rename', 'nobody', 'somebody'],
    ['label', 'nobody', 'a=b'],
    ['protect', 'nobody'],
    ['unprotect', 'nobody'],
    ['export-image', 'nobody', 'nobody.raw'],
  ];
  for (const verb of unknown) await refused(EXIT.notFound, /nobody/, 'volume', ...verb);
  // The name of a volume that is gone for good still means its events, so any name is a question that can be asked.
  expect(await daemon.json('events', '--volume', 'nobody')).toEqual([]);
  expect((await daemon.json('volume', 'list')).map((each: { name: string }) => each.name)).not.toContain('odd');
});

test('two creates of one name at once make one volume', async () => {
  const runs = await Promise.all(
    Array.from({ length: 4 }, () => daemon.gfs('volume', 'create', 'contested', '--size', '16M')),
  );
  expect(runs.map(({ status }) => status).sort()).toEqual([0, 1, 1, 1]);
  for (const { status, stderr } of runs) if (status === 1) expect(stderr).toMatch(/contested/);
  const all = await daemon.json('volume', 'list');
  expect(all.filter((each: { name: string }) => each.name === 'contested')).toHaveLength(1);
});

test('delete under Retain keeps the data until it is purged; restore brings it back', async () => {
  await daemon.volume('kept', 16 * MIB);
  const nbd = await connect('kept');
  expect((await nbd.send(1, 4096, { payload: Buffer.alloc(4096, 0x6b) })).outcome).toBe(0);
  await refused(EXIT.failed, /1 connection/, 'volume', 'delete', 'kept');
  nbd.close();
  await untilUnused('kept');
  expect(await daemon.json('volume', 'delete', 'kept')).toMatchObject({ outcome: 'retained' });
  await refused(EXIT.notFound, /retained/, 'volume', 'get', 'kept');
  const retained = await daemon.json('volume', 'list', '--retained');
  expect(retained).toHaveLength(1);
  // The name is free for another; the old one comes back under a new name only.
  await daemon.gfsOk('volume', 'create', 'kept', '--size', '16M');
  await refused(EXIT.failed, /kept/, 'volume', 'restore', retained[0].id);
  await daemon.gfsOk('volume', 'restore', 'kept', '--name', 'back');
  await daemon.gfsOk('volume', 'export', 'back');
  expect((await (await connect('back')).read(4096, 4096)).equals(Buffer.alloc(4096, 0x6b))).toBe(true);

  // Purge erases for good, and asks nobody where there is nobody.
  await daemon.json('volume', 'delete', 'kept');
  await refused(EXIT.usage, /--force/, 'volume', 'purge', 'kept');
  await daemon.gfsOk('volume', 'purge', 'kept', '--force');
  expect(await daemon.json('volume', 'list', '--retained')).toEqual([]);
  // delete --force drops the clients and purges at once.
  const dropped = await daemon.json('volume', 'delete', 'back', '--force');
  expect(dropped).toMatchObject({ outcome: 'purged' });
  expect(dropped.detail).toMatch(/connection/);
  await refused(EXIT.notFound, /back/, 'volume', 'restore', 'back');
});

test('a purge leaves the wrapped key in no file of the storage path', async () => {
  const folders = ['meta', 'keys', 'map', 'run'].map((name) => join(daemon.storagePath, name));
  const holders = (text: string): string[] =>
    folders
      .flatMap((folder) => readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)))
      .filter((file) => statSync(file).isFile() && readFileSync(file).includes(text));
  const keysPath = join(daemon.storagePath, 'keys/data');
  const before = new Set(readdirSync(keysPath));
  // Others come and go meanwhile, so that pages are freed and used again.
  for (let n = 0; n < 6; n += 1) await daemon.volume(`key-${String(n)}`, 16 * MIB);
  const wrapped = readdirSync(keysPath)
    .filter((name) => !before.has(name))
    .map((name) => (JSON.parse(readFileSync(join(keysPath, name), 'utf8')) as { wrapped: string }).wrapped);
  expect(wrapped).toHaveLength(6);
  for (const text of wrapped) expect(holders(text)).toHaveLength(2);
  for (let n = 0; n < 5; n += 1) {
    const removed = await daemon.json('volume', 'delete', `key-${String(n)}`, '--force');
    expect(removed.detail).toMatch(/data keys were destroyed first/);
  }
  expect(wrapped.map((text) => holders(text).length).sort()).toEqual([0, 0, 0, 0, 0, 2]);
  await daemon.gfsOk('volume', 'delete', 'key-5', '--force');
});

/** Resolves when the daemon has noticed that the clients of a volume are gone. */
async function untilUnused(name: string): Promise<void> {
  for await (const event of daemon.client.events({ follow: true, limit: 20, volume: name })) {
    if (event.kind === 'client.disconnected') return;
  }
}

test('delete under Delete needs --force where nobody can be asked', async () => {
  await daemon.gfsOk('volume', 'create', 'gone', '--size', '16M', '-c', 'fast-local-ssd');
  await refused(EXIT.usage, /--force/, 'volume', 'delete', 'gone');
  await daemon.gfsOk('volume', 'delete', 'gone', '--force');
  await refused(EXIT.notFound, /gone/, 'volume', 'get', 'gone');
});

test('protect, rename and labels', async () => {
  await daemon.gfsOk('volume', 'create', 'safe', '--size', '16M', '-c', 'fast-local-ssd');
  await daemon.gfsOk('volume', 'protect', 'safe');
  await refused(EXIT.failed, /unprotect/, 'volume', 'delete', 'safe', '--force');
  await daemon.gfsOk('volume', 'label', 'safe', 'team=db', 'old=1');
  await daemon.gfsOk('volume', 'label', 'safe', 'old-');
  await daemon.gfsOk('volume', 'rename', 'safe', 'safer');
  expect(await daemon.json('volume', 'get', 'safer')).toMatchObject({ protected: true, labels: { team: 'db' } });
  await refused(EXIT.notFound, /safe/, 'volume', 'get', 'safe');
  await daemon.gfsOk('volume', 'unprotect', 'safer');
  await daemon.gfsOk('volume', 'delete', 'safer', '--force');
});

test('expand while connected: the client keeps its size, the next one has the new', async () => {
  await daemon.volume('grow', 16 * MIB);
  const before = await connect('grow');
  expect((await before.send(1, 0, { payload: Buffer.alloc(4096, 1) })).outcome).toBe(0);
  expect(await daemon.json('volume', 'expand', 'grow', '--size', '+16M')).toMatchObject({ sizeBytes: 32 * MIB });
  expect((await before.read(0, 4096))[0]).toBe(1);
  const after = await connect('grow');
  expect((await after.send(1, 24 * MIB, { payload: Buffer.alloc(4096, 2) })).outcome).toBe(0);
  expect((await after.read(24 * MIB, 4096))[0]).toBe(2);
  expect(await daemon.json('volume', 'expand', 'grow', '--size', '64M')).toMatchObject({ sizeBytes: 64 * MIB });
});

test('export, read-only, kick, unexport', async () => {
  await daemon.gfsOk('volume', 'create', 'shown', '--size', '16M');
  await daemon.gfsOk('volume', 'export', 'shown', '--read-only');
  const { export: exported, state } = await daemon.json('volume', 'get', 'shown');
  expect(state).toBe('available');
  expect(exported).toMatchObject({ name: 'shown', readOnly: true, connections: [] });
  expect(exported.socketUri).toBe(`nbd+unix:///shown?socket=${daemon.socketPath}`);
  expect(exported.uri).toMatch(/^nbd:\/\/127\.0\.0\.1:\d+\/shown$/);
  const reader = await connect('shown');
  expect((await reader.send(1, 0, { payload: Buffer.alloc(512) })).outcome).toBe(1);
  expect((await reader.read(0, 512)).equals(Buffer.alloc(512))).toBe(true);
  const used = await daemon.json('volume', 'get', 'shown');
  expect(used.state).toBe('in-use');
  expect(used.export.connections).toHaveLength(1);
  expect(used.export.connections[0]).toMatchObject({ inFlight: 0, transport: 'unix' });
  await daemon.gfsOk('volume', 'kick', 'shown', used.export.connections[0].address);
  expect((await reader.send(0, 0, { length: 512 })).outcome).toBe('unknown');
  const next = await connect('shown');
  await refused(EXIT.failed, /connection/, 'volume', 'unexport', 'shown');
  await daemon.gfsOk('volume', 'unexport', 'shown', '--force');
  expect((await next.send(0, 0, { length: 512 })).outcome).toBe('unknown');
  await expect(PipelinedClient.connect(daemon.socketPath, 'shown')).rejects.toThrow();
});

/** A sparse raw image. */
function rawImage(): string {
  const image = join(daemon.folder, 'image.raw');
  writeFileSync(image, randomBytes(3 * MIB + 1000));
  truncateSync(image, 40 * MIB);
  return image;
}

test('import and export-image carry raw images', async () => {
  const image = rawImage();
  const made = await daemon.json('volume', 'import', image, 'imported', '-l', 'from=file');
  expect(made).toMatchObject({ name: 'imported', sizeBytes: 40 * MIB, labels: { from: 'file' } });
  expect(made.allocatedBytes).toBeLessThan(4 * MIB);
  const back = join(daemon.folder, 'back.raw');
  await daemon.gfsOk('volume', 'export-image', 'imported', back);
  expect(readFileSync(back).equals(readFileSync(image))).toBe(true);
  await refused(EXIT.failed, /--force|exists/, 'volume', 'export-image', 'imported', back);
  await daemon.gfsOk('volume', 'export-image', 'imported', back, '--force');
  await refused(EXIT.failed, /imported/, 'volume', 'import', image, 'imported');
  await refused(EXIT.failed, /nosuch/, 'volume', 'import', join(daemon.folder, 'nosuch.raw'), 'other');
});

test('import and export-image carry qcow2 where qemu-img is', async (context) => {
  needs(context, 'qemu-img');
  const image = rawImage();
  const qcow = join(daemon.folder, 'image.qcow2');
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', image, qcow]);
  await daemon.gfsOk('volume', 'import', qcow, 'from-qcow2');
  const again = join(daemon.folder, 'again.qcow2');
  await daemon.gfsOk('volume', 'export-image', 'from-qcow2', again);
  expect(await run('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', image, again])).toContain('identical');
});

test('Ctrl-C during an import leaves no volume', async () => {
  const image = join(daemon.folder, 'long.raw');
  writeFileSync(image, Buffer.alloc(192 * MIB, 'not zeros'));
  const child = daemon.spawnGfs(['volume', 'import', image, 'half']);
  const ended = resultOf(child);
  // Interrupted once its data has begun to arrive.
  const before = (await daemon.client.status()).liveBytes;
  while ((await daemon.client.status()).liveBytes < before + 4 * MIB && child.exitCode === null) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  child.kill('SIGINT');
  const { status, stderr } = await ended;
  expect(status, stderr).toBe(EXIT.interrupted);
  await refused(EXIT.notFound, /half/, 'volume', 'get', 'half');
  expect((await daemon.client.status()).liveBytes).toBe(before);
  expect((await daemon.json('volume', 'list', '--retained')).length).toBe(0);
});

test('storage classes: built-in ones, own ones from files, and every wrong field named', async () => {
  const classes = await daemon.json('storage-class', 'list');
  expect(classes.map((each: { name: string }) => each.name).sort()).toEqual(['encrypted-storage', 'fast-local-ssd']);
  const file = join(daemon.folder, 'class.yaml');
  writeFileSync(
    file,
    'name: mine\nprovisioner: galleonfs\ncolour: blue\nparameters:\n  encryption: perhaps\n  replication: 99\n' +
      'reclaim_policy: Forget\n',
  );
  const wrong = await daemon.gfs('storage-class', 'create', file);
  expect(wrong.status).toBe(EXIT.usage);
  for (const field of ['colour', 'encryption', 'replication', 'reclaim_policy']) expect(wrong.stderr).toContain(field);
  writeFileSync(file, 'name: mine\nprovisioner: galleonfs\nparameters:\n  encryption: true\n  replication: 1\n');
  await daemon.gfsOk('storage-class', 'create', file);
  expect(await daemon.json('storage-class', 'get', 'mine')).toMatchObject({ name: 'mine', encryption: true });
  await daemon.gfsOk('volume', 'create', 'of-mine', '--size', '16M', '-c', 'mine');
  await refused(EXIT.failed, /of-mine|use/, 'storage-class', 'delete', 'mine');
  await daemon.gfsOk('volume', 'delete', 'of-mine', '--force');
  await daemon.gfsOk('storage-class', 'delete', 'mine');
  await refused(EXIT.notFound, /mine/, 'storage-class', 'get', 'mine');
  await refused(EXIT.failed, /built/, 'storage-class', 'delete', 'fast-local-ssd');
});

test('stats, events, status, config and completion answer', async () => {
  await daemon.volume('busy', 16 * MIB);
  const nbd = await connect('busy');
  for (let n = 0; n < 20; n += 1) await nbd.send(1, n * 4096, { payload: Buffer.alloc(4096, n + 1) });
  await nbd.read(0, 65536);
  const { volumes } = await daemon.json('volume', 'stats', 'busy');
  expect(volumes).toHaveLength(1);
  expect(volumes[0]).toMatchObject({ name: 'busy', clients: 1, writes: 20, reads: 1, writtenBytes: 20 * 4096 });
  const watched = await daemon.gfsOk('volume', 'stats', 'busy', '--watch', '0.2', '--count', '2', '-o', 'json');
  expect(watched.trim().split('\n')).toHaveLength(2);
  const events = await daemon.json('events', '--volume', 'busy', '-n', '0');
  const kinds = events.map((event: { kind: string }) => event.kind);
  expect(kinds).toEqual(expect.arrayContaining(['volume.created', 'export.opened', 'client.connected']));
  expect(await daemon.json('status')).toMatchObject({ healthy: true, ready: true, problems: [] });
  const config: { key: string; source: string; value: string }[] = await daemon.json('daemon', 'config');
  const bySource = (key: string): string | undefined => config.find((each) => each.key === key)?.source;
  expect(bySource('daemon.storage_path')).toBe('flag');
  expect(bySource('persistence.segment_size')).toBe('file');
  expect(bySource('persistence.checkpoint_interval')).toBe('default');
  expect(await daemon.gfsOk('completion', 'bash')).toContain('gfs');
});
