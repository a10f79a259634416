import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Configuration, helpText, readConfiguration, shownEntries } from '../../src/daemon/configuration.js';
import { DaemonError } from '../../src/daemon/daemon-error.js';
import { SETTINGS } from '../../src/daemon/setting-table.js';

interface World {
  readonly argv?: readonly string[];
  readonly environment?: Record<string, string>;
  readonly file?: string;
}

/** Reads a configuration whose file, if any, is /etc/galleon.toml. */
async function read({
  argv = ['-d', '--storage-path', '/data'],
  environment = {},
  file,
}: World): Promise<Configuration> {
  const parsed = await readConfiguration({
    argv: file === undefined ? argv : [...argv, '--config', '/etc/galleon.toml'],
    environment,
    workingFolder: '/srv',
    readFile: (path) => {
      if (path === '/etc/galleon.toml' && file !== undefined) return Promise.resolve(file);
      return Promise.reject(Object.assign(new Error('no'), { code: 'ENOENT' }));
    },
  });
  if (parsed.kind !== 'run') throw new Error('it was meant to run');
  return parsed.configuration;
}

const entry = (configuration: Configuration, key: string): unknown =>
  configuration.entries.find((one) => one.key === key);
const refusal = (world: World): Promise<string> =>
  read(world).then(
    () => {
      throw new Error('it was taken');
    },
    (thrown: unknown) => {
      if (!(thrown instanceof DaemonError)) throw thrown;
      expect(thrown.code).toBe('CONFIG');
      expect(thrown.message).not.toContain('\n');
      return thrown.message;
    },
  );

describe('precedence', () => {
  const file = '[daemon]\nipc_address = "127.0.0.1:1"\nblock_size = "8K"\n\n[nbd]\naddress = "127.0.0.1:3"\n';

  it('is flag, environment, file, default, and each value says where it is from', async () => {
    const configuration = await read({
      argv: ['-d', '--storage-path', 'here', '--ipc-address=127.0.0.1:9'],
      environment: { GFS_IPC_ADDRESS: '127.0.0.1:8', GFS_NBD_ADDRESS: '127.0.0.1:7' },
      file,
    });
    expect(entry(configuration, 'daemon.ipc_address')).toMatchObject({
      value: '127.0.0.1:9',
      source: 'flag',
      origin: '--ipc-address',
    });
    expect(entry(configuration, 'nbd.address')).toMatchObject({
      value: '127.0.0.1:7',
      source: 'environment',
      origin: 'GFS_NBD_ADDRESS',
    });
    expect(entry(configuration, 'daemon.block_size')).toMatchObject({
      value: '8K',
      source: 'file',
      origin: 'galleon.toml:3',
    });
    expect(entry(configuration, 'daemon.metrics_address')).toMatchObject({
      value: '127.0.0.1:9810',
      source: 'default',
      origin: '',
    });
    expect(configuration.settings).toMatchObject({
      storagePath: '/srv/here',
      nbdSocket: '/srv/here/run/nbd.sock',
      blockBytes: 8192,
      ipc: { host: '127.0.0.1', port: 9 },
      nbd: { host: '127.0.0.1', port: 7 },
      journalReplayBytesMax: 2 ** 30,
      checkpointIntervalMs: 30_000,
      keyProvider: { provider: 'file' },
    });
  });

  it('takes an empty variable for none', async () => {
    expect(entry(await read({ environment: { GFS_BLOCK_SIZE: '' } }), 'daemon.block_size')).toMatchObject({
      source: 'default',
    });
  });

  it('finds the file by GFS_CONFIG, and the log level by GFS_LOG', async () => {
    const parsed = await readConfiguration({
      argv: ['--daemon'],
      environment: { GFS_CONFIG: 'g.toml', GFS_LOG: 'debug' },
      workingFolder: '/srv',
      readFile: (path) => Promise.resolve(path === '/srv/g.toml' ? '[daemon]\nstorage_path = "/x"' : ''),
    });
    expect(parsed).toMatchObject({ configuration: { logLevel: 'debug', settings: { storagePath: '/x' } } });
  });
});

