import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { CREATED_MS, FakeDaemon } from './fake-daemon.js';
import { runWith } from './run-gfs.js';

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await FakeDaemon.start();
});

afterEach(() => {
  daemon.close();
});

describe('volumes', () => {
  test('create sends what the options say', async () => {
    const line =
      'volume create data -s 1.5G -c fast-local-ssd -t ephemeral -r 2 --label a=1 --label b= --block-size 8K';
    const { status, stdout, stderr } = await runWith(daemon, line.split(' '));
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout).toContain('data created: 1.5 GiB, fast-local-ssd');
    expect(daemon.calls).toEqual([
      {
        method: 'create',
        request: {
          name: 'data',
          sizeBytes: 1.5 * 1024 ** 3,
          storageClass: 'fast-local-ssd',
          volumeType: 'ephemeral',
          replicas: 2,
          labels: { a: '1', b: '' },
          blockBytes: 8192,
        },
      },
    ]);
  });

  test('a name may look like a number', async () => {
    await runWith(daemon, ['volume', 'create', '0123', '--size', '1M']);
    const { status, stdout } = await runWith(daemon, ['volume', 'get', '0123', '-o', 'json']);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ name: '0123', sizeBytes: 1024 ** 2 });
  });

  test('get -o json is one object with the promised fields', async () => {
    const sinceMs = CREATED_MS + 1000;
    const volume = daemon.add('data', {
      labels: { b: '2', a: '1' },
      allocatedBytes: 8192,
      export: {
        name: 'data',
        uri: 'nbd://127.0.0.1:10809/data',
        socketUri: 'nbd+unix:///data?socket=/run/nbd.sock',
        readOnly: true,
        connections: [{ address: '127.0.0.1:4242', sinceMs, inFlight: 3, transport: 'tcp' }],
      },
    });
    const { stdout } = await runWith(daemon, ['volume', 'get', 'data', '-o', 'json']);
    const golden = {
      id: volume.id,
      name: 'data',
      sizeBytes: 1073741824,
      allocatedBytes: 8192,
      blockBytes: 4096,
      storageClass: 'encrypted-storage',
      encrypted: true,
      state: 'available',
      stateReason: '',
      replicas: { current: 1, desired: 3 },
      createdAt: '2026-01-02T03:04:05.006Z',
      labels: { a: '1', b: '2' },
      volumeType: 'persistent',
      protected: false,
      retained: false,
      retainedAt: null,
      reclaimPolicy: 'Retain',
      dataKeyNumber: 1,
      export: {
        name: 'data',
        uri: 'nbd://127.0.0.1:10809/data',
        socketUri: 'nbd+unix:///data?socket=/run/nbd.sock',
        readOnly: true,
        connections: [{ address: '127.0.0.1:4242', since: '2026-01-02T03:04:06.006Z', inFlight: 3, transport: 'tcp' }],
      },
      qos: null,
      snapshots: 0,
      origin: '',
      scrub: {
        volumeId: volume.id,
        name: 'data',
        state: 'idle',
        stateReason: '',
        run: null,
        last: null,
        badBlocks: 0,
        badRanges: [],
        moreBadBlocks: 0,
        nextAt: null,
      },
    };
    // Also the order of the keys, and nothing around the object.
    expect(stdout).toBe(`${JSON.stringify(golden, null, 2)}\n`);
    const yaml = await runWith(daemon, ['volume', 'get', volume.id.slice(0, 8), '-oyaml']);
    expect(parse(yaml.stdout)).toEqual(golden);
  });

  test('list -o json is an array, sorted and filtered as asked', async () => {
    daemon.add('small', { sizeBytes: 4096, labels: { tier: 'a' } });
    daemon.add('big', { sizeBytes: 1024 ** 4, labels: { tier: 'a' } });
    daemon.add('other', { labels: { tier: 'b' } });
    const names = async (...options: string[]): Promise<string[]> => {
      const { stdout } = await runWith(daemon, ['volume', 'list', '-o', 'json', ...options]);
      return (JSON.parse(stdout) as { name: string }[]).map(({ name }) => name);
    };
    expect(await names()).toEqual(['big', 'other', 'small']);
    expect(await names('--sort', 'size')).toEqual(['big', 'other', 'small']);
    expect(await names('-l', 'tier=a', '--sort', 'name')).toEqual(['big', 'small']);
    expect(await names('--retained')).toEqual([]);
  });

  test('expand takes a size or what is added, and shows why shrinking is refused', async () => {
    daemon.add('data', { sizeBytes: 2 * 1024 ** 3 });
    expect((await runWith(daemon, ['volume', 'expand', 'data', '--size', '+1G'])).stdout).toBe('data is now 3 GiB\n');
    expect((await runWith(daemon, ['volume', 'expand', 'data', '--size', '4G'])).stdout).toBe('data is now 4 GiB\n');
    const refused = await runWith(daemon, ['volume', 'expand', 'data', '--size', '1G']);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toBe('gfs: a volume cannot shrink; clone it into a smaller one\n');
  });

  test.each([
    ['a=1', 'a=2'],
    ['__proto__=x', 'b=1'],
  ])('labels %s and %s are refused, not dropped without a word', async (...labels) => {
    daemon.add('data');
    const options = labels.flatMap((label) => ['--label', label]);
    expect((await runWith(daemon, ['volume', 'create', 'other', '-s', '1M', ...options])).status).toBe(2);
    expect((await runWith(daemon, ['volume', 'list', ...options])).status).toBe(2);
    expect((await runWith(daemon, ['volume', 'label', 'data', ...labels])).status).toBe(2);
    expect(daemon.methods()).toEqual([]);
  });

  test('label sets and removes', async () => {
    daemon.add('data', { labels: { old: 'x', keep: 'y' } });
    const { stdout } = await runWith(daemon, ['volume', 'label', 'data', 'tier=gold', 'old-']);
    expect(stdout).toBe('data: keep=y,tier=gold\n');
    expect((await runWith(daemon, ['volume', 'label', 'data', 'what'])).status).toBe(2);
  });

  test('rename, protect, unprotect, export, kick and unexport say what came of them', async () => {
    daemon.add('data');
    const say = async (...argv: string[]): Promise<string> =>
      (await runWith(daemon, ['volume', ...argv])).stdout.trim();
    expect(await say('rename', 'data', 'web')).toBe('data is now web');
    expect(await say('protect', 'web')).toBe('web is protected');
    expect((await runWith(daemon, ['volume', 'delete', 'web'])).stderr).toBe('gfs: web is protected\n');
    expect(await say('unprotect', 'web')).toBe('web is no longer protected');
    expect(await say('export', 'web', '--read-only')).toBe(
      `web is exported read-only:\n  nbd://127.0.0.1:10809/web\n  nbd+unix:///web?socket=${daemon.folder}/nbd.sock`,
    );
    expect(await say('kick', 'web')).toBe('web has no clients');
    expect(await say('unexport', 'web')).toBe('web is no longer exported');
  });

  test('stats prints one table, and one object a line while watching', async () => {
    const once = await runWith(daemon, ['volume', 'stats']);
    expect(once.stdout).toContain('1234');
    expect(once.stdout).toContain('120us');
    expect(once.stdout).toContain('1.2s');
    const watching = await runWith(daemon, ['volume', 'stats', '--watch', '0.5', '--count', '3', '-o', 'json']);
    const lines = watching.stdout.trim().split('\n');
    expect(lines).toHaveLength(3);
    expect(JSON.parse(lines[2])).toMatchObject({ at: '2026-01-02T03:04:05.006Z', volumes: [{ readIops: 1234.4 }] });
    await runWith(daemon, ['volume', 'stats', '--watch', 'data', '--count', '1']);
    expect(daemon.calls.map(({ request }) => request)).toEqual([
      { volume: '', intervalMs: 0, samples: 0 },
      { volume: '', intervalMs: 500, samples: 3 },
      { volume: 'data', intervalMs: 2000, samples: 1 },
    ]);
    expect((await runWith(daemon, ['volume', 'stats', '--count', '3'])).status).toBe(2);
  });
});

