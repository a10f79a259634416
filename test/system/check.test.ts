import { createHash } from 'node:crypto';
import { closeSync, openSync, readdirSync, readFileSync, statSync, writeSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { DaemonProcess } from './daemon-process.js';
import { PipelinedClient } from './pipelined-client.js';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

const MIB = 1 << 20;

async function fill(daemon: DaemonProcess, name: string, bytes: Buffer): Promise<void> {
  const client = await PipelinedClient.connect(daemon.socketPath, name);
  for (let at = 0; at < bytes.length; at += MIB) {
    expect((await client.send(1, at, { payload: bytes.subarray(at, at + MIB) })).outcome).toBe(0);
  }
  client.close();
}

function picture(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).map((entry) => {
    const path = join(entry.parentPath, entry.name);
    const { mtimeMs, ctimeMs, mode, size } = statSync(path);
    const hash = entry.isFile() ? createHash('sha256').update(readFileSync(path)).digest('hex') : '';
    return [path, mtimeMs, ctimeMs, mode, size, hash].join(' ');
  });
}

test('check refuses a running node, says that a stopped one is clean, and changes nothing', async () => {
  const daemon = await DaemonProcess.start({ atEnd: onTestFinished });
  await daemon.volume('sealed', 16 * MIB);
  await daemon.volume('plain', 16 * MIB, 'fast-local-ssd');
  await fill(daemon, 'sealed', randomBytes(3 * MIB));
  await fill(daemon, 'plain', randomBytes(2 * MIB));
  await daemon.gfsOk('volume', 'snapshot', 'create', 'sealed', '--name', 'before');
  await fill(daemon, 'sealed', randomBytes(MIB));
  const line = ['daemon', 'check', '--storage-path', daemon.storagePath, '--config', daemon.configFile];
  const refused = await daemon.gfs(...line);
  expect(refused.status).toBe(2);
  expect(refused.stderr).toContain('a daemon is running on it');
  expect((await daemon.gfs('daemon', 'check', '--storage-path', daemon.folder)).status).toBe(2);

  for (const end of ['stop', 'kill'] as const) {
    if (end === 'stop') expect(await daemon.stop()).toBe(0);
    else await daemon.kill9();
    const before = picture(daemon.storagePath);
    const { status, stdout, stderr } = await daemon.gfs(...line, '--deep', '-o', 'json');
    expect(stderr).toBe('');
    const report = JSON.parse(stdout) as Record<string, unknown>;
    expect(report, stdout).toMatchObject({ clean: true, volumes: 2, liveBlocks: 1536, openedBlocks: 1536, layers: 3 });
    expect(report['findings']).toEqual([]);
    expect(status).toBe(0);
    expect(picture(daemon.storagePath)).toEqual(before);
    await daemon.start();
  }
  expect(await daemon.stop()).toBe(0);

  // A damaged block, a lost copy of a key, a damaged identity: each in words, with what still reads.
  const folder = join(daemon.storagePath, 'journal');
  const [segment] = readdirSync(folder)
    .map((name) => join(folder, name))
    .filter((path) =>
      readFileSync(path)
        .subarray(200_000, 300_000)
        .some((byte) => byte !== 0),
    );
  const file = openSync(segment, 'r+');
  writeSync(file, Buffer.from('damaged!'), 0, 8, 250_000);
  closeSync(file);
  await rm(join(daemon.storagePath, 'keys/data/1.json'));
  await writeFile(join(daemon.storagePath, 'node.json'), '{"format":1');
  const before = picture(daemon.storagePath);
  const bad = await daemon.gfs(...line, '-o', 'json');
  expect(bad.status).toBe(1);
  const { findings } = JSON.parse(bad.stdout) as { findings: { subject: string; what: string; reads: string }[] };
  const text = findings.map(({ subject, what, reads }) => `${subject}: ${what}: ${reads}`).join('\n');
  expect(text).toMatch(/node\.json: it is damaged: a start is refused: restore it from a copy/);
  expect(text).toMatch(/volume sealed: the copy of its data key 1 .* is missing or damaged: the other copy opens it/);
  expect(text).toMatch(/segment \d+: blocks \d+ of volume (sealed|plain) \(layer \d\) are damaged/);
  const table = await daemon.gfs(...line);
  expect(table.status).toBe(1);
  expect(table.stdout).toContain('damage was found; nothing was changed');
  expect(picture(daemon.storagePath)).toEqual(before);
});
