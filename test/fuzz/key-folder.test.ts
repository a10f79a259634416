import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CryptoError } from '../../src/crypto/crypto-error.js';
import { DataKeyVault } from '../../src/crypto/data-key-vault.js';
import { ManualClock } from '../base/manual-clock.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MemoryFiles } from '../crypto/memory-files.js';
import { checkAsync, replayedWith } from './fuzzing.js';
import { mutated } from './mutations.js';

const DATA = '/keys/data/1.json';
const FILES = [DATA, '/keys/check.json', '/keys/master.key'] as const;

function open(files: MemoryFiles, seed: number): Promise<DataKeyVault> {
  return DataKeyVault.open(
    { keysPath: '/keys', provider: { provider: 'file' } },
    { files, random: new SeededRandom(seed), clock: new ManualClock(), environment: {}, modeOf: files.modeOf },
  );
}

describe(`the folder of keys (${replayedWith})`, () => {
  it('with a changed file gives the key that was made, or a CryptoError', async () => {
    const made = new MemoryFiles();
    const vault = await open(made, 1);
    const { secret, record } = await vault.create(1);
    await vault.close();
    const kept = new Map([...made.content].map(([path, { bytes }]) => [path, Uint8Array.from(bytes)]));
    const damage = fc
      .constantFrom(...FILES)
      .chain((path) => mutated(fc.constant(path), () => kept.get(path) ?? new Uint8Array(0), [...kept.values()]));
    let given = 0;
    let refused = 0;
    await checkAsync(
      fc.asyncProperty(
        damage,
        fc.constantFrom<Uint8Array | null>(record, null),
        async ({ value: path, bytes }, meta) => {
          const files = new MemoryFiles();
          for (const [each, content] of kept) files.put(each, each === path ? bytes : content);
          const opened = await open(files, 2);
          try {
            const loaded = await opened.load(1, meta);
            expect(Buffer.from(loaded.secret).equals(Buffer.from(secret))).toBe(true);
            given += 1;
          } catch (thrown) {
            if (!(thrown instanceof CryptoError)) throw thrown;
            // With the other copy and the master key intact nothing is lost.
            expect(meta !== null && path === DATA).toBe(false);
            refused += 1;
          } finally {
            await opened.close();
          }
        },
      ),
      300,
    );
    expect(Math.min(given, refused)).toBeGreaterThan(10);
  });
});
