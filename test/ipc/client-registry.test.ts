import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ClientError } from '../../src/ipc/client-error.js';
import { DEFAULT_DAEMON_ADDRESS, findDaemon } from '../../src/ipc/client-discovery.js';
import { type DaemonEntry, listDaemons, registerDaemon, type RegistryPlace } from '../../src/ipc/daemon-registry.js';
import { NOT_RUNNING, processStart } from '../../src/ipc/process-start.js';

let root: string;
let place: RegistryPlace;
let folder: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'gfs-registry-'));
  place = {
    environment: { XDG_RUNTIME_DIR: root },
    uid: process.getuid!(),
    temporaryFolder: join(root, 'tmp'),
    systemFolder: join(root, 'run'),
  };
  folder = join(root, 'galleonfs');
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

function entry(fields: Partial<DaemonEntry> = {}): DaemonEntry {
  const tokenFile = join(root, 'token');
  writeFileSync(tokenFile, 'secret-1\n');
  return {
    pid: process.pid,
    startedAtMs: 1000,
    ipcAddress: '127.0.0.1:4000',
    tokenFile,
    storagePath: '/srv/a',
    ...fields,
  };
}

/** A second live process to register. */
async function withChild(body: (pid: number) => Promise<void>): Promise<void> {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  await once(child, 'spawn');
  try {
    await body(child.pid!);
  } finally {
    child.kill('SIGKILL');
  }
}