describe('storage classes', () => {
  test('list, get and delete', async () => {
    const list = await runWith(daemon, ['storage-class', 'list']);
    expect(list.stdout).toContain('encrypted-storage (default)');
    const get = await runWith(daemon, ['storage-class', 'get', 'fast-local-ssd', '-o', 'json']);
    expect(JSON.parse(get.stdout)).toMatchObject({
      name: 'fast-local-ssd',
      encryption: false,
      reclaimPolicy: 'Delete',
      allowedTopologies: [{ key: 'zone', values: ['a', 'b'] }],
    });
    expect((await runWith(daemon, ['storage-class', 'get', 'none'])).status).toBe(4);
    expect((await runWith(daemon, ['storage-class', 'delete', 'fast-local-ssd'])).stdout).toBe(
      'storage class fast-local-ssd deleted\n',
    );
  });

  test('create hands the document to the daemon and shows its errors on one line', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'gfs-class-'));
    try {
      writeFileSync(join(folder, 'good.yaml'), 'name: made\n');
      writeFileSync(join(folder, 'bad.yaml'), 'nome: made\n');
      const good = await runWith(daemon, ['storage-class', 'create', 'good.yaml'], { workingFolder: folder });
      expect(good.stdout).toBe('storage class made created\n');
      expect(daemon.calls[0]?.request).toEqual({ document: 'name: made\n', fileName: 'good.yaml' });
      const bad = await runWith(daemon, ['storage-class', 'create', join(folder, 'bad.yaml')]);
      expect(bad.status).toBe(2);
      expect(bad.stderr).toBe('gfs: bad.yaml:; name: missing\n');
      const none = await runWith(daemon, ['storage-class', 'create', '/no/such.yaml']);
      expect(none.stderr).toBe('gfs: there is no file /no/such.yaml\n');
      expect(none.status).toBe(1);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('the daemon', () => {
  test('daemon status exits 0 only when it is ready', async () => {
    expect((await runWith(daemon, ['daemon', 'status'])).status).toBe(0);
    daemon.node = { ...daemon.node, ready: false, state: 'starting' };
    const starting = await runWith(daemon, ['daemon', 'status']);
    expect(starting.status).toBe(1);
    expect(starting.stdout).toMatch(/state +starting/);
  });

  test('status shows problems with reason and remedy, and volumes that ail', async () => {
    expect((await runWith(daemon, ['status'])).stdout).toContain('no problems');
    daemon.add('sick', { state: 'damaged', stateReason: 'a block is lost; restore a backup' });
    daemon.node.problems = [
      { subject: 'store', reason: 'the disk is full', remedy: 'delete volumes', lastError: 'ENOSPC', nextTryMs: 0 },
    ];
    const { stdout, status } = await runWith(daemon, ['status']);
    expect(status).toBe(0);
    expect(stdout).toContain('2 to look at');
    expect(stdout).toContain('! volume sick is damaged: a block is lost; restore a backup');
    expect(stdout).toContain('! store: the disk is full\n    last error: ENOSPC\n    do: delete volumes');
    const json = JSON.parse((await runWith(daemon, ['status', '-o', 'json'])).stdout);
    expect(json).toMatchObject({ healthy: false, nodeId: 'node-a', freeBytes: 10 * 1024 ** 3 });
    expect(json.problems).toHaveLength(2);
  });

  test('config shows where each value came from', async () => {
    const { stdout } = await runWith(daemon, ['daemon', 'config']);
    expect(stdout).toMatch(/daemon\.ipc_address +127\.0\.0\.1:\d+ +flag +--ipc-address/);
  });

  test('stop asks the daemon to end', async () => {
    const { status, stdout } = await runWith(daemon, ['daemon', 'stop']);
    expect(status).toBe(0);
    expect(stdout).toContain('has ended');
    expect(daemon.methods()).toEqual(['status', 'stop']);
  });

  test('stop waits for the process, and fails when it does not end', async () => {
    daemon.node = { ...daemon.node, pid: process.pid };
    const { status, stderr } = await runWith(daemon, ['daemon', 'stop', '--timeout', '200ms']);
    expect(status).toBe(1);
    expect(stderr).toContain(`process ${String(process.pid)}`);
  });

  test('events are shown newest last, without the control characters that a client sent', async () => {
    const { stdout } = await runWith(daemon, ['events']);
    expect(stdout.trim().split('\n')).toHaveLength(2);
    expect(stdout).not.toContain('\u001b');
    const json = await runWith(daemon, ['events', '-n', '1', '--volume', 'data', '-o', 'json']);
    expect(JSON.parse(json.stdout)).toMatchObject([{ id: 2, kind: 'request.failed', at: '2026-01-02T03:04:06.006Z' }]);
    expect(daemon.calls.at(-1)?.request).toEqual({ follow: false, limit: 1, volume: 'data' });
  });

  test('events --follow goes on until interrupted', async () => {
    const interruption = new AbortController();
    const run = runWith(daemon, ['events', '--follow', '-o', 'json'], { signal: interruption.signal });
    await daemon.until(() => daemon.methods().includes('events'));
    interruption.abort('interrupted');
    expect((await run).status).toBe(130);
  });
});
