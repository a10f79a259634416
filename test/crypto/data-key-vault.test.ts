import { describe, expect, it, onTestFinished } from 'vitest';
import { CryptoError } from '../../src/crypto/crypto-error.js';
import { DataKeyVault } from '../../src/crypto/data-key-vault.js';
import type { KeyProviderOptions } from '../../src/crypto/key-provider.js';
import type { MetaCopy } from '../../src/crypto/meta-copies.js';
import { ManualClock } from '../base/manual-clock.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MemoryCopies } from './memory-copies.js';
import { MemoryFiles } from './memory-files.js';

const MASTER = '/keys/master.key';
const CHECK = '/keys/check.json';

let seed = 1;

/** Each start has a randomness of its own, as a process has. */
async function open(
  files: MemoryFiles,
  provider: KeyProviderOptions = { provider: 'file' },
  metaCopies: readonly MetaCopy[] = [],
): Promise<DataKeyVault> {
  const vault = await DataKeyVault.open(
    { keysPath: '/keys', provider, metaCopies: new MemoryCopies(metaCopies) },
    {
      files,
      random: new SeededRandom(++seed * 7919),
      clock: new ManualClock(),
      environment: { PASS: 'correct horse battery' },
      modeOf: files.modeOf,
    },
  );
  onTestFinished(() => vault.close());
  return vault;
}

function faultOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'resolved',
    (thrown: unknown) => (thrown instanceof CryptoError ? thrown.fault : thrown),
  );
}

function contentOf(files: MemoryFiles, path: string): Uint8Array | undefined {
  return files.content.get(path)?.bytes;
}

describe('DataKeyVault', () => {
  it('makes the master key on first start, for its owner only, and warns', async () => {
    const files = new MemoryFiles();
    const vault = await open(files);
    expect(vault.state).toEqual({ usable: true });
    expect(files.content.get(MASTER)?.mode).toBe(0o600);
    expect(vault.warnings).toEqual([
      expect.stringMatching(/new master key/),
      expect.stringMatching(/lies beside the data/),
    ]);
    expect((await open(files)).warnings).toEqual([expect.stringMatching(/lies beside the data/)]);
  });

  it('gives a key back after a restart, from both copies', async () => {
    const files = new MemoryFiles();
    const made = await (await open(files)).create(3);
    expect(made.secret).toHaveLength(32);
    const loaded = await (await open(files)).load(3, made.record);
    expect(loaded).toEqual({ number: 3, secret: made.secret, record: made.record, healed: null });
  });

  it('stores no key that is not wrapped', async () => {
    const files = new MemoryFiles();
    const { secret, record } = await (await open(files)).create(1);
    const everything = Buffer.concat([record, ...[...files.content.values()].map(({ bytes }) => bytes)]).toString(
      'latin1',
    );
    for (const form of ['latin1', 'base64', 'hex'] as const) {
      expect(everything).not.toContain(Buffer.from(secret).toString(form).slice(0, 20));
    }
  });

  it('makes keys that differ, and no number twice', async () => {
    const vault = await open(new MemoryFiles());
    const [first, second] = [await vault.create(1), await vault.create(4294967295)];
    expect(first.secret).not.toEqual(second.secret);
    expect(await faultOf(vault.create(1))).toEqual({ code: 'NUMBER_TAKEN', keyNumber: 1 });
    expect(await vault.numbers()).toEqual([1, 4294967295]);
  });

  it.each([
    ['missing', null],
    ['damaged', new TextEncoder().encode('rubbish')],
  ])('heals a file copy that is %s', async (_, content) => {
    const files = new MemoryFiles();
    const { secret, record } = await (await open(files)).create(1);
    if (content === null) files.content.delete('/keys/data/1.json');
    else files.put('/keys/data/1.json', content);
    const loaded = await (await open(files)).load(1, record);
    expect(loaded.secret).toEqual(secret);
    expect(loaded.healed?.copy).toBe('file');
    expect(contentOf(files, '/keys/data/1.json')).toEqual(record);
  });

  it.each([
    ['missing', null],
    ['damaged', new TextEncoder().encode('rubbish')],
  ])('tells the caller to heal a MetaStore copy that is %s', async (_, metaCopy) => {
    const files = new MemoryFiles();
    const { secret, record } = await (await open(files)).create(1);
    const loaded = await (await open(files)).load(1, metaCopy);
    expect(loaded).toMatchObject({ secret, record, healed: { copy: 'meta' } });
  });

  it('does not take the record of another key for this one', async () => {
    const files = new MemoryFiles();
    const vault = await open(files);
    const one = await vault.create(1);
    const two = await vault.create(2);
    const loaded = await vault.load(1, two.record);
    expect(loaded).toMatchObject({ secret: one.secret, healed: { copy: 'meta' } });
  });

  it('names a key that is lost, and one that was never there', async () => {
    const files = new MemoryFiles();
    const vault = await open(files);
    await vault.create(1);
    files.put('/keys/data/1.json', 'rubbish');
    expect(await faultOf(vault.load(1, new Uint8Array(10)))).toEqual({ code: 'DAMAGED', subject: 'data key 1' });
    expect(await faultOf(vault.load(2, null))).toEqual({ code: 'MISSING', subject: 'data key 2' });
  });

  it('overwrites a key before it removes it', async () => {
    const files = new MemoryFiles();
    const vault = await open(files);
    await vault.create(1);
    const path = '/keys/data/1.json';
    const bytes = contentOf(files, path);
    const before = Uint8Array.from(bytes ?? []);
    files.journal.length = 0;
    await vault.erase(1);
    expect(files.journal).toEqual([
      `open write ${path}`,
      `write ${path}`,
      `sync ${path}`,
      `remove ${path}`,
      'syncDirectory /keys/data',
    ]);
    // The very array that was the file's content.
    expect(bytes).not.toEqual(before);
    await vault.erase(1);
    expect(await vault.numbers()).toEqual([]);
  });

  it('reports a disk that refuses', async () => {
    const files = new MemoryFiles();
    const vault = await open(files);
    files.failOn = (call) => call === 'replaceFile' || call === 'write';
    expect(await faultOf(vault.create(1))).toEqual({ code: 'IO', path: '/keys/data/1.json' });
    files.failOn = () => false;
    await vault.create(1);
    files.failOn = (call) => call === 'write';
    expect(await faultOf(vault.erase(1))).toEqual({ code: 'IO', path: '/keys/data/1.json' });
    expect(await vault.numbers()).toEqual([1]);
  });
});