describe('the registry', () => {
  test('shows a daemon from its registration to its end, to its user only', async () => {
    const registration = await registerDaemon(entry(), place);
    expect(listDaemons(place)).toEqual([entry()]);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(join(folder, `${String(process.pid)}.json`)).mode & 0o777).toBe(0o600);
    await registration.close();
    await registration.close();
    expect(listDaemons(place)).toEqual([]);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('forgets a daemon that died without saying so', async () => {
    await withChild(async (pid) => {
      await registerDaemon(entry({ pid }), place);
      expect(listDaemons(place)).toHaveLength(1);
      process.kill(pid, 'SIGKILL');
      // A dead child that nobody has waited for is still in the process table.
      while (processStart(pid) !== NOT_RUNNING) await new Promise((resolve) => setImmediate(resolve));
      expect(listDaemons(place)).toEqual([]);
      expect(readdirSync(folder)).toEqual([]);
    });
  });

  test('forgets an entry whose process number belongs to another process now', async () => {
    await registerDaemon(entry(), place);
    const stale = { ...entry(), processStart: processStart(process.pid) - 1 };
    writeFileSync(join(folder, `${String(process.pid)}.json`), JSON.stringify(stale));
    expect(listDaemons(place)).toEqual([]);
    expect(readdirSync(folder)).toEqual([]);
  });

  test.each(['', 'not json', '[]', '{"pid":1}', '{"pid":"x","startedAtMs":1}'])('removes rubbish: %j', (text) => {
    mkdirSync(folder, { mode: 0o700 });
    writeFileSync(join(folder, '77.json'), text);
    expect(listDaemons(place)).toEqual([]);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('neither reads nor uses a folder that others may write to', async () => {
    await registerDaemon(entry(), place);
    chmodSync(folder, 0o777);
    expect(listDaemons(place)).toEqual([]);
    const elsewhere = { ...place, uid: place.uid === 0 ? 1 : 0 };
    expect(listDaemons(elsewhere)).toEqual([]);
    if (place.uid === 0) {
      const registration = await registerDaemon(entry(), place);
      expect(readdirSync(place.systemFolder)).toEqual([`${String(process.pid)}.json`]);
      await registration.close();
    }
  });

  test('a folder that is a link to elsewhere is not used', async () => {
    const target = join(root, 'target');
    mkdirSync(target, { mode: 0o700 });
    symlinkSync(target, folder);
    const registration = await registerDaemon(entry(), place);
    expect(readdirSync(target)).toEqual([]);
    await registration.close();
  });

  test('without any usable folder it says which one is wrong', async () => {
    const nobody = { environment: {}, uid: 4_000_000, temporaryFolder: root, systemFolder: join(root, 'run') };
    mkdirSync(join(root, 'galleonfs-4000000'));
    await expect(registerDaemon(entry(), nobody)).rejects.toThrow(/galleonfs-4000000 belongs to another user/);
  });

  test('a folder that was chosen is the only one', async () => {
    await registerDaemon(entry(), place);
    const chosen = { ...place, environment: { ...place.environment, GFS_RUNTIME_FOLDER: join(root, 'mine') } };
    expect(listDaemons(chosen)).toEqual([]);
    await registerDaemon(entry({ storagePath: '/srv/mine' }), chosen);
    expect(listDaemons(chosen).map(({ storagePath }) => storagePath)).toEqual(['/srv/mine']);
    expect(listDaemons(place).map(({ storagePath }) => storagePath)).toEqual(['/srv/a']);
  });

  test('finds a daemon of another login of the same user', async () => {
    const shell = { ...place, environment: {} };
    const registration = await registerDaemon(entry(), shell);
    expect(listDaemons(place)).toEqual([entry()]);
    await registration.close();
  });
});

describe('finding the daemon that is meant', () => {
  const nothing = { address: undefined, tokenFile: undefined };

  test('none runs: the default address, without a token', () => {
    expect(findDaemon(nothing, place)).toEqual({ address: DEFAULT_DAEMON_ADDRESS, token: '' });
    writeFileSync(join(root, 'other'), ' secret-2 \n');
    const wishes = { address: undefined, tokenFile: join(root, 'other') };
    expect(findDaemon(wishes, place)).toEqual({ address: DEFAULT_DAEMON_ADDRESS, token: 'secret-2' });
  });

  test('one runs: it, with its token', async () => {
    await registerDaemon(entry(), place);
    expect(findDaemon(nothing, place)).toEqual({ address: '127.0.0.1:4000', token: 'secret-1' });
  });

  test('an address chooses, also spelt localhost, and brings the token along', async () => {
    await registerDaemon(entry(), place);
    const wishes = { address: 'localhost:4000', tokenFile: undefined };
    expect(findDaemon(wishes, place)).toEqual({ address: 'localhost:4000', token: 'secret-1' });
    expect(findDaemon({ address: '127.0.0.1:5', tokenFile: undefined }, place).token).toBe('');
  });

  test('two run: they are listed, and address or token file chooses', async () => {
    await withChild(async (pid) => {
      const secondToken = join(root, 'second');
      writeFileSync(secondToken, 'secret-2');
      await registerDaemon(entry(), place);
      const second = { pid, startedAtMs: 2000, ipcAddress: DEFAULT_DAEMON_ADDRESS, tokenFile: secondToken };
      await registerDaemon(entry({ ...second, storagePath: '/srv/b' }), place);
      let thrown: unknown;
      try {
        findDaemon(nothing, place);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(ClientError);
      expect((thrown as ClientError).fault).toEqual({
        code: 'AMBIGUOUS',
        addresses: ['127.0.0.1:4000', DEFAULT_DAEMON_ADDRESS],
      });
      expect((thrown as ClientError).message).toBe(
        `several daemons run here: 127.0.0.1:4000 (/srv/a), ${DEFAULT_DAEMON_ADDRESS} (/srv/b); ` +
          'choose one with --daemon-address',
      );
      const byAddress = findDaemon({ address: DEFAULT_DAEMON_ADDRESS, tokenFile: undefined }, place);
      expect(byAddress).toEqual({ address: DEFAULT_DAEMON_ADDRESS, token: 'secret-2' });
      const byToken = findDaemon({ address: undefined, tokenFile: secondToken }, place);
      expect(byToken).toEqual({ address: DEFAULT_DAEMON_ADDRESS, token: 'secret-2' });
    });
  });
});
