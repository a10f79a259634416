import { readdirSync, readFileSync, statSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { SystemClock, SystemRandom } from '../../src/base/system-clock.js';
import { DataKeyCopies } from '../../src/control/data-key-copies.js';
import { DataKeyVault } from '../../src/crypto/data-key-vault.js';
import { fileModeOf } from '../../src/crypto/secret-file.js';
import { NativeFiles } from '../../src/io/native-files.js';
import { LmdbMetaStore } from '../../src/meta/lmdb-meta-store.js';
import { temporaryFolder } from '../base/temporary-folder.js';
import { runChild } from '../io/child.js';

const NUMBERS = [1, 2];

async function opened<T>(folder: string, use: (vault: DataKeyVault, copies: DataKeyCopies) => Promise<T>): Promise<T> {
  const clock = new SystemClock();
  const meta = await LmdbMetaStore.open({ path: join(folder, 'meta') }, { clock });
  const copies = new DataKeyCopies(meta);
  const vault = await DataKeyVault.open(
    { keysPath: join(folder, 'keys'), provider: { provider: 'file' }, metaCopies: copies },
    { files: new NativeFiles(), random: new SystemRandom(), clock, environment: {}, modeOf: fileModeOf },
  );
  try {
    return await use(vault, copies);
  } finally {
    await vault.close();
    await meta.close();
  }
}

/** The master key, and what the data keys are wrapped to. */
function secretsAtRest(folder: string): string[] {
  const texts = ['master.key', ...NUMBERS.map((number) => `data/${String(number)}.json`)].map((name) =>
    readFileSync(join(folder, 'keys', name), 'utf8'),
  );
  return texts.map((text) => /"(?:key|wrapped)":"([^"]+)"/.exec(text)?.[1] ?? text);
}

function filesWith(folder: string, texts: readonly string[]): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((name) => statSync(name).isFile() && texts.some((text) => readFileSync(name).includes(text)));
}

it(
  'a change of the master key that is killed before any of its steps leaves the old one or the new one',
  { timeout: 400_000 },
  async () => {
    const original = join(await temporaryFolder(), 'node');
    const secrets = await opened(original, async (vault, copies) => {
      const made: string[] = [];
      for (const number of NUMBERS) {
        const { secret, record } = await vault.create(number);
        await copies.store([{ number, record }]);
        made.push(Buffer.from(secret).toString('hex'));
      }
      return made;
    });
    const before = secretsAtRest(original);
    const counts = { old: 0, new: 0 };
    for (let step = 0; ; step += 1) {
      const folder = join(await temporaryFolder(), 'node');
      await cp(original, folder, { recursive: true });
      const outcome = await runChild(new URL('./rotation-child.ts', import.meta.url), [folder, String(step)]);
      expect(outcome.stderr).toBe('');
      await opened(folder, async (vault, copies) => {
        expect(vault.state, `killed before step ${String(step)}`).toEqual({ usable: true });
        const records = new Map((await copies.list()).map(({ number, record }) => [number, record]));
        for (const [index, number] of NUMBERS.entries()) {
          const loaded = await vault.load(number, records.get(number) ?? null);
          expect(Buffer.from(loaded.secret).toString('hex')).toBe(secrets[index]);
          expect(loaded.healed).toBeNull();
        }
      });
      expect(readdirSync(join(folder, 'keys'))).not.toContain('rotation.json');
      const after = secretsAtRest(folder);
      const changed = after.filter((text, index) => text !== before[index]).length;
      // The node as a whole: never one key under this master key and one under that.
      expect([0, after.length]).toContain(changed);
      if (changed > 0) expect(filesWith(folder, before)).toEqual([]);
      counts[changed > 0 ? 'new' : 'old'] += 1;
      if (outcome.signal === null) {
        expect(Number(outcome.stdout)).toBe(step);
        break;
      }
      expect(outcome.signal).toBe('SIGKILL');
    }
    expect(counts.old).toBeGreaterThan(5);
    expect(counts.new).toBeGreaterThan(20);
  },
);
