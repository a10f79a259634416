import { describe, expect, it } from 'vitest';
import { CryptoError } from '../../src/crypto/crypto-error.js';
import type { OpenedProvider } from '../../src/crypto/file-key-provider.js';
import type { PassphraseSource } from '../../src/crypto/key-provider.js';
import { openPassphraseKeyProvider, stretch } from '../../src/crypto/passphrase-key-provider.js';
import { wrapKey } from '../../src/crypto/key-wrap.js';
import { encodeChecked } from '../../src/crypto/checked-json.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MemoryFiles } from './memory-files.js';

const FROM_FILE: PassphraseSource = { kind: 'file', path: '/secret/passphrase' };
const SALT = '/keys/passphrase.json';
const SALT_COPY = '/keys/passphrase.copy.json';

interface Setting {
  readonly source?: PassphraseSource;
  readonly mayCreate?: boolean;
  readonly environment?: Record<string, string>;
}

function open(files: MemoryFiles, setting: Setting = {}): Promise<OpenedProvider> {
  return openPassphraseKeyProvider(
    { keysPath: '/keys', source: setting.source ?? FROM_FILE, mayCreate: setting.mayCreate ?? true, scryptN: 16 },
    { files, random: new SeededRandom(7), environment: setting.environment ?? {}, modeOf: files.modeOf },
  );
}

function withPassphrase(passphrase: string): MemoryFiles {
  const files = new MemoryFiles();
  files.put('/secret/passphrase', passphrase);
  return files;
}

function faultOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'resolved',
    (thrown: unknown) => (thrown instanceof CryptoError ? thrown.fault : thrown),
  );
}

const DATA_KEY = Uint8Array.from({ length: 32 }, (_, index) => index);

describe('stretch', () => {
  // RFC 7914 section 12; the fourth vector takes a gibibyte and says nothing more.
  it.each([
    [
      '',
      '',
      16,
      1,
      1,
      '77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906',
    ],
    [
      'password',
      'NaCl',
      1024,
      8,
      16,
      'fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640',
    ],
    [
      'pleaseletmein',
      'SodiumChloride',
      16384,
      8,
      1,
      '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887',
    ],
  ])('matches RFC 7914 for %j and %j', async (passphrase, salt, N, r, p, expected) => {
    const text = new TextEncoder();
    const derived = await stretch(text.encode(passphrase), text.encode(salt), { N, r, p }, 64);
    expect(Buffer.from(derived).toString('hex')).toBe(expected);
  });
});

