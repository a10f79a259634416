import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { comesTrue } from '../base/waiting.js';
import { run } from '../nbd/programs.js';
import { DaemonProcess } from './daemon-process.js';
import { needs } from './needs.js';
import { PipelinedClient } from './pipelined-client.js';

// Many processes are started here, and a busy machine must not decide a test.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

const MIB = 1 << 20;
const READ = 0;
const WRITE = 1;
const FLUSH = 3;
const COUNT = 8;

let daemon: DaemonProcess;
const cleanUps: (() => Promise<void>)[] = [];

beforeAll(async () => {
  daemon = await DaemonProcess.start({ atEnd: (cleanUp) => cleanUps.push(cleanUp) });
});

afterAll(async () => {
  for (const cleanUp of cleanUps) await cleanUp();
});

async function connect(name: string): Promise<PipelinedClient> {
  const client = await PipelinedClient.connect(daemon.socketPath, name);
  onTestFinished(() => client.close());
  return client;
}

/** 64 KiB a second: after the first write of a mebibyte the next one waits a quarter of a minute, and the last minutes. */
function fill(client: PipelinedClient) {
  return Array.from({ length: COUNT }, (_, n) => client.send(WRITE, n * MIB, { payload: Buffer.alloc(MIB, 0x40 + n) }));
}

async function waiting(name: string): Promise<number> {
  return (await daemon.client.qos.get(name)).waiting;
}

async function untilWaiting(name: string, count: number): Promise<void> {
  while ((await waiting(name)) !== count);
}

test('limits hold writes back and nothing else, are seen everywhere, and let go at once', async () => {
  await daemon.volume('slow', 16 * MIB);
  await daemon.volume('free', 16 * MIB);
  await daemon.gfsOk('volume', 'qos', 'set', 'slow', '--write-throughput', '64K');
  const [slow, free] = [await connect('slow'), await connect('free')];
  const writes = fill(slow);
  expect((await writes[0]).outcome).toBe(0);
  await untilWaiting('slow', COUNT - 1);
  // Reads, flushes and neighbours wait for nothing of that.
  expect((await slow.send(READ, 0, { length: MIB })).data).toEqual(Buffer.alloc(MIB, 0x40));
  expect((await slow.send(FLUSH, 0)).outcome).toBe(0);
  expect((await free.send(WRITE, 0, { payload: Buffer.alloc(MIB, 7) })).outcome).toBe(0);
  expect(await waiting('slow')).toBe(COUNT - 1);

  expect(await daemon.json('volume', 'get', 'slow')).toMatchObject({ qos: { writeThroughput: 65_536, iops: null } });
  const stats = await daemon.json('volume', 'stats', 'slow');
  expect(stats.volumes).toMatchObject([{ waiting: COUNT - 1, throttledOperations: COUNT - 1 }]);
  expect(stats.volumes[0].throttledSeconds).toBeGreaterThan(0);
  const { metricsAddress } = await daemon.client.status();
  const metrics = await (await fetch(`http://${metricsAddress}/metrics`)).text();
  expect(metrics).toMatch(/galleonfs_volume_qos_limit\{volume="slow",.*limit="write_throughput"\} 65536\n/);
  expect(metrics).toMatch(/galleonfs_volume_throttled_in_flight_operations\{volume="slow",.*\} 7\n/);

  await daemon.gfsOk('volume', 'qos', 'clear', 'slow');
  for (const write of writes) expect((await write).outcome).toBe(0);
  for (let n = 0; n < COUNT; n += 1) {
    expect((await slow.send(READ, n * MIB, { length: MIB })).data.every((byte) => byte === 0x40 + n)).toBe(true);
  }
});

