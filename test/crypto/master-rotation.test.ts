import { describe, expect, it, onTestFinished } from 'vitest';
import { CryptoError } from '../../src/crypto/crypto-error.js';
import { DataKeyVault } from '../../src/crypto/data-key-vault.js';
import type { KeyProviderOptions } from '../../src/crypto/key-provider.js';
import { decodeWrappedKey } from '../../src/crypto/wrapped-key-record.js';
import { ManualClock } from '../base/manual-clock.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MemoryCopies } from './memory-copies.js';
import { MemoryFiles } from './memory-files.js';

const OWN: KeyProviderOptions = { provider: 'file' };
const ELSEWHERE: KeyProviderOptions = { provider: 'file', path: '/usb/galleon.key' };
const PASSPHRASE: KeyProviderOptions = { provider: 'passphrase', source: { kind: 'environment', variable: 'PASS' } };
const NUMBERS = [1, 2, 5];

class Disk {
  readonly files = new MemoryFiles();
  copies = new MemoryCopies();
  readonly secrets = new Map<number, string>();
  readonly clock = new ManualClock();
  seed = 1;

  async open(provider: KeyProviderOptions): Promise<DataKeyVault> {
    this.seed += 1;
    const vault = await DataKeyVault.open(
      { keysPath: '/keys', provider, metaCopies: this.copies },
      {
        files: this.files,
        random: new SeededRandom(this.seed * 7919),
        clock: this.clock,
        environment: { PASS: 'correct horse battery' },
        modeOf: this.files.modeOf,
      },
    );
    onTestFinished(() => vault.close());
    return vault;
  }

  /** With three data keys under the provider's master key. */
  static async filled(provider: KeyProviderOptions): Promise<Disk> {
    const disk = new Disk();
    const vault = await disk.open(provider);
    for (const number of NUMBERS) {
      const { secret, record } = await vault.create(number);
      disk.secrets.set(number, hex(secret));
      disk.copies.held.set(number, record);
    }
    await vault.close();
    return disk;
  }

  /** Every data key is there, from both copies, which are alike. */
  async expectWhole(vault: DataKeyVault): Promise<void> {
    expect(vault.state).toEqual({ usable: true });
    for (const number of NUMBERS) {
      const meta = this.copies.held.get(number) ?? null;
      const loaded = await vault.load(number, meta);
      expect(hex(loaded.secret)).toBe(this.secrets.get(number));
      expect(loaded.healed).toBeNull();
      expect(hex(meta ?? new Uint8Array(0))).toBe(hex(this.bytes(`/keys/data/${String(number)}.json`)));
      await expect(vault.create(number)).rejects.toMatchObject({ code: 'NUMBER_TAKEN' });
    }
  }

  bytes(path: string): Uint8Array {
    return this.files.content.get(path)?.bytes ?? new Uint8Array(0);
  }

  /** Whether any file, or any page of the MetaStore that is in use or freed, has one of these texts in it. */
  holds(texts: readonly string[]): boolean {
    const all = [
      ...[...this.files.content.values()].map(({ bytes }) => bytes),
      ...this.copies.held.values(),
      ...this.copies.freed,
    ];
    return all.some((bytes) => texts.some((text) => Buffer.from(bytes).includes(text)));
  }

  /** The wrapped keys as they are now, and the master key where it is a file of ours. */
  secretsAtRest(): string[] {
    const wrapped = NUMBERS.map(
      (number) => decodeWrappedKey(this.bytes(`/keys/data/${String(number)}.json`), number)?.wrapped ?? '',
    );
    const master = /"key":"([^"]+)"/.exec(Buffer.from(this.bytes('/keys/master.key')).toString())?.[1];
    return [...wrapped, ...(master === undefined ? [] : [master])];
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

const CHANGES = /^(open write|replaceFile|write|sync|rename|remove|syncDirectory|makeDirectory) /;