describe('a wrong configuration', () => {
  it.each<[string, World, string]>([
    ['no storage path', { argv: ['-d'] }, '--storage-path'],
    ['an unknown flag', { argv: ['-d', '--sorage-path', 'x'] }, '--sorage-path'],
    ['a flag without its value', { argv: ['-d', '--storage-path'] }, '--storage-path'],
    ['a flag given twice', { argv: ['-d', '--storage-path', 'a', '--storage-path', 'b'] }, 'given twice'],
    ['a stray word', { argv: ['-d', 'volume'] }, '"volume"'],
    ['an empty storage path', { argv: ['-d', '--storage-path='] }, '--storage-path: daemon.storage_path'],
    [
      'a bad value of a flag',
      { argv: ['-d', '--storage-path', 'x', '--block-size', '5000'] },
      '--block-size: daemon.block_size',
    ],
    [
      'a bad value of a variable',
      { environment: { GFS_LOG: 'loud' } },
      'GFS_LOG: daemon.log_level: "loud" is not one of',
    ],
    ['a bad address', { environment: { GFS_IPC_ADDRESS: '8090' } }, 'HOST:PORT'],
    ['a port that is none', { environment: { GFS_IPC_ADDRESS: '127.0.0.1:70000' } }, 'HOST:PORT'],
    [
      'an unknown key',
      { file: '[daemon]\nstorage_path = "/x"\n\nipc_adress = "a"\n' },
      'galleon.toml:4: unknown key daemon.ipc_adress',
    ],
    [
      'a key in the wrong section',
      { file: '[daemon]\nbind_address = "127.0.0.1:1"\n' },
      'did you mean cluster.bind_address?',
    ],
    ['an unknown section', { file: '\n[deamon]\n' }, 'galleon.toml:2: unknown section [deamon]'],
    ['a key without a section', { file: 'level = "x"\n' }, 'galleon.toml:1: "level" stands outside of a section'],
    [
      'a bad value in the file',
      { file: '[persistence]\ncheckpoint_interval = "soon"\n' },
      'galleon.toml:2: persistence.checkpoint_interval',
    ],
    ['a wrong type', { file: '[nbd]\ninsecure = "yes"\n' }, 'galleon.toml:2: nbd.insecure is true or false'],
    ['what is not TOML', { file: '[daemon]\nstorage_path = \n' }, 'galleon.toml:2: this is not TOML'],
    ['a key twice', { file: '[daemon]\nblock_size = "4K"\nblock_size = "8K"\n' }, 'galleon.toml:3'],
    [
      'a file that is not there',
      { argv: ['-d', '--storage-path', 'x', '--config', 'nope.toml'] },
      'nope.toml cannot be read: there is no such file',
    ],
    ['an API open to the network', { environment: { GFS_IPC_ADDRESS: '0.0.0.0:8090' } }, 'without TLS'],
    [
      'NBD open to the network',
      { file: '[nbd]\naddress = "0.0.0.0:10809"\n' },
      'galleon.toml:2: NBD on 0.0.0.0:10809 would be open to the network',
    ],
    [
      'a certificate without its key',
      { argv: ['-d', '--storage-path', 'x', '--nbd-tls-cert', 'c'] },
      '--nbd-tls-cert: TLS also needs nbd.tls_key',
    ],
    [
      'API TLS without client certificates',
      { argv: ['-d', '--storage-path', 'x', '--ipc-tls-cert', 'c', '--ipc-tls-key', 'k'] },
      'security.ipc_tls_client_ca',
    ],
    ['a passphrase from nowhere', { environment: { GFS_KEY_PROVIDER: 'passphrase' } }, 'needs one of'],
    [
      'options of another provider',
      { environment: { GFS_PASSPHRASE_FILE: '/p' } },
      'GFS_PASSPHRASE_FILE: security.passphrase_file goes with',
    ],
    ['a command without a program', { environment: { GFS_KEY_PROVIDER: 'command' } }, 'key_command'],
  ])('names %s', async (_, world, expected) => {
    expect(await refusal(world)).toContain(expected);
  });
});

