import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, onTestFinished, test, vi } from 'vitest';
import { DaemonProcess } from './daemon-process.js';
import { PipelinedClient } from './pipelined-client.js';

// Daemons are started several times here, and a busy machine must not decide a test.
vi.setConfig({ testTimeout: 180_000 });

const MIB = 1 << 20;
const WRITE = 1;
const CONTENT = Buffer.alloc(64 * 1024, 0x3c);

/** A key command as a user would write one: wraps with openssl under a key that is in a file of its own. */
const KEY_COMMAND = `#!/bin/sh
set -eu
here=$(dirname "$0")
flag=-d; [ "$1" = wrap ] && flag=-e
openssl enc -aes-256-cbc $flag -pbkdf2 -base64 -A -pass "file:$here/secret"
`;

async function fill(daemon: DaemonProcess, name: string): Promise<void> {
  const client = await PipelinedClient.connect(daemon.socketPath, name);
  try {
    expect((await client.send(WRITE, 4096, { payload: CONTENT })).outcome).toBe(0);
  } finally {
    client.close();
  }
}

async function check(daemon: DaemonProcess, name: string): Promise<void> {
  const client = await PipelinedClient.connect(daemon.socketPath, name);
  try {
    expect((await client.read(4096, CONTENT.length)).equals(CONTENT)).toBe(true);
  } finally {
    client.close();
  }
}

/** Serves one encrypted and one plain volume over a restart; with the wrong secret the first is locked, and only that. */
async function serveAndLock(daemon: DaemonProcess, flags: readonly string[], spoil: () => void, mend: () => void) {
  await daemon.start(flags);
  await daemon.volume('sealed', 16 * MIB);
  await daemon.gfsOk('volume', 'create', 'plain', '--size', '16M', '-c', 'fast-local-ssd');
  await daemon.gfsOk('volume', 'export', 'plain');
  await fill(daemon, 'sealed');
  await fill(daemon, 'plain');
  await daemon.kill9();

  await daemon.start(flags);
  await check(daemon, 'sealed');
  expect(await daemon.stop()).toBe(0);

  spoil();
  await daemon.start(flags);
  const locked = await daemon.json('volume', 'get', 'sealed');
  expect(locked.state).toBe('locked');
  expect(locked.stateReason).not.toBe('');
  await check(daemon, 'plain');
  const refused = await daemon.gfs('volume', 'create', 'more', '--size', '16M');
  expect(refused.status).toBe(1);
  expect(refused.stderr).toMatch(/key/);
  await daemon.stop();

  mend();
  await daemon.start(flags);
  await check(daemon, 'sealed');
}

test('passphrase: from a file, over restarts; a wrong one locks the encrypted volumes and nothing else', async () => {
  const daemon = await DaemonProcess.prepare({ atEnd: onTestFinished });
  const file = join(daemon.folder, 'passphrase');
  const write = (text: string): void => {
    writeFileSync(file, text, { mode: 0o600 });
  };
  write('correct horse battery staple\n');
  const flags = ['--key-provider', 'passphrase', '--passphrase-file', file];
  await serveAndLock(
    daemon,
    flags,
    () => {
      write('incorrect horse\n');
    },
    () => {
      write('correct horse battery staple\n');
    },
  );
  expect(daemon.output).not.toContain('battery');
});

test.skipIf(spawnSync('openssl', ['version']).status !== 0)(
  'command: a script of the user wraps and unwraps (needs openssl)',
  async () => {
    const daemon = await DaemonProcess.prepare({ atEnd: onTestFinished });
    const script = join(daemon.folder, 'key-command');
    const secret = join(daemon.folder, 'secret');
    writeFileSync(script, KEY_COMMAND);
    chmodSync(script, 0o700);
    writeFileSync(secret, 'a secret of the user', { mode: 0o600 });
    await serveAndLock(
      daemon,
      ['--key-provider', 'command', '--key-command', script],
      () => {
        writeFileSync(secret, 'another secret');
      },
      () => {
        writeFileSync(secret, 'a secret of the user');
      },
    );
    expect(existsSync(join(daemon.storagePath, 'keys/master.key'))).toBe(false);
  },
);

/** Node has no unix datagrams, so the manager's side is played by python3. */
const MANAGER = `
import socket, sys
channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
channel.settimeout(60)
channel.bind(sys.argv[1])
print('bound', flush=True)
while True:
    text = channel.recv(4096).decode()
    print(text.replace('\\n', ' '), flush=True)
    if text.startswith('STOPPING'): break
`;

test.skipIf(spawnSync('python3', ['--version']).status !== 0)(
  'systemd is told when it is ready and when it stops (needs python3)',
  async () => {
    const environment: Record<string, string> = {};
    const daemon = await DaemonProcess.prepare({ atEnd: onTestFinished, environment });
    const name = join(daemon.folder, 'notify');
    const manager = spawn('python3', ['-c', MANAGER, name], { stdio: ['ignore', 'pipe', 'inherit'] });
    onTestFinished(() => {
      manager.kill('SIGKILL');
    });
    const lines = createInterface(manager.stdout)[Symbol.asyncIterator]();
    expect(await lines.next()).toEqual({ value: 'bound', done: false });
    environment['NOTIFY_SOCKET'] = name;
    await daemon.start();
    // What it says is true: a client is served at once.
    expect((await lines.next()).value).toMatch(/^READY=1/);
    expect((await daemon.gfs('daemon', 'status')).status).toBe(0);
    await daemon.stop();
    expect((await lines.next()).value).toMatch(/^STOPPING=1/);
  },
);