describe('DataKeyVault with a master key that is not to be had', () => {
  it('notices another master key at start, before there is a volume', async () => {
    const files = new MemoryFiles();
    await open(files);
    const other = new MemoryFiles();
    await open(other);
    files.put(MASTER, contentOf(other, MASTER) ?? '');
    const vault = await open(files);
    expect(vault.state).toMatchObject({
      usable: false,
      error: { fault: { code: 'WRONG_KEY', provider: 'file', keyNumber: 0 } },
    });
    expect(await faultOf(vault.load(5, null))).toEqual({ code: 'WRONG_KEY', provider: 'file', keyNumber: 5 });
    expect(await faultOf(vault.create(6))).toMatchObject({ code: 'WRONG_KEY' });
    expect(vault.describe()).toMatch(/not usable/);
  });

  it('names the key that was wrapped with another master key', async () => {
    const files = new MemoryFiles();
    const vault = await open(files);
    await vault.create(1);
    const { record } = await (await open(new MemoryFiles())).create(2);
    expect(await faultOf(vault.load(2, record))).toEqual({ code: 'WRONG_KEY', provider: 'file', keyNumber: 2 });
  });

  it('makes no new master key in place of a lost one', async () => {
    const files = new MemoryFiles();
    await (await open(files)).create(1);
    files.content.delete(MASTER);
    expect((await open(files)).state).toMatchObject({
      usable: false,
      error: { fault: { code: 'MISSING', subject: MASTER } },
    });
    files.content.delete(CHECK);
    expect((await open(files)).state).toMatchObject({ usable: false, error: { fault: { code: 'MISSING' } } });
    expect(files.content.has(MASTER)).toBe(false);
  });

  it('refuses a master key that others can read', async () => {
    const files = new MemoryFiles();
    await open(files);
    files.put(MASTER, contentOf(files, MASTER) ?? '', 0o640);
    expect((await open(files)).state).toMatchObject({
      usable: false,
      error: { fault: { code: 'EXPOSED', path: MASTER } },
    });
  });

  it('refuses a damaged master key file', async () => {
    const files = new MemoryFiles();
    await open(files);
    const bytes = contentOf(files, MASTER) ?? new Uint8Array();
    bytes[60] = (bytes[60] ?? 0) ^ 1;
    expect((await open(files)).state).toMatchObject({
      usable: false,
      error: { fault: { code: 'DAMAGED', subject: MASTER } },
    });
  });

  it('is not usable when its folder is not, and does not fail to open', async () => {
    const files = new MemoryFiles();
    files.failOn = (call) => call === 'makeDirectory';
    expect((await open(files)).state).toMatchObject({ usable: false, error: { fault: { code: 'IO' } } });
  });

  it('gives a key out though the second copy cannot be written', async () => {
    const files = new MemoryFiles();
    const { record, secret } = await (await open(files)).create(1);
    files.content.delete('/keys/data/1.json');
    const vault = await open(files, { provider: 'file' }, [{ number: 1, record }]);
    files.failOn = (call) => call === 'replaceFile';
    const loaded = await vault.load(1, record);
    expect(loaded).toMatchObject({ secret, healed: { copy: 'file', reason: 'missing' } });
    expect(loaded.healed?.failure).toMatch(/cannot write/);
  });

  it('makes no new master key when the whole folder is lost, and takes the old one back', async () => {
    const before = new MemoryFiles();
    const { record } = await (await open(before)).create(1);
    const master = before.content.get(MASTER);
    const files = new MemoryFiles();
    const lost = await open(files, { provider: 'file' }, [{ number: 1, record }]);
    expect(lost.state).toMatchObject({ usable: false, error: { code: 'MISSING' } });
    expect([...files.content.keys()].filter((path) => path.endsWith('.json') || path === MASTER)).toEqual([]);
    if (master !== undefined) files.content.set(MASTER, master);
    const back = await open(files, { provider: 'file' }, [{ number: 1, record }]);
    expect(back.state).toEqual({ usable: true });
    expect(await back.load(1, record)).toMatchObject({ number: 1, healed: { copy: 'file' } });
  });

  it('finds a wrong master key out by the copies of the MetaStore when every file is lost', async () => {
    const { record } = await (await open(new MemoryFiles())).create(1);
    const other = new MemoryFiles();
    await open(other);
    other.content.delete(CHECK);
    const vault = await open(other, { provider: 'file' }, [{ number: 1, record }]);
    expect(vault.state).toMatchObject({ usable: false, error: { code: 'WRONG_KEY' } });
    expect(other.content.has(CHECK)).toBe(false);
  });

  it('refuses another provider than the one that wrapped', async () => {
    const files = new MemoryFiles();
    await open(files);
    const vault = await open(files, { provider: 'command', argv: ['/nowhere'] });
    expect(vault.state).toMatchObject({ usable: false, error: { fault: { code: 'WRONG_KEY', provider: 'command' } } });
    expect(vault.describe()).toMatch(/wrapped by provider "file"/);
  });
});

