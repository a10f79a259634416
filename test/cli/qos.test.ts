import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NO_QOS } from '../../src/model/qos-settings.js';
import { FakeDaemon } from './fake-daemon.js';
import { runWith } from './run-gfs.js';

const MIB = 1024 * 1024;

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await FakeDaemon.start();
  daemon.add('data');
  daemon.policies.push({ name: 'gold', settings: { ...NO_QOS, iops: 5000, guaranteedIops: 100 }, createdAtMs: 0 });
});

afterEach(() => {
  daemon.close();
});

describe('gfs volume qos', () => {
  test('set asks for what was given and nothing else', async () => {
    const line = ['volume', 'qos', 'set', 'data', '--iops', '1000', '--throughput', '100M', '--write-iops', 'none'];
    const burst = ['--burst-multiplier', '2.5', '--burst-duration', '300s', '--read-throughput', '50M/s'];
    const { status, stdout } = await runWith(daemon, [...line, ...burst]);
    expect(status).toBe(0);
    expect(daemon.calls.at(-1)).toMatchObject({
      method: 'qosSet',
      request: {
        volume: 'data',
        policy: '',
        change: {
          ...{ iops: 1000, throughput: 100 * MIB, writeIops: 0, readThroughput: 50 * MIB },
          ...{ burstMultiplier: 2.5, burstDurationMs: 300_000, readIops: undefined, guaranteedIops: undefined },
        },
      },
    });
    expect(stdout).toContain('limits');
    expect(stdout).toContain('1000 iops, 100 MiB/s, 50 MiB/s read');
    expect(stdout).toContain('x2.5 for 5m');
    expect(stdout).toContain('1.3 s, 7 operations');
  });

  test('set takes a policy, get shows it, clear takes it away', async () => {
    await runWith(daemon, ['volume', 'qos', 'set', 'data', '--policy', 'gold']);
    const { stdout } = await runWith(daemon, ['volume', 'qos', 'get', 'data', '-o', 'json']);
    expect(JSON.parse(stdout)).toMatchObject({
      ...{ name: 'data', waiting: 3, throttledSeconds: 1.25, throttledOperations: 7 },
      qos: { policy: 'gold', iops: 5000, throughput: null, burstMultiplier: null, guaranteedIops: 100 },
    });
    const shown = await runWith(daemon, ['volume', 'get', 'data']);
    expect(shown.stdout).toMatch(/limits +5000 iops\n/);
    expect(shown.stdout).toMatch(/guaranteed +100 iops\n/);
    const cleared = await runWith(daemon, ['volume', 'qos', 'clear', 'data']);
    expect(cleared.stdout).toBe('data has no limits and no guarantees\n');
    expect((await runWith(daemon, ['volume', 'qos', 'get', 'data'])).stdout).toBe(cleared.stdout);
    expect(JSON.parse((await runWith(daemon, ['volume', 'get', 'data', '-o', 'json'])).stdout)).toMatchObject({
      qos: null,
    });
  });

  test.each([
    [[], 'nothing to set: gfs volume qos set data --iops 1000'],
    [['--iops', '0'], '--iops takes a whole number from 1, not "0"'],
    [['--iops', '1k'], '--iops takes a whole number'],
    [['--throughput', 'fast'], '"fast" is not a size'],
    [['--throughput', '0'], '--throughput takes more than nothing'],
    [['--burst-multiplier', '0.5'], '--burst-multiplier takes a number from 1'],
    [['--burst-duration', '300'], '"300" is not a duration'],
    [['--iosp', '3'], '--iops'],
  ])('set with %j is wrong usage', async (options, message) => {
    const { status, stderr } = await runWith(daemon, ['volume', 'qos', 'set', 'data', ...options]);
    expect(stderr).toContain(message);
    expect(status).toBe(2);
    expect(daemon.methods()).not.toContain('qosSet');
  });

  test('a volume that is not there is not found', async () => {
    expect((await runWith(daemon, ['volume', 'qos', 'get', 'nobody'])).status).toBe(4);
  });
});

test('gfs volume create passes on what a volume is born with', async () => {
  await runWith(daemon, ['volume', 'create', 'new', '--size', '1G', '--qos-policy', 'gold', '--iops', '50']);
  expect(daemon.calls.at(-1)?.request).toMatchObject({ qos: { policy: 'gold', change: { iops: 50 } } });
});

test('gfs qos makes, lists, shows and deletes policies', async () => {
  const file = join(daemon.folder, 'silver.json');
  writeFileSync(file, '{"name":"silver","iops":700}');
  expect(await runWith(daemon, ['qos', 'create', file])).toMatchObject({
    status: 0,
    stdout: 'policy silver created\n',
  });
  const list = (await runWith(daemon, ['qos', 'list'])).stdout;
  expect(list).toMatch(/^NAME +LIMITS +BURST +GUARANTEED\n/);
  expect(list).toMatch(/gold +5000 iops +- +100 iops/);
  const shown = JSON.parse((await runWith(daemon, ['qos', 'get', 'silver', '-o', 'json'])).stdout) as object;
  expect(shown).toMatchObject({ name: 'silver', iops: 700, createdAt: '2026-01-02T03:04:05.006Z' });
  expect((await runWith(daemon, ['qos', 'get', 'bronze'])).status).toBe(4);
  expect((await runWith(daemon, ['qos', 'create', 'no-such-file'])).stderr).toContain('there is no file no-such-file');
  expect((await runWith(daemon, ['qos', 'delete', 'silver'])).stdout).toBe('policy silver deleted\n');
  expect((await runWith(daemon, ['qos', 'list'])).stdout).toContain('no policies yet');
});

test('the shell completes policies', async () => {
  const typed = ['volume', 'qos', 'set', 'data', '--policy', ''];
  expect((await runWith(daemon, ['__complete', '--', ...typed])).stdout.trim()).toBe('gold');
  expect((await runWith(daemon, ['__complete', '--', 'qos', 'get', 'g'])).stdout.trim()).toBe('gold');
  expect((await runWith(daemon, ['__complete', '--', 'volume', 'qos', ''])).stdout).toMatch(
    /^set\t.*\nget\t.*\nclear\t/,
  );
});
