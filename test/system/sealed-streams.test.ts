import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { SeededRandom } from '../base/seeded-random.js';
import { DaemonProcess } from './daemon-process.js';
import { PipelinedClient } from './pipelined-client.js';

// Daemons are started several times here, and a busy machine must not decide a test.
vi.setConfig({ testTimeout: 240_000 });

const MIB = 1 << 20;
const [WRITE, FLUSH] = [1, 3];
const BLOCK = 4096;
const MARKER = 'what nobody else may read ';

const start = (): Promise<DaemonProcess> => DaemonProcess.start({ atEnd: onTestFinished });

async function put(daemon: DaemonProcess, name: string, offset: number, payload: Buffer): Promise<void> {
  const client = await PipelinedClient.connect(daemon.socketPath, name);
  try {
    expect((await client.send(WRITE, offset, { payload })).outcome).toBe(0);
    expect((await client.send(FLUSH, 0)).outcome).toBe(0);
  } finally {
    client.close();
  }
}

async function digestOf(daemon: DaemonProcess, name: string, bytes: number): Promise<string> {
  const client = await PipelinedClient.connect(daemon.socketPath, name);
  try {
    const hash = createHash('sha256');
    for (let at = 0; at < bytes; at += MIB) hash.update(await client.read(at, MIB));
    return hash.digest('hex');
  } finally {
    client.close();
  }
}

/** Data key numbers of a volume; the last seals what is written. */
async function keysOf(daemon: DaemonProcess, name: string): Promise<number[]> {
  const { volumes } = await daemon.json('key', 'status');
  const volume = (volumes as { name: string; keys: { number: number }[] }[]).find((one) => one.name === name);
  return (volume?.keys ?? []).map(({ number }) => number);
}

/** A volume with marked and with random blocks, two snapshots of it, and what it holds at the first. */
async function prepared(): Promise<{ daemon: DaemonProcess; first: string; second: string }> {
  const daemon = await start();
  await daemon.volume('web', 16 * MIB);
  await put(daemon, 'web', 0, Buffer.alloc(MIB, MARKER));
  await put(daemon, 'web', 3 * MIB, Buffer.from(new SeededRandom(5).bytes(3 * MIB)));
  await daemon.gfsOk('snapshot', 'create', 'web', '--name', 'a');
  const first = await digestOf(daemon, 'web', 16 * MIB);
  await put(daemon, 'web', 4 * MIB, Buffer.alloc(64 * 1024, `${MARKER}either`));
  await put(daemon, 'web', 9 * MIB, Buffer.alloc(BLOCK, 7));
  await daemon.gfsOk('snapshot', 'create', 'web', '--name', 'b');
  const second = await digestOf(daemon, 'web', 16 * MIB);
  return { daemon, first, second };
}