test('a client that goes away leaves nothing behind, and a stop does not wait for limits', async () => {
  await daemon.volume('left', 16 * MIB);
  await daemon.client.qos.set({ volume: 'left', policy: '', change: { throughput: 65_536 } });
  const gone = await connect('left');
  const lost = fill(gone);
  expect((await lost[0]).outcome).toBe(0);
  await untilWaiting('left', COUNT - 1);
  gone.close();
  await untilWaiting('left', 0);
  let connections = 1;
  while (connections > 0) {
    connections = (await daemon.client.getVolume({ volume: 'left', retained: false })).export!.connections.length;
  }
  expect(daemon.log.filter(({ msg }) => msg === 'nbd: a request failed')).toEqual([]);

  const stays = await connect('left');
  const kept = fill(stays);
  await untilWaiting('left', COUNT);
  expect(await daemon.stop()).toBe(0);
  for (const write of kept) expect((await write).outcome).toBe(0);
  await daemon.start();
  // The limit is there again, and so is what was acknowledged; reading it is free of the limit once it is taken away.
  expect(await daemon.client.qos.get('left')).toMatchObject({ qos: { settings: { throughput: 65_536 } } });
  await daemon.client.qos.clear('left');
  const reader = await connect('left');
  expect((await reader.send(READ, 7 * MIB, { length: MIB })).data.every((byte) => byte === 0x47)).toBe(true);
});

test('real clients come through a limit, not faster than it says', async (context) => {
  needs(context, 'nbdcopy', 'qemu-img');
  await daemon.gfsOk('volume', 'create', 'copied', '--size', '16M', '--throughput', '8M');
  await daemon.gfsOk('volume', 'export', 'copied');
  const startMs = performance.now();
  const image = join(daemon.folder, 'image.raw');
  writeFileSync(image, Buffer.alloc(16 * MIB, 0x5a));
  await run('nbdcopy', [image, daemon.uri('copied')]);
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, daemon.uri('copied')]);
  // 16 MiB written and 16 MiB read, less what the bucket holds; a busy machine is only slower.
  expect(performance.now() - startMs).toBeGreaterThan(1000 * (32 / 8 - 1));
  const { throttledOperations } = await daemon.client.qos.get('copied');
  expect(throttledOperations).toBeGreaterThan(0);
});

test('a guarantee, and its end under load, loses no request', async () => {
  await daemon.volume('sure', 4 * MIB);
  await daemon.volume('flood', 4 * MIB);
  const [sure, flood] = [await connect('sure'), await connect('flood')];
  let over = false;
  let served = 0;
  let wrong = 0;
  const load = async (client: PipelinedClient, depth: number): Promise<void> => {
    const one = async (at: number): Promise<void> => {
      while (!over) {
        const payload = Buffer.alloc(4096, 1 + (at % 200));
        const { outcome } = await client.send(WRITE, at * 4096, { payload });
        const { data } = await client.send(READ, at * 4096, { length: 4096 });
        if (outcome !== 0 || !data.equals(payload)) wrong += 1;
        served += 1;
      }
    };
    await Promise.all(Array.from({ length: depth }, (_, at) => one(at)));
  };
  const running = Promise.all([load(sure, 8), load(flood, 128)]);
  for (const options of [
    ['--guaranteed-iops', '5000'],
    ['--iops', '20000'],
    ['--guaranteed-iops', 'none'],
  ]) {
    await daemon.gfsOk('volume', 'qos', 'set', 'sure', ...options);
    const before = served;
    await comesTrue('the clients go on', () => served > before + 200);
  }
  await daemon.client.qos.clear('sure');
  over = true;
  await running;
  expect([wrong, await waiting('sure')]).toEqual([0, 0]);
});

test('policies and classes from files', async () => {
  await daemon.gfsOk('qos', 'create', `${import.meta.dirname}/../../examples/qos-database.yaml`);
  await daemon.gfsOk('volume', 'create', 'db', '--size', '1G', '--qos-policy', 'database');
  expect(await daemon.json('volume', 'qos', 'get', 'db')).toMatchObject({
    qos: { policy: 'database', iops: 10_000, burstMultiplier: 2, burstDurationMs: 300_000, guaranteedIops: 2000 },
  });
  const refused = await daemon.gfs('volume', 'qos', 'set', 'db', '--read-iops', '20000');
  expect(refused.status).toBe(2);
  expect(refused.stderr).toContain('read_iops: 20000 is above iops 10000');
  await daemon.restart();
  expect(await daemon.json('qos', 'list')).toMatchObject([{ name: 'database', throughput: 400 * MIB }]);
  expect(await daemon.json('volume', 'qos', 'clear', 'db')).toMatchObject({ qos: null });
});
