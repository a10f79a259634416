/**
 * Damage in the MetaStore's database, opened with the real probe by a process of its own. A run of the tests takes a
 * sample; DAMAGE_FULL=1 sweeps every byte by which LMDB finds its way. DAMAGE_SEED=n replays a seed.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, expect, it, vi } from 'vitest';
import { SystemClock } from '../../src/base/system-clock.js';
import { LmdbMetaStore } from '../../src/meta/lmdb-meta-store.js';
import { SeededRandom } from '../base/seeded-random.js';
import { describeDamage, flip, sampleOf, stalePages, swapPages, zeroSector, type Damage } from './damage.js';
import { structureOf } from './lmdb-places.js';
import type { ReferenceRecord } from './meta-visit.js';
import { OpenerProcess, type OpenerAnswer } from './opener-process.js';
import { fastFolder } from './reference-store.js';
import { FULL, SEED, Tally } from './sweep.js';

vi.setConfig({ testTimeout: FULL ? 3_600_000 : 120_000 });

const STRUCTURE_CASES = 8;
const OTHER_CASES = 8;
const PAGE_BYTES = 4096;
const SECTOR_BYTES = 512;
const FLIP_STEP_BYTES = 64;
const DATABASE = 'data.mdb';
const KEYS = 24;
const COMMITS = 40;

const opener = new OpenerProcess();
const tally = new Tally('metadata');
afterAll(async () => {
  await opener.close();
  tally.print();
});

interface ReferenceMeta {
  readonly bytes: Buffer;
  readonly older: readonly Buffer[];
  readonly records: readonly ReferenceRecord[];
}

/** Records set, set again and deleted, among them some that do not fit on a page. */
async function makeReferenceMeta(random: SeededRandom): Promise<ReferenceMeta> {
  const folder = await mkdtemp(join(fastFolder(), 'galleon-meta-'));
  try {
    const path = join(folder, 'meta');
    const older: Buffer[] = [];
    const store = await LmdbMetaStore.open({ path }, { clock: new SystemClock() });
    try {
      for (let commit = 0; commit < COMMITS; commit += 1) {
        const key = `/volumes/${String(random.below(KEYS))}`;
        const large = random.below(10) === 0;
        const value = random.bytes(large ? 5000 + random.below(5000) : 50 + random.below(400));
        await store.transaction(random.below(6) === 0 ? { delete: [key] } : { set: [{ key, value }] });
        if (commit % 8 === 7) older.push(await readFile(join(path, DATABASE)));
      }
      const { entries } = await store.list('/');
      const records = entries.map(({ key, value, revision, createRevision }) => ({
        ...{ key, revision, createRevision },
        value: Buffer.from(value).toString('base64'),
      }));
      await store.close();
      return { bytes: await readFile(join(path, DATABASE)), older, records };
    } finally {
      await store.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function run(reference: ReferenceMeta, damage: Damage | null): Promise<OpenerAnswer> {
  const folder = await mkdtemp(join(fastFolder(), 'galleon-meta-'));
  try {
    const path = join(folder, 'meta');
    await mkdir(path);
    await writeFile(join(path, DATABASE), damage === null ? reference.bytes : damage.apply(reference.bytes));
    return await opener.run({ kind: 'meta', path, records: reference.records });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function sweep(reference: ReferenceMeta, damages: readonly Damage[]): Promise<void> {
  for (const damage of damages) {
    const { outcome, failure, log } = await run(reference, damage);
    if (typeof outcome === 'string') tally.count(damage.kind, outcome);
    else tally.fail(`${describeDamage(damage)}, seed ${String(SEED)}`, failure, log.join('\n'));
  }
}

it('metadata without damage is right', async () => {
  const reference = await makeReferenceMeta(new SeededRandom(SEED));
  expect(reference.records.length).toBeGreaterThan(10);
  const { outcome, failure } = await run(reference, null);
  expect(failure).toBe('');
  expect(outcome).toBe('all right');
});

it('damage by which LMDB finds its way refuses the start, or is harmless', async () => {
  const random = new SeededRandom(SEED);
  const reference = await makeReferenceMeta(random);
  const all = structureOf(reference.bytes).map((offset) => flip(DATABASE, offset, random));
  expect(all.length).toBeGreaterThan(500);
  await sweep(reference, FULL ? all : sampleOf(all, STRUCTURE_CASES, random));
  expect(tally.takeFailures()).toEqual([]);
});

it('damage of records, sectors and whole pages refuses records or the start, or is announced', async () => {
  const random = new SeededRandom(SEED);
  const reference = await makeReferenceMeta(random);
  const { bytes } = reference;
  const all: Damage[] = [];
  for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
    if (bytes.subarray(at, at + SECTOR_BYTES).some((byte) => byte !== 0))
      all.push(zeroSector(DATABASE, at / SECTOR_BYTES));
  }
  for (let at = 0; at < bytes.length; at += FLIP_STEP_BYTES)
    all.push(flip(DATABASE, at + random.below(FLIP_STEP_BYTES), random));
  const pages = bytes.length / PAGE_BYTES;
  for (let page = 0; page < pages; page += 1) {
    const other = random.below(pages);
    if (other !== page) all.push(swapPages(DATABASE, page, other));
  }
  all.push(...stalePages(DATABASE, bytes, reference.older));
  await sweep(reference, FULL ? all : sampleOf(all, OTHER_CASES, random));
  expect(tally.takeFailures()).toEqual([]);
});
