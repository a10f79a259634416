/** Damage in the small files of a storage path: each bit of node.json and of what lies in keys/. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { SystemClock, SystemRandom } from '../../src/base/system-clock.js';
import { CryptoError } from '../../src/crypto/crypto-error.js';
import { DataKeyVault } from '../../src/crypto/data-key-vault.js';
import { DaemonError } from '../../src/daemon/daemon-error.js';
import { StorageFolder } from '../../src/daemon/storage-folder.js';
import { NativeFiles } from '../../src/io/native-files.js';
import { temporaryFolder } from '../base/temporary-folder.js';
import { ManualClock } from '../base/manual-clock.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MemoryCopies } from '../crypto/memory-copies.js';
import { MemoryFiles } from '../crypto/memory-files.js';
import { SEED } from './sweep.js';

vi.setConfig({ testTimeout: 120_000 });

const io = { files: new NativeFiles(), clock: new SystemClock(), random: new SystemRandom() };

async function identityIn(path: string): Promise<string> {
  const folder = await StorageFolder.open(path, io);
  await folder.close();
  return folder.nodeId;
}

it('no damage of node.json gives a node another identity', async () => {
  const path = await temporaryFolder();
  const nodeId = await identityIn(path);
  const file = join(path, 'node.json');
  const bytes = await readFile(file);
  let refused = 0;
  const judge = async (damaged: Buffer, what: string): Promise<void> => {
    await writeFile(file, damaged);
    try {
      expect(await identityIn(path), what).toBe(nodeId);
    } catch (thrown) {
      if (!(thrown instanceof DaemonError)) throw thrown;
      expect(thrown.message, what).toMatch(/node\.json is damaged; restore it from a copy/);
      expect(thrown.message).toContain(path);
      refused += 1;
    }
  };
  for (let at = 0; at < bytes.length; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const damaged = Buffer.from(bytes);
      damaged[at] ^= 1 << bit;
      await judge(damaged, `bit ${String(bit)} of byte ${String(at)}`);
    }
    await judge(bytes.subarray(0, at), `cut off at ${String(at)}`);
  }
  await judge(Buffer.alloc(bytes.length), 'zeros');
  // Only the last newline does not matter.
  expect(refused).toBeGreaterThanOrEqual(9 * (bytes.length - 1));
  await writeFile(file, bytes);
  expect(await identityIn(path)).toBe(nodeId);
});

it('a node.json of the version that wrote no checksum is still read, and nothing that only resembles it', async () => {
  const path = await temporaryFolder();
  const nodeId = await identityIn(path);
  const file = join(path, 'node.json');
  await writeFile(file, `{"format":1,"nodeId":"${nodeId}","createdAtMs":1760000000000}\n`);
  expect(await identityIn(path)).toBe(nodeId);
  await writeFile(file, `{"format":1,"nodeId":"${nodeId}","createdAtMs":1760000000000,"crc32c":"00000000"}\n`);
  await expect(identityIn(path)).rejects.toThrow(/node\.json is damaged/);
  await rm(file);
});

it.each(['with', 'without'] as const)(
  'no damage of a file in keys/ gives another key, %s the copy in the metadata',
  async (copy) => {
    const original = new MemoryFiles();
    const open = async (files: MemoryFiles, record: Uint8Array | null): Promise<DataKeyVault> =>
      DataKeyVault.open(
        {
          keysPath: '/keys',
          provider: { provider: 'file' },
          metaCopies: new MemoryCopies(record === null ? [] : [{ number: 1, record }]),
        },
        { files, random: new SeededRandom(SEED), clock: new ManualClock(), environment: {}, modeOf: files.modeOf },
      );
    const first = await open(original, null);
    const made = await first.create(1);
    await first.close();
    const record = copy === 'with' ? made.record : null;
    const counts = { right: 0, healed: 0, refused: 0 };
    for (const [path, { bytes, mode }] of original.content) {
      for (let at = 0; at < bytes.length; at += 1) {
        const files = new MemoryFiles();
        for (const [name, file] of original.content) files.content.set(name, { ...file, bytes: file.bytes.slice() });
        const damaged = bytes.slice();
        damaged[at] ^= 1 << (at % 8);
        files.content.set(path, { bytes: damaged, mode });
        const vault = await open(files, record);
        try {
          if (!vault.state.usable) throw vault.state.error;
          const loaded = await vault.load(1, record);
          expect(Buffer.from(loaded.secret).equals(Buffer.from(made.secret)), `byte ${String(at)} of ${path}`).toBe(
            true,
          );
          counts[loaded.healed === null ? 'right' : 'healed'] += 1;
        } catch (thrown) {
          if (!(thrown instanceof CryptoError)) throw thrown;
          expect(['DAMAGED', 'WRONG_KEY', 'MISSING']).toContain(thrown.code);
          counts.refused += 1;
        } finally {
          await vault.close();
        }
      }
    }
    // The master key has no second copy; the wrapped key has, if the metadata is there.
    expect(counts.refused).toBeGreaterThan(0);
    if (copy === 'with') expect(counts.healed).toBeGreaterThan(100);
  },
);
