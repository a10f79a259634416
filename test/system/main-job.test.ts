import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { run } from '../nbd/programs.js';
import { DaemonProcess, filesUnder } from './daemon-process.js';
import { needs } from './needs.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const IMAGE_BYTES = 128 << 20;
const MARKER = 'a sentence that stands in the image only, and never where volumes are kept';
const FILE_NAME = 'a-file-name-that-nobody-should-read';

test('an ext4 image goes into an encrypted volume, survives kill -9 and comes out byte for byte', async (context) => {
  needs(context, 'nbdcopy', 'mke2fs', 'e2fsck');
  const daemon = await DaemonProcess.start({ atEnd: onTestFinished });
  const image = join(daemon.folder, 'in.raw');
  const back = join(daemon.folder, 'out.raw');
  const tree = join(daemon.folder, 'tree');
  mkdirSync(tree);
  cpSync(join(ROOT, 'src'), join(tree, 'src'), { recursive: true });
  writeFileSync(join(tree, FILE_NAME), `${MARKER}\n`.repeat(500));
  await run('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', tree, image, `${String(IMAGE_BYTES / 1024)}k`]);
  expect(readFileSync(image).includes(MARKER)).toBe(true);

  await daemon.gfsOk('volume', 'create', 'web-data', '--size', '128M');
  await daemon.gfsOk('volume', 'export', 'web-data');
  const { socketUri } = (await daemon.json('volume', 'get', 'web-data')).export;
  await run('nbdcopy', ['--flush', image, socketUri]);
  await daemon.kill9();
  const dead = await daemon.gfs('daemon', 'status');
  expect(dead.status).toBe(3);
  await daemon.start();
  expect((await daemon.gfs('daemon', 'status')).status).toBe(0);
  await run('nbdcopy', [socketUri, back]);

  const [before, after] = [image, back].map((file) => createHash('sha256').update(readFileSync(file)).digest('hex'));
  expect(after).toBe(before);
  await run('e2fsck', ['-fn', back]);

  // Nothing of it can be read where it is kept, while the daemon runs and after it has stopped.
  expect(plaintextUnder(daemon.storagePath)).toEqual([]);
  expect(await daemon.stop()).toBe(0);
  expect(plaintextUnder(daemon.storagePath)).toEqual([]);
  expect(daemon.output).not.toContain(MARKER);
}, 90_000);

function plaintextUnder(folder: string): string[] {
  const found: string[] = [];
  let bytesRead = 0;
  for (const { path, bytes } of filesUnder(folder)) {
    bytesRead += bytes.length;
    if (bytes.includes(MARKER) || bytes.includes(FILE_NAME)) found.push(path);
  }
  expect(bytesRead).toBeGreaterThan(1 << 20);
  return found;
}