describe('a new master key', () => {
  it.each([
    ['file to file', OWN, OWN],
    ['file to a file elsewhere', OWN, ELSEWHERE],
    ['file to passphrase', OWN, PASSPHRASE],
    ['passphrase to passphrase', PASSPHRASE, PASSPHRASE],
    ['a file elsewhere to file', ELSEWHERE, OWN],
  ])('%s: opens every key, and nothing of the old one is left', async (_, from, to) => {
    const disk = await Disk.filled(from);
    const before = disk.secretsAtRest();
    const vault = await disk.open(from);
    const facts = await vault.masterKey();
    disk.clock.advance(5_000);
    expect(await vault.rotateMaster(to)).toEqual({ keys: 3, unfinished: null });
    await disk.expectWhole(vault);
    expect(disk.holds(before)).toBe(false);
    expect((await vault.masterKey())?.id).not.toBe(facts?.id);
    expect(disk.files.content.has('/keys/rotation.json')).toBe(false);
    expect(await disk.files.list('/keys/next')).toEqual([]);
    const expected = {
      file: to === OWN ? ['master.key'] : [],
      passphrase: ['passphrase.copy.json', 'passphrase.json'],
      command: [],
    };
    const names = ['check.json', ...expected[to.provider], 'settings.json'].sort();
    expect(await disk.files.list('/keys')).toEqual(names);
    // When a key was made does not change with what it is wrapped under.
    expect(decodeWrappedKey(disk.bytes('/keys/data/1.json'), 1)?.madeAtMs).toBe(disk.clock.wallMs() - 5_000);
    await disk.expectWhole(await disk.open(to));
    // And once more, from what it has become.
    const made = await vault.create(9);
    expect(made.number).toBe(9);
  });

  it('says at a start with the old settings how to start', async () => {
    const disk = await Disk.filled(OWN);
    await (await disk.open(OWN)).rotateMaster(PASSPHRASE);
    const { state } = await disk.open(OWN);
    expect(state).toMatchObject({
      usable: false,
      error: {
        code: 'WRONG_KEY',
        message: expect.stringMatching(
          /the master key was changed on .*: start the daemon with --key-provider passphrase --passphrase-environment PASS/,
        ) as string,
      },
    });
    await disk.expectWhole(await disk.open(PASSPHRASE));
    // Moved back, the advice follows.
    await (await disk.open(PASSPHRASE)).rotateMaster(ELSEWHERE);
    const old = await disk.open(OWN);
    expect(old.state).toMatchObject({
      error: { message: expect.stringMatching(/--key-file \/usb\/galleon\.key/) as string },
    });
    // No new master key in the place of the one that moved.
    expect(disk.files.content.has('/keys/master.key')).toBe(false);
  });

  it('refuses the master key that is in use', async () => {
    const disk = await Disk.filled(ELSEWHERE);
    const vault = await disk.open(ELSEWHERE);
    await expect(vault.rotateMaster(ELSEWHERE)).rejects.toMatchObject({ code: 'OPTIONS' });
    await disk.expectWhole(vault);
    const own = await Disk.filled(OWN);
    const inUse = await own.open(OWN);
    expect(await inUse.rotateMaster({ provider: 'file', path: '/keys/master.key' })).toMatchObject({
      unfinished: null,
    });
    expect(inUse.provider).toEqual(OWN);
  });

  it('is refused while a data key cannot be opened, which would be left behind', async () => {
    const disk = await Disk.filled(OWN);
    disk.files.put('/keys/data/2.json', 'damaged');
    disk.copies.held.set(2, new Uint8Array(0));
    const vault = await disk.open(OWN);
    await expect(vault.rotateMaster(OWN)).rejects.toMatchObject({
      code: 'DAMAGED',
      message: expect.stringMatching(/^data key 2 cannot be opened/) as string,
    });
    expect(vault.state).toEqual({ usable: true });
    expect(await disk.files.list('/keys/next')).toEqual([]);
  });

  it('is refused by a provider that cannot be opened, and changes nothing', async () => {
    const disk = await Disk.filled(OWN);
    const vault = await disk.open(OWN);
    const next: KeyProviderOptions = { provider: 'passphrase', source: { kind: 'environment', variable: 'NONE' } };
    await expect(vault.rotateMaster(next)).rejects.toMatchObject({ code: 'MISSING' });
    await disk.expectWhole(vault);
  });

  it('heals a copy that is missing', async () => {
    const disk = await Disk.filled(OWN);
    disk.copies.held.delete(1);
    disk.files.content.delete('/keys/data/5.json');
    const vault = await disk.open(OWN);
    expect((await vault.rotateMaster(OWN)).keys).toBe(3);
    await disk.expectWhole(vault);
  });

  it.each([
    ['file to file', OWN, OWN],
    ['file to a file elsewhere', OWN, ELSEWHERE],
    ['a file elsewhere to file', ELSEWHERE, OWN],
  ])('%s: a crash before any step leaves the old one or the new one, whole', async (_, from, to) => {
    const counts = { old: 0, new: 0 };
    for (let step = 0; ; step += 1) {
      const disk = await Disk.filled(from);
      const before = disk.secretsAtRest();
      const vault = await disk.open(from);
      let changes = 0;
      const dies = (): boolean => changes++ >= step;
      disk.files.failOn = (call, path) => CHANGES.test(`${call} ${path} `) && dies();
      disk.copies.onChange = () => {
        if (dies()) throw new CryptoError('dead', { code: 'IO', path: 'meta' });
      };
      const outcome = await vault.rotateMaster(to).catch((thrown: unknown) => thrown);
      disk.files.failOn = () => false;
      disk.copies.onChange = () => undefined;
      const survivors: KeyProviderOptions[] = [];
      for (const provider of from === to ? [from] : [from, to]) {
        const again = await disk.open(provider);
        if (!again.state.usable) continue;
        survivors.push(provider);
        await disk.expectWhole(again);
        await again.close();
      }
      expect(survivors, `before step ${String(step)}`).toHaveLength(1);
      expect(await disk.files.list('/keys/next')).toEqual([]);
      expect(disk.files.content.has('/keys/rotation.json')).toBe(false);
      const changed = disk.secretsAtRest()[0] !== before[0];
      if (changed) expect(disk.holds(before)).toBe(false);
      counts[changed ? 'new' : 'old'] += 1;
      if (changes <= step) {
        expect(outcome).toEqual({ keys: 3, unfinished: null });
        break;
      }
    }
    expect(counts.old).toBeGreaterThan(5);
    expect(counts.new).toBeGreaterThan(15);
  });

  it('that could not be ended is ended when it is asked again', async () => {
    const disk = await Disk.filled(OWN);
    const before = disk.secretsAtRest();
    const vault = await disk.open(OWN);
    disk.copies.onChange = (what) => {
      if (what === 'scrub') throw new CryptoError('the disk is full', { code: 'IO', path: 'meta' });
    };
    const outcome = await vault.rotateMaster(OWN);
    expect(outcome.unfinished?.message).toMatch(/in force.*the disk is full/);
    expect(vault.state).toMatchObject({ usable: false });
    await expect(vault.create(9)).rejects.toMatchObject({ code: 'IO' });
    await expect(vault.finishRotation()).rejects.toThrow('the disk is full');
    disk.copies.onChange = () => undefined;
    await vault.finishRotation();
    await disk.expectWhole(vault);
    expect(disk.holds(before)).toBe(false);
  });

  it('does not bring back a key that was erased before it ended', async () => {
    const disk = await Disk.filled(OWN);
    const vault = await disk.open(OWN);
    disk.copies.onChange = () => {
      throw new CryptoError('the disk is full', { code: 'IO', path: 'meta' });
    };
    await vault.rotateMaster(OWN);
    disk.copies.onChange = () => undefined;
    disk.copies.held.delete(2);
    await vault.erase(2);
    await vault.finishRotation();
    expect(await vault.numbers()).toEqual([1, 5]);
    expect(disk.copies.held.has(2)).toBe(false);
  });

  it('whose instant cannot be told stops all wrapping until a restart', async () => {
    const disk = await Disk.filled(OWN);
    const vault = await disk.open(OWN);
    disk.files.failOn = (call, path) => path === '/keys/rotation.json' && call !== 'readFile';
    // Written all the same, as a sync of the folder that fails leaves it.
    disk.files.put('/keys/rotation.json', new Uint8Array(0));
    await expect(vault.rotateMaster(OWN)).rejects.toMatchObject({ code: 'UNDECIDED' });
    expect(vault.state).toMatchObject({ usable: false, error: { code: 'UNDECIDED' } });
    await expect(vault.create(9)).rejects.toMatchObject({ code: 'UNDECIDED' });
    disk.files.failOn = () => false;
    await disk.expectWhole(await disk.open(OWN));
  });
});
