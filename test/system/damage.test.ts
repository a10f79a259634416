import { closeSync, fsyncSync, openSync, readdirSync, readFileSync, statSync, writeSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { DaemonProcess } from './daemon-process.js';
import { PipelinedClient } from './pipelined-client.js';

// Many processes are started here, and a busy machine must not decide a test.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

const MIB = 1 << 20;
const EIO = 5;

async function connect(daemon: DaemonProcess, name: string): Promise<PipelinedClient> {
  const client = await PipelinedClient.connect(daemon.socketPath, name);
  onTestFinished(() => client.close());
  return client;
}

async function fill(daemon: DaemonProcess, name: string, bytes: Buffer): Promise<void> {
  const client = await connect(daemon, name);
  for (let at = 0; at < bytes.length; at += MIB) {
    expect((await client.send(1, at, { payload: bytes.subarray(at, at + MIB) })).outcome).toBe(0);
  }
  expect((await client.send(3, 0, { length: 0 })).outcome).toBe(0);
  client.close();
}

test('the wrong master key locks the encrypted volumes and nothing else; the right one opens them', async () => {
  const daemon = await DaemonProcess.start({ atEnd: onTestFinished });
  const secret = Buffer.alloc(MIB, 'sealed');
  const open = Buffer.alloc(MIB, 'plain');
  await daemon.volume('sealed', 16 * MIB);
  await daemon.volume('plain', 16 * MIB, 'fast-local-ssd');
  await fill(daemon, 'sealed', secret);
  await fill(daemon, 'plain', open);
  await daemon.stop();

  const keyFile = join(daemon.storagePath, 'keys/master.key');
  const right = join(daemon.folder, 'master.key');
  await copyFile(keyFile, right);
  const other = await DaemonProcess.start({ atEnd: onTestFinished });
  await other.volume('any', 16 * MIB);
  await other.stop();
  await copyFile(join(other.storagePath, 'keys/master.key'), keyFile);

  await daemon.start();
  expect((await daemon.gfs('daemon', 'status')).status).toBe(0);
  const locked = await daemon.json('volume', 'get', 'sealed');
  expect(locked.state).toBe('locked');
  expect(locked.stateReason).toMatch(/key/);
  expect((await (await connect(daemon, 'plain')).read(0, MIB)).equals(open)).toBe(true);
  await expect(PipelinedClient.connect(daemon.socketPath, 'sealed')).rejects.toThrow();
  expect((await daemon.gfs('status')).stdout).toContain('sealed');
  expect(await daemon.stop()).toBe(0);

  await copyFile(right, keyFile);
  await daemon.start();
  expect((await daemon.json('volume', 'get', 'sealed')).state).toBe('available');
  expect((await (await connect(daemon, 'sealed')).read(0, MIB)).equals(secret)).toBe(true);

  // A key file that holds rubbish, and none at all where there was one.
  for (const content of [randomBytes(77), null]) {
    await daemon.stop();
    if (content === null) await import('node:fs/promises').then((fs) => fs.rm(keyFile));
    else await writeFile(keyFile, content, { mode: 0o600 });
    await daemon.start();
    expect((await daemon.json('volume', 'get', 'sealed')).state).toBe('locked');
    expect((await daemon.json('volume', 'get', 'plain')).state).toBe('available');
  }
  // Still nothing was lost.
  await daemon.stop();
  await copyFile(right, keyFile);
  await daemon.start();
  expect((await (await connect(daemon, 'sealed')).read(0, MIB)).equals(secret)).toBe(true);
});

test.each(['encrypted-storage', 'fast-local-ssd'])(
  'damaged blocks of a %s volume are I/O errors, told and counted, and everything else is served',
  async (storageClass) => {
    const daemon = await DaemonProcess.start({ atEnd: onTestFinished });
    await daemon.volume('data', 16 * MIB, storageClass);
    await daemon.volume('beside', 16 * MIB, storageClass);
    const content = randomBytes(4 * MIB);
    const beside = randomBytes(MIB);
    await fill(daemon, 'data', content);
    await fill(daemon, 'beside', beside);
    expect(await daemon.stop()).toBe(0);
    damage(daemon.storagePath, 24);

    // Damage to sealed data never stops a start.
    await daemon.start();
    let bad = 0;
    for (const [name, expected] of [
      ['data', content],
      ['beside', beside],
    ] as const) {
      const client = await connect(daemon, name);
      for (let at = 0; at < expected.length; at += 4096) {
        const { outcome, data } = await client.send(0, at, { length: 4096 });
        if (outcome === EIO) bad += 1;
        // Never zeros, never anything else.
        else expect(data.equals(expected.subarray(at, at + 4096)), `${name} at ${String(at)}`).toBe(true);
      }
    }
    expect(bad).toBeGreaterThan(0);
    expect(bad).toBeLessThanOrEqual(48);
    expect(daemon.runs).toBe(true);
    const status = await daemon.json('status');
    expect(status.healthy).toBe(false);
    expect(JSON.stringify(status.problems)).toMatch(/damage/);
    const text = await (await fetch(`http://${String(status.metricsAddress)}/metrics`)).text();
    expect(Number(/^galleonfs_store_unauthentic_blocks_total (\d+)$/m.exec(text)?.[1])).toBeGreaterThanOrEqual(bad);
    const kinds = (await daemon.json('events', '-n', '0')).map((event: { kind: string }) => event.kind);
    expect(kinds).toContain('request.failed');
    // New writes over damaged blocks heal them.
    await fill(daemon, 'data', content);
    expect((await (await connect(daemon, 'data')).read(0, MIB)).equals(content.subarray(0, MIB))).toBe(true);
    expect(await daemon.stop()).toBe(0);
  },
);

/** Overwrites a few bytes at so many places of the segments that hold the most, away from their first page. */
function damage(storagePath: string, places: number): void {
  const folder = join(storagePath, 'journal');
  const segments = readdirSync(folder)
    .map((name) => join(folder, name))
    .filter(
      (path) =>
        statSync(path).isFile() &&
        readFileSync(path)
          .subarray(8192)
          .some((byte) => byte !== 0),
    )
    .slice(0, 4);
  expect(segments.length).toBeGreaterThan(0);
  segments.forEach((path, n) => {
    const file = openSync(path, 'r+');
    const bytes = statSync(path).size;
    for (let place = n; place < places; place += segments.length) {
      const at = 65536 + Math.floor(((bytes - 131072) * place) / places);
      writeSync(file, Buffer.from('damaged!'), 0, 8, at);
    }
    fsyncSync(file);
    closeSync(file);
  });
}
