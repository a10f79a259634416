import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { describe, expect, it } from 'vitest';
import { structureProblem } from '../../src/base/lmdb-structure.js';
import { SeededRandom } from './seeded-random.js';
import { temporaryFolder } from './temporary-folder.js';

const SEEDS = [1, 2, 3];

function database(path: string): RootDatabase<Buffer, Buffer> {
  const settings = { path, encoding: 'binary' as const, keyEncoding: 'binary' as const, overlappingSync: false };
  return open<Buffer, Buffer>({ ...settings, noSubdir: false, cache: false, eventTurnBatching: false });
}

function problemOf(bytes: Buffer, enough = () => false): string {
  return structureProblem({
    read: (offset, length) => bytes.subarray(offset, offset + length),
    fileBytes: bytes.length,
    enough,
  });
}

const fileOf = (path: string): Buffer => readFileSync(join(path, 'data.mdb'));

/** Rows of all sizes, on leaves and on overflow pages, put and removed. */
async function work(root: RootDatabase<Buffer, Buffer>, random: SeededRandom, rows: number): Promise<void> {
  await root.batch(() => {
    for (let n = 0; n < rows; n += 1) {
      const key = Buffer.from(`row ${String(random.below(600))}`);
      if (random.below(3) === 0) void root.remove(key);
      else
        void root.put(key, Buffer.from(random.bytes(random.below(8) === 0 ? random.below(30_000) : random.below(900))));
    }
  });
}

describe('structureProblem', () => {
  it.each(SEEDS)(
    'finds nothing in what LMDB writes, commit after commit, and in a compacted copy (seed %i)',
    async (seed) => {
      const folder = await temporaryFolder();
      const random = new SeededRandom(seed);
      const root = database(folder);
      try {
        expect(problemOf(fileOf(folder))).toBe('');
        for (let commit = 0; commit < 60; commit += 1) {
          await work(root, random, 1 + random.below(60));
          expect(problemOf(fileOf(folder)), `commit ${String(commit)}`).toBe('');
        }
        const copy = join(folder, 'copy');
        await mkdir(copy);
        await root.backup(copy, true);
        expect(problemOf(fileOf(copy))).toBe('');
        const second = database(copy);
        await work(second, random, 20);
        expect(problemOf(fileOf(copy))).toBe('');
        await second.close();
      } finally {
        await root.close();
      }
    },
  );

  it('sees pages that are missing, swapped, zeroed or of another moment', async () => {
    const folder = await temporaryFolder();
    const random = new SeededRandom(7);
    const root = database(folder);
    for (let n = 0; n < 3; n += 1) await work(root, random, 150);
    const older = fileOf(folder);
    for (let n = 0; n < 5; n += 1) await work(root, random, 40);
    await root.close();
    const bytes = fileOf(folder);
    expect(problemOf(bytes)).toBe('');
    const free = freePages(bytes);
    let judged = 0;
    for (let page = 0; page * 4096 < bytes.length; page += 1) {
      if (free.has(page)) continue;
      const from = page * 4096;
      const zeroed = Buffer.from(bytes);
      zeroed.fill(0, from, from + 4096);
      expect(problemOf(zeroed), `page ${String(page)} zeroed`).not.toBe('');
      const moved = Buffer.from(bytes);
      bytes.copy(moved, from, (page === 2 ? 3 : 2) * 4096, (page === 2 ? 4 : 3) * 4096);
      expect(problemOf(moved), `another page in place of ${String(page)}`).not.toBe('');
      judged += 1;
    }
    expect(judged).toBeGreaterThan(20);
    for (const page of [0, 1]) {
      const stale = Buffer.from(bytes);
      older.copy(stale, page * 4096, page * 4096, (page + 1) * 4096);
      expect(problemOf(stale), `meta page ${String(page)} of before`).not.toBe('');
    }
    expect(problemOf(bytes.subarray(0, bytes.length - 8192))).not.toBe('');
  });

  it('sees each flipped bit of what leads to the rows', async () => {
    const folder = await temporaryFolder();
    const root = database(folder);
    const random = new SeededRandom(8);
    for (let n = 0; n < 4; n += 1) await work(root, random, 80);
    await root.close();
    const bytes = fileOf(folder);
    expect(problemOf(bytes)).toBe('');
    const transactions = [0, 1].map((page) => Number(bytes.readBigUInt64LE(page * 4096 + 152)));
    const newest = transactions[0] > transactions[1] ? 0 : 4096;
    // Root, entries, depth and page counts of both trees, the last page, the transaction.
    for (let at = newest + 48; at < newest + 160; at += 1) {
      // The pad of the second tree is not used.
      if (at >= newest + 96 && at < newest + 100) continue;
      // LMDB takes a larger last page for a hole behind the rows, which it may leave.
      if (at >= newest + 144 && at < newest + 152) continue;
      for (let bit = 0; bit < 8; bit += 1) {
        const copy = Buffer.from(bytes);
        copy[at] ^= 1 << bit;
        expect(problemOf(copy), `bit ${String(bit)} of byte ${String(at)}`).not.toBe('');
      }
    }
  });

  it('judges only what it reached when it was enough', async () => {
    const folder = await temporaryFolder();
    const root = database(folder);
    await work(root, new SeededRandom(9), 400);
    await root.close();
    const bytes = fileOf(folder);
    let asked = 0;
    expect(problemOf(bytes, () => (asked += 1) > 3)).toBe('');
    expect(asked).toBe(4);
  });
});

/** Pages whose header says nothing of use: never written, or in a list of free pages. Those may hold anything. */
function freePages(bytes: Buffer): Set<number> {
  const free = new Set<number>();
  for (let page = 2; page * 4096 < bytes.length; page += 1) {
    const copy = Buffer.from(bytes);
    copy.fill(0xff, page * 4096, (page + 1) * 4096);
    if (problemOf(copy) === '') free.add(page);
  }
  return free;
}