test('a sealed stream is a volume on another node, with a recovery file, and holds nothing in the clear', async () => {
  const { daemon, first, second } = await prepared();
  const [whole, next] = [join(daemon.folder, 'a.gfs'), join(daemon.folder, 'b.gfs')];
  await daemon.gfsOk('volume', 'send', 'web@a', '--file', whole);
  await daemon.gfsOk('volume', 'send', 'web@b', '--from', 'web@a', '--file', next);
  for (const file of [whole, next]) expect(readFileSync(file).includes(MARKER)).toBe(false);
  const [secret, recovery] = [join(daemon.folder, 'secret'), join(daemon.folder, 'recovery')];
  writeFileSync(secret, 'what is kept in the safe\n', { mode: 0o600 });
  await daemon.gfsOk('key', 'export-recovery', recovery, '--recovery-passphrase-file', secret);
  const opening = ['--recovery-file', recovery, '--recovery-passphrase-file', secret];

  const other = await start();
  const refused = await other.gfs('volume', 'receive', 'copy', '--file', whole);
  expect([refused.status, refused.stderr]).toEqual([
    1,
    expect.stringMatching(/data key 1, wrapped under the master key [0-9a-f]{32} of node .*: give --recovery-file/),
  ]);
  expect(readdirSync(join(other.storagePath, 'keys/data'))).toEqual([]);
  const wrong = join(daemon.folder, 'wrong');
  writeFileSync(wrong, 'what is not kept there\n', { mode: 0o600 });
  const misled = await other.gfs(
    ...['volume', 'receive', 'copy', '--file', whole, '--recovery-file', recovery],
    ...['--recovery-passphrase-file', wrong],
  );
  expect([misled.status, misled.stderr]).toEqual([2, expect.stringMatching(/passphrase is not the one/)]);

  await other.gfsOk('volume', 'receive', 'copy', '--file', whole, ...opening);
  await other.gfsOk('volume', 'receive', 'twin', '--file', whole, ...opening);
  await other.gfsOk('volume', 'receive', 'copy', '--file', next, ...opening);
  for (const name of ['copy', 'twin']) await other.gfsOk('volume', 'export', name);
  expect(await digestOf(other, 'copy', 16 * MIB)).toBe(second);
  expect(await digestOf(other, 'twin', 16 * MIB)).toBe(first);
  await put(other, 'copy', 12 * MIB, Buffer.alloc(BLOCK, MARKER));
  const journal = join(other.storagePath, 'journal');
  for (const name of readdirSync(journal)) expect(readFileSync(join(journal, name)).includes(MARKER)).toBe(false);

  // It works with the rest: its keys, a crash, re-sealing, clones, deletion.
  const now = await digestOf(other, 'copy', 16 * MIB);
  const ownKey = (await keysOf(other, 'copy')).at(-1);
  await other.kill9();
  await other.start();
  expect(await digestOf(other, 'copy', 16 * MIB)).toBe(now);
  expect((await keysOf(other, 'copy')).at(-1)).toBe(ownKey);
  await other.gfsOk('key', 'rotate-data', 'copy');
  await vi.waitFor(
    async () => {
      expect(await keysOf(other, 'copy')).toHaveLength(1);
    },
    { timeout: 90_000, interval: 200 },
  );
  expect(await digestOf(other, 'copy', 16 * MIB)).toBe(now);
  await other.gfsOk('volume', 'export', 'copy@a');
  expect(await digestOf(other, 'copy@a', 16 * MIB)).toBe(first);
  await other.gfsOk('volume', 'scrub', 'copy', '--wait');
  for (const name of ['copy', 'twin']) await other.gfsOk('volume', 'delete', name, '--force', '--with-snapshots');
  expect(readdirSync(join(other.storagePath, 'keys/data'))).toEqual([]);
});

test('a sealed stream that is cut, changed or of a damaged volume is no volume', async () => {
  const { daemon, second } = await prepared();
  const file = join(daemon.folder, 'b.gfs');
  await daemon.gfsOk('volume', 'send', 'web@b', '--file', file);
  const keys = readdirSync(join(daemon.storagePath, 'keys/data'));
  const whole = readFileSync(file);
  const broken = join(daemon.folder, 'broken.gfs');
  const random = new SeededRandom(11);
  const damages = Array.from({ length: 2 }, () => random.below(whole.length));
  for (const at of damages) {
    const bytes = Buffer.from(whole);
    bytes[at] ^= 1;
    for (const content of [bytes, whole.subarray(0, at)]) {
      writeFileSync(broken, content);
      const { status, stderr } = await daemon.gfs('volume', 'receive', 'copy', '--file', broken);
      expect([status, stderr], `byte ${at}`).toEqual([1, expect.stringMatching(/nothing of it was kept/)]);
    }
  }
  expect(readdirSync(join(daemon.storagePath, 'keys/data'))).toEqual(keys);
  // The same node has the master key.
  await daemon.gfsOk('volume', 'receive', 'copy', '--file', file);
  await daemon.gfsOk('volume', 'export', 'copy');
  expect(await digestOf(daemon, 'copy', 16 * MIB)).toBe(second);

  // A byte of the ciphertext of every block that both volumes have, where it lies.
  await daemon.stop();
  const journal = join(daemon.storagePath, 'journal');
  const sealed = whole.subarray(whole.length - 40_000, whole.length - 39_900);
  let found = 0;
  for (const name of readdirSync(journal)) {
    const bytes = readFileSync(join(journal, name));
    for (let at = bytes.indexOf(sealed); at >= 0; at = bytes.indexOf(sealed, at + 1)) {
      bytes[at + 50] ^= 1;
      found += 1;
    }
    writeFileSync(join(journal, name), bytes);
  }
  expect(found).toBeGreaterThan(1);
  await daemon.start();
  const { status, stderr } = await daemon.gfs('volume', 'send', 'web@b', '--file', broken, '--force');
  expect([status, stderr]).toEqual([
    1,
    expect.stringMatching(/web@b cannot be read at offset .* does not authenticate/),
  ]);
});