describe('settings', () => {
  it('open the network when they are told how', async () => {
    const files = { GFS_NBD_TLS_CERT: 'c', GFS_NBD_TLS_KEY: 'k', GFS_NBD_ADDRESS: '0.0.0.0:1' };
    expect((await read({ environment: files })).settings).toMatchObject({
      nbdTls: { certificate: '/srv/c', privateKey: '/srv/k', authority: '' },
    });
    const insecure = await read({ argv: ['-d', '--storage-path', 'x', '--insecure-nbd', '--nbd-address', '[::]:1'] });
    expect(insecure.settings).toMatchObject({
      insecureNbd: true,
      nbdTls: null,
      nbd: { host: '::', port: 1 },
    });
  });

  it('can leave out NBD over TCP and metrics', async () => {
    const { settings } = await read({ environment: { GFS_NBD_ADDRESS: 'off', GFS_METRICS_ADDRESS: 'off' } });
    expect(settings).toMatchObject({ nbd: null, metrics: null });
  });

  it('choose a key provider', async () => {
    const of = async (environment: Record<string, string>): Promise<unknown> =>
      (await read({ environment })).settings.keyProvider;
    expect(await of({ GFS_KEY_FILE: 'k' })).toEqual({ provider: 'file', path: '/srv/k' });
    expect(await of({ GFS_KEY_PROVIDER: 'passphrase', GFS_PASSPHRASE_CREDENTIAL: 'pass' })).toEqual({
      provider: 'passphrase',
      source: { kind: 'credential', credential: 'pass' },
    });
    expect(await of({ GFS_KEY_PROVIDER: 'command', GFS_KEY_COMMAND: '/bin/key, --slot, 1' })).toEqual({
      provider: 'command',
      argv: ['/bin/key', '--slot', '1'],
      timeoutMs: 10_000,
    });
  });

  it('say what has no effect yet, but only of what was given', async () => {
    expect((await read({})).withoutEffect).toEqual([]);
    const { withoutEffect, entries } = await read({
      file: '[cluster]\npeer_addresses = ["10.0.0.1:1", "10.0.0.2:1"]\n',
    });
    expect(withoutEffect).toEqual([
      expect.stringContaining('galleon.toml:2 (cluster.peer_addresses = 10.0.0.1:1,10.0.0.2:1) has no effect yet'),
    ]);
    expect(entries.find((one) => one.key === 'daemon.mount_point')?.note).toContain('has no effect yet');
  });

  it('are shown with what is in force, and without arguments that may be secret', async () => {
    const configuration = await read({
      environment: { GFS_KEY_PROVIDER: 'command', GFS_KEY_COMMAND: '/bin/key,--pin,1234' },
    });
    const shown = shownEntries(configuration);
    expect(shown.find((one) => one.key === 'nbd.socket')).toMatchObject({ value: '/data/run/nbd.sock' });
    expect(JSON.stringify(shown)).not.toContain('1234');
  });

  it('take the example as it is', async () => {
    const configuration = await read({
      argv: ['-d'],
      file: readFileSync(new URL('../../examples/galleonfs.toml', import.meta.url), 'utf8'),
    });
    expect(configuration.settings.storagePath).toBe('/var/lib/galleonfs');
    for (const one of configuration.entries.filter(({ source }) => source === 'file'))
      expect(one.origin).toMatch(/^galleon\.toml:\d+$/);
  });

  it('are all in the help', () => {
    for (const { flag, variable, key } of SETTINGS) {
      for (const word of [`--${flag}`, variable, key]) expect(helpText()).toContain(word);
    }
  });

  it('have one flag, one variable and one key each', () => {
    for (const of of ['flag', 'variable', 'key'] as const) {
      expect(new Set(SETTINGS.map((setting) => setting[of])).size).toBe(SETTINGS.length);
    }
  });
});
