import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { run } from '../nbd/programs.js';
import { DaemonProcess } from './daemon-process.js';
import { needs } from './needs.js';
import { PipelinedClient } from './pipelined-client.js';
import { temporaryFolder } from '../base/temporary-folder.js';

const MIB = 1 << 20;
const DISK_BYTES = 192 * MIB;
const ENOSPC = 28;
const REQUEST_BYTES = 256 * 1024;

test.for(['tmpfs', 'ext4'])(
  'a full %s: writes fail with ENOSPC, what was acknowledged stays, trim and delete work, a restart serves reads',
  { timeout: 90_000 },
  async (type, context) => {
    needs(context, 'root', 'permission to mount', ...(type === 'ext4' ? ['loop devices', 'mkfs.ext4'] : []));
    const disk = await smallDisk(type);
    const daemon = await DaemonProcess.start({ atEnd: onTestFinished, storagePath: join(disk, 'storage') });
    await daemon.volume('first', 512 * MIB);
    await daemon.volume('second', 512 * MIB, 'fast-local-ssd');

    let client = await PipelinedClient.connect(daemon.socketPath, 'first');
    const other = await PipelinedClient.connect(daemon.socketPath, 'second');
    for (let n = 0; n < 8; n += 1) expect(await write(other, n)).toBe(0);
    const acknowledged = await fill(client);
    expect(acknowledged).toBeGreaterThan(8);
    expect(await write(other, 9)).toBe(ENOSPC);
    expect((await client.send(3, 0, { length: 0 })).outcome).toBe(0);
    await verify(client, acknowledged);
    expect((await daemon.gfs('status')).status).toBe(0);
    client.close();
    other.close();

    // On the full disk: killed, stopped and started, everything is read again, and space can still be given up.
    for (let start = 0; start < 3; start += 1) {
      await daemon.restart();
      expect(await daemon.stop()).toBe(0);
      await daemon.start();
    }
    client = await PipelinedClient.connect(daemon.socketPath, 'first');
    await verify(client, acknowledged);
    const trimmed = acknowledged >> 1;
    for (let n = 0; n < trimmed; n += 1) {
      expect((await client.send(4, n * REQUEST_BYTES, { length: REQUEST_BYTES })).outcome, `trim ${String(n)}`).toBe(0);
    }
    expect((await client.send(3, 0, { length: 0 })).outcome).toBe(0);
    expect((await client.read(0, REQUEST_BYTES)).equals(Buffer.alloc(REQUEST_BYTES))).toBe(true);
    await verify(client, acknowledged, trimmed);
    client.close();
    await daemon.gfsOk('volume', 'delete', 'second', '--force');
    expect(await daemon.stop()).toBe(0);
    await daemon.start();
    client = await PipelinedClient.connect(daemon.socketPath, 'first');
    await verify(client, acknowledged, trimmed);
    client.close();
    expect((await daemon.json('volume', 'list')).map((each: { name: string }) => each.name)).toEqual(['first']);
    expect(await daemon.stop()).toBe(0);
  },
);

/** A mounted disk of DISK_BYTES; unmounted after the daemon on it has gone. */
async function smallDisk(type: string): Promise<string> {
  const folder = await temporaryFolder();
  const at = join(folder, 'disk');
  mkdirSync(at);
  if (type === 'tmpfs') {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${String(DISK_BYTES)}`, 'tmpfs', at]);
  } else {
    const file = join(folder, 'disk.raw');
    writeFileSync(file, '');
    truncateSync(file, DISK_BYTES);
    await run('mkfs.ext4', ['-q', '-F', '-m', '0', file]);
    await run('mount', ['-o', 'loop', file, at]);
  }
  onTestFinished(async () => {
    await run('umount', [at]);
  });
  return at;
}

function content(n: number): Buffer {
  return Buffer.alloc(REQUEST_BYTES, `request ${String(n)} `);
}

async function write(client: PipelinedClient, n: number): Promise<number | 'unknown'> {
  return (await client.send(1, n * REQUEST_BYTES, { payload: content(n) })).outcome;
}

/** Writes one after the other until there is no space; how many were acknowledged. */
async function fill(client: PipelinedClient): Promise<number> {
  for (let n = 0; n < (2 * DISK_BYTES) / REQUEST_BYTES; n += 1) {
    const outcome = await write(client, n);
    if (outcome === ENOSPC) return n;
    expect(outcome).toBe(0);
  }
  throw new Error('the disk never became full');
}

async function verify(client: PipelinedClient, acknowledged: number, from = 0): Promise<void> {
  for (let n = from; n < acknowledged; n += 1) {
    const data = await client.read(n * REQUEST_BYTES, REQUEST_BYTES);
    expect(data.equals(content(n)), `request ${String(n)}`).toBe(true);
  }
}
