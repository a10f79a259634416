import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { notifySystemd } from '../../src/io/systemd-notify.js';

/** Node has no unix datagrams, so the manager's side is played by python3. */
const MANAGER = `
import socket, sys
name = sys.argv[1]
channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
channel.settimeout(30)
channel.bind('\\0' + name[1:] if name[0] == '@' else name)
print('bound', flush=True)
print(channel.recv(4096).decode(), flush=True)
`;
const hasPython = spawnSync('python3', ['--version']).status === 0;

describe('notifySystemd', () => {
  let folder = '';

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'galleon-notify-'));
  });

  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  for (const kind of ['path', 'abstract name'] as const) {
    it.skipIf(!hasPython)(`reaches a manager at a ${kind} (needs python3)`, async () => {
      const name = join(folder, 'notify');
      const socketPath = kind === 'path' ? name : `@galleon${name.replaceAll('/', '-')}`;
      const manager = spawn('python3', ['-c', MANAGER, socketPath], { stdio: ['ignore', 'pipe', 'inherit'] });
      try {
        const lines = createInterface(manager.stdout)[Symbol.asyncIterator]();
        expect(await lines.next()).toEqual({ value: 'bound', done: false });
        expect(notifySystemd('READY=1\nSTATUS=serving', socketPath)).toBe(true);
        expect(await lines.next()).toEqual({ value: 'READY=1', done: false });
        expect(await lines.next()).toEqual({ value: 'STATUS=serving', done: false });
      } finally {
        manager.kill('SIGKILL');
      }
    });
  }

  it('says false when there is no manager, or none that could be', () => {
    expect(notifySystemd('READY=1', undefined)).toBe(false);
    expect(notifySystemd('READY=1', '')).toBe(false);
    expect(notifySystemd('READY=1', 'relative')).toBe(false);
    expect(notifySystemd('READY=1', join(folder, 'nobody'))).toBe(false);
    expect(notifySystemd('READY=1', `/${'x'.repeat(200)}`)).toBe(false);
  });
});
