import { chmod, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { SystemClock, SystemRandom } from '../../src/base/system-clock.js';
import { DataKeyVault } from '../../src/crypto/data-key-vault.js';
import type { KeyProviderOptions } from '../../src/crypto/key-provider.js';
import { fileModeOf } from '../../src/crypto/secret-file.js';
import { NativeFiles } from '../../src/io/native-files.js';
import { temporaryFolder } from '../base/temporary-folder.js';

async function open(keysPath: string, provider: KeyProviderOptions): Promise<DataKeyVault> {
  const vault = await DataKeyVault.open(
    { keysPath, provider },
    {
      files: new NativeFiles(),
      random: new SystemRandom(),
      clock: new SystemClock(),
      environment: {},
      modeOf: fileModeOf,
    },
  );
  onTestFinished(() => vault.close());
  return vault;
}

describe('DataKeyVault on a real disk', () => {
  it('removes the copy that a crash kept from its name', async () => {
    const keysPath = join(await temporaryFolder(), 'keys');
    await (await open(keysPath, { provider: 'file' })).create(1);
    await writeFile(join(keysPath, 'data', '2.json.new'), 'half a wrapped key', { mode: 0o600 });
    const vault = await open(keysPath, { provider: 'file' });
    expect(await vault.numbers()).toEqual([1]);
    expect(await readdir(join(keysPath, 'data'))).toEqual(['1.json']);
  });

  it('keeps a key over a restart, heals its file, and erases it', async () => {
    const keysPath = join(await temporaryFolder(), 'keys');
    const made = await (await open(keysPath, { provider: 'file' })).create(1);
    for (const name of ['master.key', 'check.json', join('data', '1.json')]) {
      expect((await stat(join(keysPath, name))).mode & 0o777).toBe(0o600);
    }
    await rm(join(keysPath, 'data', '1.json'));
    const vault = await open(keysPath, { provider: 'file' });
    expect(await vault.load(1, made.record)).toMatchObject({ secret: made.secret, healed: { copy: 'file' } });
    expect(await vault.load(1, null)).toMatchObject({ secret: made.secret, healed: { copy: 'meta' } });
    await vault.erase(1);
    expect(await readdir(join(keysPath, 'data'))).toEqual([]);
  });

  it('refuses a master key that others can read', async () => {
    const keysPath = join(await temporaryFolder(), 'keys');
    await open(keysPath, { provider: 'file' });
    await chmod(join(keysPath, 'master.key'), 0o644);
    const { state } = await open(keysPath, { provider: 'file' });
    expect(state).toMatchObject({ usable: false, error: { fault: { code: 'EXPOSED' } } });
  });

  it('takes a passphrase at its full cost', async () => {
    const folder = await temporaryFolder();
    const path = join(folder, 'passphrase');
    await writeFile(path, 'correct horse battery\n', { mode: 0o600 });
    const options: KeyProviderOptions = { provider: 'passphrase', source: { kind: 'file', path } };
    const made = await (await open(join(folder, 'keys'), options)).create(1);
    expect((await (await open(join(folder, 'keys'), options)).load(1, made.record)).secret).toEqual(made.secret);
    await writeFile(path, 'incorrect horse battery\n');
    const { state } = await open(join(folder, 'keys'), options);
    expect(state).toMatchObject({ usable: false, error: { fault: { code: 'WRONG_KEY', provider: 'passphrase' } } });
  });
});