describe('the passphrase provider', () => {
  it('gives the same master key for the same passphrase, whatever brought it', async () => {
    const files = withPassphrase('correct horse battery\n');
    const wrapped = await (await open(files)).provider.wrap(DATA_KEY);
    files.put('/run/credentials/gfs', 'correct horse battery\r\n', 0o440);
    for (const setting of [
      { source: { kind: 'environment', variable: 'PASS' }, environment: { PASS: 'correct horse battery' } },
      { source: { kind: 'credential', credential: 'gfs' }, environment: { CREDENTIALS_DIRECTORY: '/run/credentials' } },
    ] as const) {
      const { provider } = await open(files, { ...setting, mayCreate: false });
      expect(await provider.unwrap(wrapped)).toEqual(DATA_KEY);
    }
  });

  it('wraps with the first half of what scrypt gives', async () => {
    const files = withPassphrase('correct horse battery');
    const wrapped = await (await open(files)).provider.wrap(DATA_KEY);
    const stored = new TextDecoder().decode(files.content.get(SALT)?.bytes);
    const salt = Buffer.from((JSON.parse(stored) as { salt: string }).salt, 'base64');
    const derived = await stretch(new TextEncoder().encode('correct horse battery'), salt, { N: 16, r: 8, p: 1 }, 64);
    expect(wrapped).toEqual(wrapKey(derived.slice(0, 32), DATA_KEY));
  });

  it('tells a wrong passphrase at once', async () => {
    const files = withPassphrase('correct horse battery');
    await open(files);
    files.put('/secret/passphrase', 'incorrect horse battery');
    expect(await faultOf(open(files))).toEqual({ code: 'WRONG_KEY', provider: 'passphrase', keyNumber: 0 });
  });

  it('writes neither passphrase nor master key', async () => {
    const files = withPassphrase('correct horse battery');
    await open(files);
    const stored = new TextDecoder().decode(files.content.get(SALT)?.bytes);
    expect(stored).not.toContain('horse');
    const salt = Buffer.from((JSON.parse(stored) as { salt: string }).salt, 'base64');
    const derived = await stretch(new TextEncoder().encode('correct horse battery'), salt, { N: 16, r: 8, p: 1 }, 64);
    for (const half of [derived.subarray(0, 32), derived.subarray(32)]) {
      expect(stored).not.toContain(Buffer.from(half).toString('base64').slice(0, 20));
      expect(stored).not.toContain(Buffer.from(half).toString('hex').slice(0, 20));
    }
  });

  it.each([
    [SALT, 'rubbish'],
    [SALT_COPY, 'rubbish'],
    [SALT, null],
    [SALT_COPY, null],
  ])('heals %s when it is %j', async (path, content) => {
    const files = withPassphrase('correct horse battery');
    const wrapped = await (await open(files)).provider.wrap(DATA_KEY);
    const intact = files.content.get(path)?.bytes;
    if (content === null) files.content.delete(path);
    else files.put(path, content);
    const { provider, warnings } = await open(files, { mayCreate: false });
    expect(await provider.unwrap(wrapped)).toEqual(DATA_KEY);
    expect(warnings).toEqual([expect.stringContaining(path)]);
    expect(files.content.get(path)?.bytes).toEqual(intact);
  });

  it('never makes a new salt over a lost or damaged one', async () => {
    const files = withPassphrase('correct horse battery');
    expect(await faultOf(open(files, { mayCreate: false }))).toMatchObject({ code: 'MISSING', subject: SALT });
    files.put(SALT, 'rubbish');
    expect(await faultOf(open(files))).toMatchObject({ code: 'DAMAGED' });
    expect(new TextDecoder().decode(files.content.get(SALT)?.bytes)).toBe('rubbish');
  });

  it('does not let a file make it take all memory', async () => {
    const files = withPassphrase('correct horse battery');
    const cost = { format: 1, kdf: 'scrypt', N: 2 ** 30, r: 8, p: 1, salt: 'AAAA', check: '0'.repeat(32) };
    files.put(SALT, encodeChecked(cost));
    expect(await faultOf(open(files))).toMatchObject({ code: 'DAMAGED' });
  });

  it('refuses a passphrase that is missing, empty, too long, or for everyone to read', async () => {
    expect(await faultOf(open(new MemoryFiles()))).toMatchObject({ code: 'MISSING' });
    expect(await faultOf(open(withPassphrase('\n')))).toMatchObject({ code: 'OPTIONS' });
    expect(await faultOf(open(withPassphrase('x'.repeat(2000))))).toMatchObject({ code: 'OPTIONS' });
    const files = new MemoryFiles();
    files.put('/secret/passphrase', 'correct horse battery', 0o644);
    expect(await faultOf(open(files))).toEqual({ code: 'EXPOSED', path: '/secret/passphrase' });
    expect(await faultOf(open(files, { source: { kind: 'environment', variable: 'PASS' } }))).toMatchObject({
      code: 'MISSING',
    });
    expect(await faultOf(open(files, { source: { kind: 'credential', credential: 'x' } }))).toMatchObject({
      code: 'MISSING',
    });
    const environment = { CREDENTIALS_DIRECTORY: '/run/credentials' };
    expect(
      await faultOf(open(files, { source: { kind: 'credential', credential: '../x' }, environment })),
    ).toMatchObject({
      code: 'OPTIONS',
    });
    expect(files.content.has(SALT)).toBe(false);
  });

  it('takes a short passphrase with a warning', async () => {
    expect((await open(withPassphrase('short'))).warnings).toEqual([expect.stringMatching(/fewer than 12/)]);
  });
});
