import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { decodeRecovery } from '../../src/crypto/recovery-file.js';
import { DaemonProcess } from './daemon-process.js';
import { PipelinedClient } from './pipelined-client.js';

// Daemons are started several times here, and a busy machine must not decide a test.
vi.setConfig({ testTimeout: 240_000 });

const MIB = 1 << 20;
const [READ, WRITE, FLUSH] = [0, 1, 3];
const BLOCK = 4096;
const OLD_PASSPHRASE = 'correct horse battery staple';
const NEW_PASSPHRASE = 'a quite different passphrase';
const RECOVERY_PASSPHRASE = 'what is kept in the safe';

/** Wraps with openssl under a key that is in a file of its own. */
const KEY_COMMAND = `#!/bin/sh
set -eu
here=$(dirname "$0")
for verb; do :; done
flag=-d; [ "$verb" = wrap ] && flag=-e
openssl enc -aes-256-cbc $flag -pbkdf2 -base64 -A -pass "file:$here/secret"
`;
const withOpenssl = test.skipIf(spawnSync('openssl', ['version']).status !== 0);

/** Writes and checks blocks of one volume without a pause, until it is told to end; no request may fail. */
class Load {
  readonly #client: PipelinedClient;
  readonly #written = new Map<number, number>();
  #ended = false;
  #running: Promise<void>;
  rounds = 0;

  private constructor(client: PipelinedClient) {
    this.#client = client;
    this.#running = this.#run();
  }

  static async start(daemon: DaemonProcess, name: string): Promise<Load> {
    return new Load(await PipelinedClient.connect(daemon.socketPath, name));
  }

