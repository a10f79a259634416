import { afterEach, expect, test, vi } from 'vitest';
import { run } from '../nbd/programs.js';
import { comesTrue } from '../base/waiting.js';
import { DaemonProcess } from './daemon-process.js';
import { needs, PYTHON } from './needs.js';
import { PipelinedClient } from './pipelined-client.js';

// Many processes are started here, and a busy machine must not decide a test.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

const MIB = 1 << 20;
const BLOCK = 4096;
const WRITE = 1;
const FLUSH = 3;

const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

const startDaemon = (): Promise<DaemonProcess> => DaemonProcess.start({ atEnd: (cleanUp) => cleanUps.push(cleanUp) });

async function connected<T>(
  daemon: DaemonProcess,
  name: string,
  work: (client: PipelinedClient) => Promise<T>,
): Promise<T> {
  const client = await PipelinedClient.connect(daemon.socketPath, name);
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

function write(daemon: DaemonProcess, name: string, index: number, value: number): Promise<void> {
  return connected(daemon, name, async (client) => {
    const { outcome } = await client.send(WRITE, index * BLOCK, { payload: Buffer.alloc(BLOCK, value) });
    expect(outcome).toBe(0);
    expect((await client.send(FLUSH, 0, { length: 0 })).outcome).toBe(0);
  });
}

/** The first byte of each of the first blocks of an export. */
function read(daemon: DaemonProcess, name: string, count = 4): Promise<number[]> {
  return connected(daemon, name, async (client) => {
    const data = await client.read(0, count * BLOCK);
    return Array.from({ length: count }, (_, index) => data[index * BLOCK]);
  });
}

test('volumes that are written without a pause are snapshotted at one instant, over and over', async () => {
  const daemon = await startDaemon();
  for (const name of ['a', 'b']) await daemon.volume(name, 4 * MIB);
  const [a, b] = await Promise.all(['a', 'b'].map((name) => PipelinedClient.connect(daemon.socketPath, name)));
  let isWriting = true;
  let count = 0;
  const counted = async (client: PipelinedClient): Promise<void> => {
    const payload = Buffer.alloc(BLOCK);
    payload.writeUInt32LE(count);
    expect((await client.send(WRITE, (count % 64) * BLOCK, { payload })).outcome).toBe(0);
    expect((await client.send(WRITE, 1000 * BLOCK, { payload })).outcome).toBe(0);
  };
  // b gets a number only when a has it: whatever the instant, a is ahead by one at most, and never behind.
  const load = (async () => {
    while (isWriting) {
      count += 1;
      await counted(a);
      await counted(b);
    }
  })();
  for (let round = 0; round < 8; round += 1) {
    const before = count;
    await comesTrue('the load goes on', () => count > before + 20);
    await daemon.client.snapshots.create({ volumes: ['a', 'b'], name: `s${round}`, labels: {} });
  }
  isWriting = false;
  await load;
  a.close();
  b.close();
  await daemon.restart();
  const seen: number[] = [];
  for (let round = 0; round < 8; round += 1) {
    const numbers: number[] = [];
    for (const volume of ['a', 'b']) {
      await daemon.client.snapshots.export(`${volume}@s${round}`);
      const number = await connected(daemon, `${volume}@s${round}`, (client) => client.read(1000 * BLOCK, 4));
      numbers.push(number.readUInt32LE(0));
    }
    const [first, second] = numbers;
    expect([first, first - 1]).toContain(second);
    seen.push(first);
  }
  expect(seen).toEqual([...new Set(seen)].sort((left, right) => left - right));
});

test('a snapshot is exported, cloned, reverted to and deleted, with the daemon killed in between', async () => {
  const daemon = await startDaemon();
  await daemon.volume('web', 4 * MIB);
  await write(daemon, 'web', 0, 1);
  await daemon.gfsOk('snapshot', 'create', 'web', '--name', 'monday');
  await write(daemon, 'web', 0, 2);
  await write(daemon, 'web', 1, 3);
  await daemon.gfsOk('volume', 'export', 'web@monday');
  await daemon.restart();
  expect(await read(daemon, 'web@monday')).toEqual([1, 0, 0, 0]);
  expect(await read(daemon, 'web')).toEqual([2, 3, 0, 0]);

  await daemon.gfsOk('volume', 'clone', 'web@monday', '--name', 'copy');
  await daemon.gfsOk('volume', 'export', 'copy');
  await write(daemon, 'copy', 2, 4);
  expect(await daemon.json('volume', 'diff', 'web@monday', 'copy')).toEqual([
    { offsetBytes: 2 * BLOCK, lengthBytes: BLOCK, data: true },
  ]);
  await daemon.restart();
  expect(await read(daemon, 'copy')).toEqual([1, 0, 4, 0]);

  const { safetySnapshot } = await daemon.json('snapshot', 'revert', 'web@monday');
  expect(await read(daemon, 'web')).toEqual([1, 0, 0, 0]);
  await daemon.restart();
  expect(await read(daemon, 'web')).toEqual([1, 0, 0, 0]);
  await daemon.gfsOk('snapshot', 'revert', `web@${String(safetySnapshot)}`);
  expect(await read(daemon, 'web')).toEqual([2, 3, 0, 0]);

  await daemon.gfsOk('snapshot', 'delete', 'web@monday', '--force');
  await daemon.restart();
  const left = await daemon.json('snapshot', 'list', 'web');
  expect(left.filter((one: { state: string }) => one.state !== 'deleting')).toHaveLength(2);
  const refused = await daemon.gfs('volume', 'delete', 'web', '--force');
  expect(refused.status).toBe(1);
  await daemon.gfsOk('volume', 'delete', 'web', '--force', '--with-snapshots');
  await daemon.restart();
  expect(await read(daemon, 'copy')).toEqual([1, 0, 4, 0]);
  expect((await daemon.json('status')).problems).toEqual([]);
});

test('a stream goes through a pipe, and a difference on top of it', async () => {
  const daemon = await startDaemon();
  await daemon.volume('web', 4 * MIB);
  await write(daemon, 'web', 5, 1);
  await daemon.gfsOk('snapshot', 'create', 'web', '--name', 'a');
  await write(daemon, 'web', 0, 2);
  await daemon.gfsOk('snapshot', 'create', 'web', '--name', 'b');
  await daemon.gfsOk('volume', 'send', 'web@a', '--decrypt', '--file', 'a.gfs');
  await daemon.gfsOk('volume', 'receive', 'copy', '--file', 'a.gfs');
  const sender = daemon.spawnGfs(['volume', 'send', 'web@b', '--from', 'web@a', '--decrypt']);
  const pieces: Buffer[] = [];
  for await (const piece of sender.stdout!) pieces.push(piece as Buffer);
  expect(Buffer.concat(pieces).subarray(0, 8).toString()).toBe('GFSSTRM\n');
  await daemon.gfsOk('volume', 'send', 'web@b', '--from', 'web@a', '--decrypt', '--file', 'b.gfs');
  await daemon.gfsOk('volume', 'receive', 'copy', '--file', 'b.gfs');
  await daemon.gfsOk('volume', 'export', 'copy');
  expect(await read(daemon, 'copy', 6)).toEqual([2, 0, 0, 0, 0, 1]);
});

test('libnbd sees differences as metadata contexts', async (context) => {
  needs(context, 'libnbd for Python');
  const daemon = await startDaemon();
  await daemon.volume('web', 4 * MIB);
  await write(daemon, 'web', 0, 1);
  await daemon.gfsOk('snapshot', 'create', 'web', '--name', 'a');
  await write(daemon, 'web', 2, 2);
  const script = `
import nbd, json
h = nbd.NBD()
h.set_opt_mode(True)
h.connect_unix("${daemon.socketPath}")
h.set_export_name("web")
listed = []
h.opt_list_meta_context(lambda name: listed.append(name) or 0)
h.add_meta_context("base:allocation")
h.add_meta_context("galleon:diff:a")
h.opt_go()
found = {}
h.block_status(4 * ${BLOCK}, 0, lambda context, offset, entries, error: found.update({context: entries}) or 0)
print(json.dumps([sorted(listed), found]))
`;
  const [listed, found] = JSON.parse(await run(PYTHON, ['-c', script])) as [string[], Record<string, number[]>];
  expect(listed).toEqual(['base:allocation', 'galleon:diff:a']);
  expect(found['galleon:diff:a']).toEqual([2 * BLOCK, 0, BLOCK, 1, BLOCK, 0]);
  expect(found['base:allocation']).toEqual([BLOCK, 0, BLOCK, 3, BLOCK, 0, BLOCK, 3]);
});
