import { describe, expect, it, onTestFinished } from 'vitest';
import { DataKeyVault, type VaultDependencies } from '../../src/crypto/data-key-vault.js';
import type { KeyProviderOptions } from '../../src/crypto/key-provider.js';
import { decodeRecovery, encodeRecovery, type RecoverableKey } from '../../src/crypto/recovery-file.js';
import { recoverKeys, type KeyNeeds } from '../../src/crypto/recovery.js';
import { ManualClock } from '../base/manual-clock.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MemoryCopies } from './memory-copies.js';
import { MemoryFiles } from './memory-files.js';

const NODE = '6f9619ff-8b86-4011-b42d-00cf4fc964ff';
const OWN: KeyProviderOptions = { provider: 'file' };
const PASSPHRASE = new TextEncoder().encode('correct horse battery');
/** scrypt's N for tests. */
const CHEAP = 2 ** 10;

const world = () => ({ clock: new ManualClock(), random: new SeededRandom(5) });
const secretOf = (number: number): Uint8Array => new Uint8Array(32).fill(number);
const keyOf = (number: number): RecoverableKey => ({ number, madeAtMs: 77, secret: secretOf(number) });
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('a recovery file', () => {
  const content = { nodeId: NODE, volumes: [{ id: 'v', name: 'web', keys: [1, 9] }], keys: [keyOf(1), keyOf(9)] };
  const made = (): Promise<Uint8Array> => encodeRecovery(content, PASSPHRASE, world(), CHEAP);

  it('gives back what went in, to whoever has the passphrase', async () => {
    expect(await decodeRecovery(await made(), PASSPHRASE, 'it')).toEqual(content);
    expect(new TextDecoder().decode(await made())).not.toContain(Buffer.from(secretOf(9)).toString('base64'));
    const empty = { nodeId: NODE, volumes: [], keys: [] };
    expect(await decodeRecovery(await encodeRecovery(empty, PASSPHRASE, world(), CHEAP), PASSPHRASE, 'it')).toEqual(
      empty,
    );
  });

  it('tells a wrong passphrase from damage', async () => {
    const bytes = await made();
    await expect(decodeRecovery(bytes, PASSPHRASE.slice(1), 'it')).rejects.toMatchObject({ code: 'WRONG_KEY' });
    for (let at = 0; at < bytes.length - 1; at += 1) {
      const damaged = bytes.slice();
      damaged[at] ^= 1 << (at % 8);
      await expect(decodeRecovery(damaged, PASSPHRASE, 'it'), String(at)).rejects.toMatchObject({ code: 'DAMAGED' });
    }
  });

  it('cannot be put together by whoever has no passphrase', async () => {
    const { encodeChecked, decodeChecked } = await import('../../src/crypto/checked-json.js');
    const { crc32c, ...fields } = decodeChecked(await made()) as Record<string, unknown> & {
      keys: { number: number }[];
    };
    expect(crc32c).toBeUndefined();
    // The keys change places: each is intact by itself.
    const keys = fields.keys.map((key) => ({ ...key, number: 10 - key.number }));
    await expect(decodeRecovery(encodeChecked({ ...fields, keys }), PASSPHRASE, 'it')).rejects.toMatchObject({
      code: 'WRONG_KEY',
    });
  });

  it('is refused when it asks for more memory than there is', async () => {
    const { encodeChecked, decodeChecked } = await import('../../src/crypto/checked-json.js');
    const fields = decodeChecked(await made()) as object;
    await expect(decodeRecovery(encodeChecked({ ...fields, N: 2 ** 40 }), PASSPHRASE, 'it')).rejects.toMatchObject({
      code: 'DAMAGED',
    });
  });
});