  async #run(): Promise<void> {
    while (!this.#ended) {
      this.rounds += 1;
      const blocks = Array.from({ length: 16 }, (_, n) => (this.rounds * 7 + n) % 256);
      const byte = (this.rounds % 250) + 1;
      const answers = await Promise.all(
        blocks.map((block) => this.#client.send(WRITE, block * BLOCK, { payload: Buffer.alloc(BLOCK, byte) })),
      );
      expect(answers.map(({ outcome }) => outcome)).toEqual(blocks.map(() => 0));
      for (const block of blocks) this.#written.set(block, byte);
      const [first = 0] = blocks;
      const { outcome, data } = await this.#client.send(READ, first * BLOCK, { length: BLOCK });
      expect([outcome, data.every((each) => each === byte)]).toEqual([0, true]);
    }
    expect((await this.#client.send(FLUSH, 0)).outcome).toBe(0);
  }

  /** Resolves after some more rounds. */
  async goesOn(): Promise<void> {
    const until = this.rounds + 20;
    while (this.rounds < until) {
      await Promise.race([this.#running, new Promise((resolve) => setTimeout(resolve, 20))]);
    }
  }

  /** What the volume then holds: byte by block. */
  async end(): Promise<ReadonlyMap<number, number>> {
    this.#ended = true;
    await this.#running;
    this.#client.close();
    return this.#written;
  }
}

async function expectContent(daemon: DaemonProcess, name: string, written: ReadonlyMap<number, number>): Promise<void> {
  const client = await PipelinedClient.connect(daemon.socketPath, name);
  try {
    for (const [block, byte] of written) {
      expect(
        (await client.read(block * BLOCK, BLOCK)).every((each) => each === byte),
        `${name} ${String(block)}`,
      ).toBe(true);
    }
  } finally {
    client.close();
  }
}

function secretFile(daemon: DaemonProcess, name: string, text: string): string {
  const path = join(daemon.folder, name);
  writeFileSync(path, `${text}\n`, { mode: 0o600 });
  return path;
}

function filesWith(folder: string, texts: readonly (string | Buffer)[]): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((name) => {
      // The cleaner takes files away meanwhile.
      if (statSync(name, { throwIfNoEntry: false })?.isFile() !== true) return false;
      const bytes = readIfThere(name);
      return texts.some((text) => bytes.includes(text));
    });
}

function readIfThere(name: string): Buffer {
  try {
    return readFileSync(name);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
    return Buffer.alloc(0);
  }
}

/** The data keys, by way of a recovery file. */
async function dataKeys(daemon: DaemonProcess, name: string): Promise<Buffer[]> {
  const file = join(daemon.folder, `${name}.recovery`);
  const passphrase = secretFile(daemon, `${name}.passphrase`, RECOVERY_PASSPHRASE);
  await daemon.gfsOk('key', 'export-recovery', file, '--recovery-passphrase-file', passphrase);
  const content = await decodeRecovery(readFileSync(file), Buffer.from(RECOVERY_PASSPHRASE), file);
  return content.keys.map(({ secret }) => Buffer.from(secret));
}

function spellings(keys: readonly Buffer[]): (string | Buffer)[] {
  return keys.flatMap((key) => [key, key.toString('hex'), key.toString('base64')]);
}

withOpenssl('the master key moves from provider to provider while volumes are used (needs openssl)', async () => {
  const daemon = await DaemonProcess.prepare({ atEnd: onTestFinished });
  await daemon.start();
  await daemon.volume('web', 16 * MIB);
  await daemon.volume('db', 16 * MIB);
  const secrets = spellings(await dataKeys(daemon, 'before'));
  const load = await Load.start(daemon, 'web');
  const passphraseFile = secretFile(daemon, 'passphrase', OLD_PASSPHRASE);
  const script = join(daemon.folder, 'key-command');
  writeFileSync(script, KEY_COMMAND);
  chmodSync(script, 0o700);
  secretFile(daemon, 'secret', 'a secret of the user');
  const ids = new Set<string>();
  const rotate = async (...options: string[]): Promise<Record<string, string>> => {
    const wrapped = ['1', '2'].map((number) =>
      readFileSync(join(daemon.storagePath, `keys/data/${number}.json`), 'utf8'),
    );
    const old = wrapped.map((text) => /"wrapped":"([^"]+)"/.exec(text)?.[1] ?? '');
    const answer = await daemon.json('key', 'rotate-master', ...options);
    expect(answer).toMatchObject({ keys: 2, unfinished: '' });
    // Neither copy is left, in files or in pages of the MetaStore.
    expect(filesWith(join(daemon.storagePath, 'keys'), old)).toEqual([]);
    expect(filesWith(join(daemon.storagePath, 'meta'), old)).toEqual([]);
    ids.add(answer.masterKeyId as string);
    await load.goesOn();
    return answer.settings as Record<string, string>;
  };

  await rotate();
  const toPassphrase = await rotate('--provider', 'passphrase', '--passphrase-file', passphraseFile);
  expect(toPassphrase).toEqual({ key_provider: 'passphrase', passphrase_file: passphraseFile });
  expect(existsSync(join(daemon.storagePath, 'keys/master.key'))).toBe(false);
  secretFile(daemon, 'passphrase', NEW_PASSPHRASE);
  await rotate();
  await rotate('--provider', 'command', '--key-command', `${script},--quiet`);
  expect(readdirSync(join(daemon.storagePath, 'keys')).sort()).toEqual(['check.json', 'data', 'next', 'settings.json']);
  expect(ids.size).toBe(4);
  const status = await daemon.json('key', 'status');
  expect(status).toMatchObject({ provider: 'command', usable: true, wrappedKeys: 2, keptTwice: 2 });
  expect(JSON.stringify(status)).not.toContain('--quiet');
  expect(await daemon.gfsOk('key', 'status')).toMatch(/web +1 +AES-256-GCM +\S+ +new writes +2/);
  expect((await daemon.json('status')).problems).toEqual([
    expect.objectContaining({ subject: 'keys', remedy: expect.stringMatching(/--key-provider command/) as string }),
  ]);
  const written = await load.end();
  await daemon.kill9();

  // With the settings of before it serves nothing that is encrypted, and says what to do.
  await daemon.start();
  const locked = await daemon.json('volume', 'get', 'web');
  expect(locked.state).toBe('locked');
  expect(locked.stateReason).toMatch(
    /the master key was changed on .*--key-provider command --key-command \S+key-command/,
  );
  expect(daemon.log.some((line) => String(line['error']).includes('--key-provider command'))).toBe(true);
  await daemon.stop();

  await daemon.start(['--key-provider', 'command', '--key-command', script]);
  await expectContent(daemon, 'web', written);
  // And back, with the default.
  await daemon.gfsOk('key', 'rotate-master', '--provider', 'file');
  await daemon.stop();
  await daemon.start();
  await expectContent(daemon, 'web', written);
  const ours = [...secrets, OLD_PASSPHRASE, NEW_PASSPHRASE];
  expect(filesWith(daemon.storagePath, ours)).toEqual([]);
  for (const text of ours) if (typeof text === 'string') expect(daemon.output).not.toContain(text);
  expect(readFileSync(`/proc/${String(daemon.pid)}/cmdline`, 'utf8')).not.toContain('passphrase ');
});

/** Waits until all blocks of a volume are sealed as new writes are. */
async function resealed(daemon: DaemonProcess, name: string): Promise<void> {
  await vi.waitFor(
    async () => {
      const { volumes } = (await daemon.json('key', 'status')) as { volumes: { name: string; resealing: unknown }[] };
      expect(volumes.find((volume) => volume.name === name)?.resealing).toBe(null);
    },
    { timeout: 90_000, interval: 200 },
  );
}

test('new data keys seal what is written, and what was, under load; then the old ones are destroyed', async () => {
  const daemon = await DaemonProcess.start({ atEnd: onTestFinished });
  await daemon.volume('web', 16 * MIB);
  const load = await Load.start(daemon, 'web');
  await load.goesOn();
  await daemon.gfsOk('snapshot', 'create', 'web', '--name', 'then');
  for (let number = 2; number <= 4; number += 1) {
    const text = await daemon.gfsOk('key', 'rotate-data', 'web');
    expect(text).toContain(`new writes of web are sealed with data key ${String(number)}`);
    expect(text).toMatch(/written before under data keys? .* follow in the background/);
    await load.goesOn();
  }
  await resealed(daemon, 'web');
  await load.goesOn();
  const written = await load.end();
  const { volumes } = await daemon.json('key', 'status');
  expect(
    volumes[0].keys.map((key: { number: number; use: string; copies: number }) => [key.number, key.use, key.copies]),
  ).toEqual([[4, 'new-writes', 2]]);
  expect(await daemon.gfsOk('key', 'status')).not.toMatch(/old blocks/);
  expect(readdirSync(join(daemon.storagePath, 'keys/data'))).toEqual(['4.json']);
  await daemon.kill9();
  await daemon.start();
  await expectContent(daemon, 'web', written);
  await daemon.gfsOk('volume', 'clone', 'web@then', '--name', 'copy');
  const keys = await dataKeys(daemon, 'all');
  expect(keys).toHaveLength(2);
  expect(filesWith(daemon.storagePath, spellings(keys))).toEqual([]);
  // What both show stays under its key.
  await daemon.gfsOk('key', 'rotate-data', 'web');
  await vi.waitFor(
    async () => {
      expect(await daemon.gfsOk('key', 'status')).toMatch(
        /old blocks of web: stay as they are.*shared with clone copy/,
      );
    },
    { timeout: 30_000, interval: 200 },
  );
  await expectContent(daemon, 'web', written);
  await daemon.gfsOk('snapshot', 'delete', 'web@then', '--force');
  await daemon.gfsOk('volume', 'delete', 'copy', '--force');
  const removal = await daemon.json('volume', 'delete', 'web', '--force');
  expect(removal.detail).toMatch(/data keys were destroyed first: no block of it can be opened any more/);
});

test('encryption is turned on and off, while the volume is used', async () => {
  const daemon = await DaemonProcess.start({ atEnd: onTestFinished });
  await daemon.volume('bare', 16 * MIB, 'fast-local-ssd');
  const client = await PipelinedClient.connect(daemon.socketPath, 'bare');
  const markers = ['in the clear, one', 'sealed, and not to be seen', 'in the clear, two'];
  const put = async (block: number, marker: string): Promise<void> => {
    const payload = Buffer.alloc(BLOCK, marker);
    expect((await client.send(WRITE, block * BLOCK, { payload })).outcome).toBe(0);
    expect((await client.send(FLUSH, 0)).outcome).toBe(0);
  };
  const onDisk = (): boolean[] =>
    markers.map((marker) => filesWith(join(daemon.storagePath, 'journal'), [marker]).length > 0);
  await put(0, markers[0]);
  expect(onDisk()).toEqual([true, false, false]);
  expect(await daemon.gfsOk('volume', 'encrypt', 'bare')).toMatch(
    /data key 1; blocks .* before without encryption follow in the background/,
  );
  await put(1, markers[1]);
  await resealed(daemon, 'bare');
  expect(onDisk()).toEqual([false, false, false]);
  expect((await daemon.json('volume', 'get', 'bare')).encrypted).toBe(true);
  expect(await daemon.gfsOk('volume', 'decrypt', 'bare')).toMatch(
    /not encrypted any more; blocks .* before under data key 1 follow in the background/,
  );
  await put(2, markers[2]);
  await resealed(daemon, 'bare');
  expect(onDisk()).toEqual([true, true, true]);
  expect(readdirSync(join(daemon.storagePath, 'keys/data'))).toEqual([]);
  client.close();
  await daemon.kill9();
  await daemon.start();
  const again = await PipelinedClient.connect(daemon.socketPath, 'bare');
  for (const [block, marker] of markers.entries()) {
    expect((await again.read(block * BLOCK, BLOCK)).equals(Buffer.alloc(BLOCK, marker))).toBe(true);
  }
  again.close();
});

test('a node whose master key is lost gets all of its data back from a recovery file', async () => {
  const daemon = await DaemonProcess.prepare({ atEnd: onTestFinished });
  await daemon.start();
  await daemon.volume('web', 16 * MIB);
  await daemon.volume('db', 16 * MIB);
  const load = await Load.start(daemon, 'web');
  await load.goesOn();
  // The clone keeps the first key of what it shares.
  await daemon.gfsOk('volume', 'clone', 'web', '--name', 'copy');
  await daemon.gfsOk('key', 'rotate-data', 'web');
  await load.goesOn();
  const written = await load.end();

  const file = join(daemon.folder, 'node.recovery');
  const passphrase = ['--recovery-passphrase-file', secretFile(daemon, 'recovery-passphrase', RECOVERY_PASSPHRASE)];
  expect((await daemon.gfs('key', 'export-recovery', file)).stderr).toMatch(/nobody can be asked/);
  expect(await daemon.gfsOk('key', 'export-recovery', file, ...passphrase)).toMatch(/4 data keys of 3 volumes/);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const again = await daemon.gfs('key', 'export-recovery', file, ...passphrase);
  expect([again.status, again.stderr]).toEqual([1, expect.stringMatching(/there already and is not overwritten/)]);
  const short = secretFile(daemon, 'short', 'short');
  const weak = await daemon.gfs('key', 'export-recovery', `${file}.2`, '--recovery-passphrase-file', short);
  expect([weak.status, existsSync(`${file}.2`)]).toEqual([2, false]);
  expect(filesWith(daemon.folder, [RECOVERY_PASSPHRASE])).toEqual([passphrase[1]]);

  const importing = [
    'key',
    'import-recovery',
    file,
    '--storage-path',
    daemon.storagePath,
    '--config',
    daemon.configFile,
  ];
  const running = await daemon.gfs(...importing, ...passphrase);
  expect([running.status, running.stderr]).toEqual([1, expect.stringMatching(/another daemon is running on it/)]);
  await daemon.stop();
  const needless = await daemon.gfs(...importing, ...passphrase);
  expect([needless.status, needless.stderr]).toEqual([1, expect.stringMatching(/nothing to recover/)]);

  // 1. The master key alone.
  rmSync(join(daemon.storagePath, 'keys/master.key'));
  await daemon.start();
  expect((await daemon.json('volume', 'get', 'web')).state).toBe('locked');
  await daemon.stop();
  const wrong = await daemon.gfs(
    ...importing,
    '--recovery-passphrase-file',
    secretFile(daemon, 'wrong', NEW_PASSPHRASE),
  );
  expect([wrong.status, wrong.stderr]).toEqual([1, expect.stringMatching(/the passphrase is not the one/)]);
  const done = await daemon.gfs(...importing, ...passphrase);
  expect([done.status, done.stderr]).toEqual([0, '']);
  expect(done.stdout).toMatch(/^4 data keys from .*volumes: \S+, \S+, \S+\) wrapped under a new master key/);
  await daemon.start();
  await expectContent(daemon, 'web', written);
  await daemon.stop();

  // 2. The whole of keys/, and to another provider on the way.
  rmSync(join(daemon.storagePath, 'keys'), { recursive: true });
  const flags = ['--key-provider', 'passphrase', '--passphrase-file', secretFile(daemon, 'passphrase', NEW_PASSPHRASE)];
  const moved = await daemon.gfs(...importing, ...flags, ...passphrase);
  expect([moved.status, moved.stderr]).toEqual([0, '']);
  await daemon.start(flags);
  await expectContent(daemon, 'web', written);
  expect(await daemon.json('key', 'status')).toMatchObject({ provider: 'passphrase', wrappedKeys: 4, keptTwice: 4 });
  await daemon.stop();

  // 3. Not for another node, and not for none.
  const other = join(daemon.folder, 'other');
  cpSync(daemon.storagePath, other, { recursive: true });
  rmSync(join(other, 'node.json'));
  const nowhere = ['key', 'import-recovery', file, '--storage-path', other, ...passphrase];
  expect((await daemon.gfs(...nowhere)).stderr).toMatch(/no node\.json/);
  expect((await daemon.gfs('key', 'import-recovery', '--storage-path', other)).status).toBe(2);
});

test.skipIf(process.getuid?.() !== 0)('what root recovers stays the property of the daemon (needs root)', async () => {
  const daemon = await DaemonProcess.start({ atEnd: onTestFinished });
  await daemon.volume('web', 16 * MIB);
  const passphrase = ['--recovery-passphrase-file', secretFile(daemon, 'recovery-passphrase', RECOVERY_PASSPHRASE)];
  const file = join(daemon.folder, 'node.recovery');
  await daemon.gfsOk('key', 'export-recovery', file, ...passphrase);
  await daemon.stop();
  rmSync(join(daemon.storagePath, 'keys/master.key'));
  // As a service with a user of its own has it.
  const nobody = 65534;
  chmodSync(daemon.folder, 0o711);
  const names = ['.', ...readdirSync(daemon.storagePath, { recursive: true, encoding: 'utf8' })];
  for (const name of names) chownSync(join(daemon.storagePath, name), nobody, nobody);
  await daemon.gfsOk('key', 'import-recovery', file, '--storage-path', daemon.storagePath, ...passphrase);
  const owners = readdirSync(daemon.storagePath, { recursive: true, encoding: 'utf8' }).map(
    (name) => statSync(join(daemon.storagePath, name)).uid,
  );
  expect(new Set(owners)).toEqual(new Set([nobody]));
  await daemon.start();
  expect((await daemon.json('volume', 'get', 'web')).state).toBe('available');
});

test('keys are explained, completed, and asked for in the right order', async () => {
  const daemon = await DaemonProcess.prepare({ atEnd: onTestFinished });
  expect(await daemon.gfsOk('key', '--help')).toMatch(
    /rotate-master.*\n.*rotate-data.*\n.*export-recovery.*\n.*import-recovery/,
  );
  expect(await daemon.gfsOk('key', 'import-recovery', '--help')).toMatch(/while no daemon runs on it/);
  const { status, stderr } = await daemon.gfs('-o', 'json', 'key', 'import-recovery', 'file');
  expect([status, stderr]).toEqual([2, expect.stringMatching(/write the verb first/)]);
  expect(await daemon.gfsOk('__complete', '--', 'key', 'rotate-master', '--provider', '')).toMatch(
    /file\s+passphrase\s+command/,
  );
});
