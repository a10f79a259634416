import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { SystemClock, SystemRandom } from '../../src/base/system-clock.js';
import { DataKeyVault } from '../../src/crypto/data-key-vault.js';
import { fileModeOf } from '../../src/crypto/secret-file.js';
import { NativeFiles } from '../../src/io/native-files.js';
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
  const { dataKeyNumber } = await daemon.json('volume', 'get', 'web-data');
  expect(await daemon.stop()).toBe(0);
  expect(plaintextUnder(daemon.storagePath)).toEqual([]);
  expect(daemon.output).not.toContain(MARKER);

  // Nor the key that would make it readable, however it is spelt.
  const secret = await dataKey(daemon, dataKeyNumber);
  expect(secret.length).toBe(32);
  const spellings = [secret, Buffer.from(secret.toString('hex')), Buffer.from(secret.toString('base64'))];
  for (const { path, bytes } of filesUnder(daemon.storagePath)) {
    for (const spelling of spellings) expect(bytes.includes(spelling), path).toBe(false);
  }
  for (const spelling of spellings.slice(1)) expect(daemon.output).not.toContain(spelling.toString());
}, 120_000);

/** Unwraps a data key in a copy of the keys, so that looking changes nothing. */
async function dataKey(daemon: DaemonProcess, number: number): Promise<Buffer> {
  const keysPath = join(daemon.folder, 'keys');
  cpSync(join(daemon.storagePath, 'keys'), keysPath, { recursive: true });
  const vault = await DataKeyVault.open(
    { keysPath, provider: { provider: 'file' } },
    {
      files: new NativeFiles(),
      random: new SystemRandom(),
      clock: new SystemClock(),
      environment: {},
      modeOf: fileModeOf,
    },
  );
  onTestFinished(() => vault.close());
  return Buffer.from((await vault.load(number, null)).secret);
}

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