describe('recovering keys', () => {
  let seed = 100;

  async function node(numbers: readonly number[]) {
    const files = new MemoryFiles();
    const metaCopies = new MemoryCopies();
    const dependencies = (): VaultDependencies => ({
      files,
      random: new SeededRandom(++seed),
      clock: new ManualClock(),
      environment: {},
      modeOf: files.modeOf,
    });
    const open = async (provider: KeyProviderOptions = OWN): Promise<DataKeyVault> => {
      const vault = await DataKeyVault.open({ keysPath: '/keys', provider, metaCopies }, dependencies());
      onTestFinished(() => vault.close());
      return vault;
    };
    const keys: RecoverableKey[] = [];
    const vault = await open();
    for (const number of numbers) {
      const { secret, record } = await vault.create(number);
      metaCopies.held.set(number, record);
      keys.push({ number, madeAtMs: 77, secret });
    }
    await vault.close();
    const recover = (of: readonly RecoverableKey[], needs: Partial<KeyNeeds> = {}, provider = OWN) =>
      recoverKeys(
        { keysPath: '/keys', provider },
        { keys: of, needs: { numbers: new Set(numbers), unreadable: 0, ...needs }, metaCopies },
        dependencies(),
      );
    const load = async (number: number, provider = OWN): Promise<string> => {
      const opened = await open(provider);
      return hex((await opened.load(number, metaCopies.held.get(number) ?? null)).secret);
    };
    return { files, metaCopies, keys, recover, load, open };
  }

  it('opens everything again under a new master key when the old one is lost', async () => {
    const { files, keys, recover, load } = await node([1, 2]);
    files.content.delete('/keys/master.key');
    expect(await recover(keys)).toMatchObject({ recovered: [1, 2], kept: [], lost: [] });
    for (const { number, secret } of keys) expect(await load(number)).toBe(hex(secret));
  });

  it('needs nothing of keys/, and none of the copies in the MetaStore', async () => {
    const { files, metaCopies, keys, recover, load } = await node([1, 2]);
    files.content.clear();
    metaCopies.held.clear();
    expect(await recover(keys)).toMatchObject({ recovered: [1, 2] });
    for (const { number, secret } of keys) expect(await load(number)).toBe(hex(secret));
  });

  it('moves to another provider on the way', async () => {
    const { files, keys, recover, load } = await node([1]);
    files.content.delete('/keys/master.key');
    const elsewhere: KeyProviderOptions = { provider: 'file', path: '/usb/key' };
    await recover(keys, {}, elsewhere);
    expect(await load(1, elsewhere)).toBe(hex(keys[0].secret));
  });

  it('names the keys that are in neither, and leaves their copies as they are', async () => {
    const { files, metaCopies, keys, recover, load, open } = await node([1, 2]);
    files.content.delete('/keys/master.key');
    const before = hex(metaCopies.held.get(2) ?? new Uint8Array(0));
    expect(await recover(keys.slice(0, 1))).toMatchObject({ recovered: [1], lost: [2] });
    expect(await load(1)).toBe(hex(keys[0].secret));
    await expect(load(2)).rejects.toMatchObject({ fault: { code: 'WRONG_KEY', keyNumber: 2 } });
    expect(hex(metaCopies.held.get(2) ?? new Uint8Array(0))).toBe(before);
    await expect((await open()).rotateMaster(OWN)).rejects.toThrow(/data key 2 cannot be opened/);
    // A newer file has it.
    expect(await recover(keys)).toMatchObject({ recovered: [2], kept: [1], lost: [] });
    expect(await load(2)).toBe(hex(keys[1].secret));
  });

  it('keeps what the master key still opens, and gives back what only the file has', async () => {
    const { files, metaCopies, keys, recover, load } = await node([1, 2]);
    files.content.delete('/keys/data/1.json');
    metaCopies.held.delete(1);
    expect(await recover(keys.slice(0, 1))).toMatchObject({ recovered: [1], kept: [2] });
    for (const { number, secret } of keys) expect(await load(number)).toBe(hex(secret));
  });

  it('does not bring back keys of volumes that were deleted', async () => {
    const { files, keys, recover, open } = await node([1, 2]);
    files.content.delete('/keys/master.key');
    expect(await recover(keys, { numbers: new Set([2]) })).toMatchObject({ recovered: [2] });
    const vault = await open();
    await expect(vault.load(1, null)).rejects.toMatchObject({ code: 'WRONG_KEY' });
  });

  it('takes all of them where a record cannot be read', async () => {
    const { files, keys, recover } = await node([1, 2]);
    files.content.delete('/keys/master.key');
    expect(await recover(keys, { numbers: new Set([2]), unreadable: 1 })).toMatchObject({ recovered: [1, 2] });
  });

  it('changes nothing where nothing is lost, or the file is of no use', async () => {
    const { files, keys, recover, load } = await node([1]);
    await expect(recover(keys)).rejects.toThrow(/nothing to recover/);
    await expect(recover(keys, { numbers: new Set() })).rejects.toThrow(/no volume of this node needs/);
    const master = files.content.get('/keys/master.key');
    files.content.delete('/keys/master.key');
    await expect(recover([])).rejects.toThrow(/none of the data keys that are lost/);
    await expect(recover([{ ...keyOf(1), secret: secretOf(200) }])).rejects.toMatchObject({ code: 'DAMAGED' });
    if (master !== undefined) files.content.set('/keys/master.key', master);
    expect(await load(1)).toBe(hex(keys[0].secret));
  });
});