describe('the check of the master key', () => {
  it.each([
    ['missing', null],
    ['damaged', 'rubbish'],
  ])('is made anew when it is %s and a data key proves the master key', async (state, content) => {
    const files = new MemoryFiles();
    const made = await (await open(files)).create(1);
    if (content === null) files.content.delete(CHECK);
    else files.put(CHECK, content);
    const vault = await open(files);
    expect(vault.state.usable).toBe(true);
    expect(vault.warnings.at(-1)).toMatch(new RegExp(`check.json was ${state} .* fits the data keys`));
    expect(files.content.has(CHECK)).toBe(true);
    expect((await vault.load(1, null)).secret).toEqual(made.secret);
  });

  it('is not made anew under a wrong master key', async () => {
    const files = new MemoryFiles();
    await (await open(files)).create(1);
    const other = new MemoryFiles();
    await open(other);
    files.content.delete(CHECK);
    files.put(MASTER, contentOf(other, MASTER) ?? '');
    expect((await open(files)).state).toMatchObject({ usable: false, error: { fault: { code: 'WRONG_KEY' } } });
    expect(files.content.has(CHECK)).toBe(false);
  });

  it('finds out a program that unwraps to something else', async () => {
    const files = new MemoryFiles();
    const echo: KeyProviderOptions = { provider: 'command', argv: ['/bin/sh', '-c', 'cat'] };
    expect((await open(files, echo)).state.usable).toBe(true);
    const constant = `printf '${Buffer.alloc(32, 1).toString('base64')}'`;
    const vault = await open(files, { provider: 'command', argv: ['/bin/sh', '-c', constant] });
    expect(vault.state).toMatchObject({ usable: false, error: { fault: { code: 'WRONG_KEY', provider: 'command' } } });
  });
});
