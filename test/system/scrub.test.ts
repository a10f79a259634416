import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { DaemonProcess } from './daemon-process.js';
import { PipelinedClient } from './pipelined-client.js';

// Many processes are started here, and a busy machine must not decide a test.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

const MIB = 1 << 20;

async function fill(daemon: DaemonProcess, name: string, offset: number, bytes: Buffer): Promise<void> {
  const client = await PipelinedClient.connect(daemon.socketPath, name);
  for (let at = 0; at < bytes.length; at += MIB) {
    const { outcome } = await client.send(1, offset + at, { payload: bytes.subarray(at, at + MIB) });
    expect(outcome).toBe(0);
  }
  expect((await client.send(3, 0, { length: 0 })).outcome).toBe(0);
  client.close();
}

function flip(path: string, offset: number): void {
  const file = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, offset);
  byte[0] ^= 16;
  writeSync(file, byte, 0, 1, offset);
  closeSync(file);
}

test('a scrub finds damage, goes on after a kill, and what is written anew is clean', async () => {
  const daemon = await DaemonProcess.start({ atEnd: onTestFinished });
  await daemon.volume('data', 32 * MIB);
  await daemon.volume('plain', 16 * MIB, 'fast-local-ssd');
  await fill(daemon, 'data', 0, randomBytes(12 * MIB));
  await fill(daemon, 'plain', 0, randomBytes(2 * MIB));
  expect((await daemon.gfs('volume', 'scrub', '--all', '--wait')).status).toBe(0);

  // One byte in the middle of each of two segments.
  const places = [5, 9].map((slot) => join(daemon.storagePath, 'journal', `segment-${String(slot).padStart(8, '0')}`));
  for (const path of places) flip(path, 500_000);
  // 12 MiB at 2 MiB a second: there is time to kill it in the middle.
  await daemon.gfsOk('volume', 'scrub', 'data', '--rate', '2M');
  let run = null;
  while (run === null || run.bytes < 3 * MIB) {
    [{ run }] = await daemon.json('volume', 'scrub', 'status', 'data');
  }
  // Its position is stored when it has found something, and at a stop.
  expect(await daemon.stop()).toBe(0);
  await daemon.start();
  const [resumed] = await daemon.json('volume', 'scrub', 'status', 'data');
  expect(resumed.run.startedAt).toBe(run.startedAt);
  expect(resumed.run.bytes).toBeGreaterThanOrEqual(run.bytes);
  await daemon.kill9();
  await daemon.start();
  const waited = await daemon.gfs('volume', 'scrub', 'data', '--wait');
  expect(waited.status).toBe(1);

  const volume = await daemon.json('volume', 'get', 'data');
  expect(volume.scrub).toMatchObject({ badBlocks: 2, state: 'idle', last: { outcome: 'damaged', badBlocks: 2 } });
  expect(volume.scrub.last.startedAt).toBe(run.startedAt);
  for (const [n, range] of volume.scrub.badRanges.entries()) {
    expect(range).toMatchObject({ lengthBytes: 4096, snapshot: '', shown: true });
    expect(places[n]).toContain(String(range.segment));
    expect(range.fileOffset).toBeLessThanOrEqual(500_000);
    expect(range.fileOffset).toBeGreaterThan(500_000 - 4160);
  }
  const status = await daemon.json('status');
  expect(JSON.stringify(status.problems)).toContain('found by a scrub');
  const metrics = await (await fetch(`http://${String(status.metricsAddress)}/metrics`)).text();
  expect(metrics).toMatch(/galleonfs_volume_scrub_bad_blocks\{volume="data",volume_id="[^"]+"\} 2\n/);
  const kinds = (await daemon.json('events', '-n', '0')).map((event: { kind: string }) => event.kind);
  expect(kinds).toEqual(expect.arrayContaining(['scrub.started', 'scrub.damage', 'scrub.ended']));

  await fill(daemon, 'data', volume.scrub.badRanges[0].offsetBytes, randomBytes(4096));
  expect((await daemon.json('volume', 'get', 'data')).scrub.badBlocks).toBe(1);
  await fill(daemon, 'data', volume.scrub.badRanges[1].offsetBytes, randomBytes(4096));
  expect((await daemon.gfs('volume', 'scrub', 'data', '--wait')).status).toBe(0);
  expect((await daemon.json('status')).healthy).toBe(true);
});

test('the schedule scrubs by itself, and a scrub can be cancelled', async () => {
  const daemon = await DaemonProcess.start({ atEnd: onTestFinished, config: { scrub: ['interval = "1m"'] } });
  await daemon.volume('data', 16 * MIB);
  await fill(daemon, 'data', 0, randomBytes(4 * MIB));
  const [{ nextAt, last }] = await daemon.json('volume', 'scrub', 'status', 'data');
  expect(last).toBe(null);
  expect(Date.parse(nextAt) - Date.now()).toBeLessThanOrEqual(60_000);
  await daemon.gfsOk('volume', 'scrub', 'data', '--rate', '64K');
  await daemon.gfsOk('volume', 'scrub', 'cancel', '--all');
  const [cancelled] = await daemon.json('volume', 'scrub', 'status', 'data');
  expect(cancelled).toMatchObject({ run: null, last: { outcome: 'cancelled' } });
  expect(await daemon.stop()).toBe(0);
});
