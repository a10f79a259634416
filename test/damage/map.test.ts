/**
 * Damage in the map's database of a small store, opened with the real probe by a process of its own. A run of the tests
 * takes a sample; DAMAGE_FULL=1 sweeps every byte by which LMDB finds its way. DAMAGE_SEED=n replays a seed.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { SeededRandom } from '../base/seeded-random.js';
import { describeDamage, flip, sampleOf, stalePages, swapPages, zeroSector, type Damage } from './damage.js';
import { structureOf } from './lmdb-places.js';
import { OpenerProcess, type OpenerAnswer } from './opener-process.js';
import { ENDINGS, fastFolder, makeReferenceStore, type ReferenceStore } from './reference-store.js';
import { FULL, SEED, Tally } from './sweep.js';

const STRUCTURE_CASES = 4;
const OTHER_CASES = 2;
const PAGE_BYTES = 4096;
const SECTOR_BYTES = 512;
const FLIP_STEP_BYTES = 64;
const DATABASE = 'map/data.mdb';

const opener = new OpenerProcess();
const tally = new Tally('the map');
afterAll(async () => {
  await opener.close();
  tally.print();
});

function otherDamage(reference: ReferenceStore, bytes: Buffer, random: SeededRandom): Damage[] {
  const found: Damage[] = [];
  for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
    if (bytes.subarray(at, at + SECTOR_BYTES).some((byte) => byte !== 0))
      found.push(zeroSector(DATABASE, at / SECTOR_BYTES));
  }
  for (let at = 0; at < bytes.length; at += FLIP_STEP_BYTES) {
    found.push(flip(DATABASE, at + random.below(FLIP_STEP_BYTES), random));
  }
  const pages = bytes.length / PAGE_BYTES;
  for (let page = 0; page < pages; page += 1) {
    for (let other = page + 1; other < pages; other += 1) found.push(swapPages(DATABASE, page, other));
  }
  found.push(...stalePages(DATABASE, bytes, reference.older.get(DATABASE) ?? []));
  return found;
}

async function run(reference: ReferenceStore, damage: Damage | null, kill: boolean): Promise<OpenerAnswer> {
  const path = await mkdtemp(join(fastFolder(), 'galleon-map-'));
  try {
    for (const [name, bytes] of reference.files) {
      await mkdir(dirname(join(path, name)), { recursive: true });
      await writeFile(join(path, name), damage?.path === name ? damage.apply(bytes) : bytes);
    }
    return await opener.run({ kind: 'store', path, volumes: reference.volumes, kill });
  } finally {
    await rm(path, { recursive: true, force: true });
  }
}

async function sweep(reference: ReferenceStore, damages: readonly Damage[], random: SeededRandom): Promise<void> {
  for (const damage of damages) {
    const { outcome, failure, log } = await run(reference, damage, random.below(2) === 0);
    if (outcome === null || typeof outcome === 'string') {
      tally.fail(`${describeDamage(damage)}, ${reference.ending} store, seed ${String(SEED)}`, failure, log.join('\n'));
    } else {
      tally.count(outcome.rebuilt ? `${damage.kind}, map rebuilt` : damage.kind, outcome);
    }
  }
}

describe.each(ENDINGS)('damage in the map of a store that was left %s', (ending) => {
  const budgetMs = FULL ? 3_600_000 : 120_000;

  it('is not there without damage', { timeout: budgetMs }, async () => {
    const reference = await makeReferenceStore(ending, SEED);
    const { outcome, failure } = await run(reference, null, true);
    expect(failure).toBe('');
    expect(outcome).toEqual({ refused: {}, bad: [], rebuilt: false });
  });

  it('by which LMDB finds its way is seen by the probe, or harmless', { timeout: budgetMs }, async () => {
    const random = new SeededRandom(SEED);
    const reference = await makeReferenceStore(ending, SEED);
    const bytes = reference.files.get(DATABASE) ?? Buffer.alloc(0);
    const all = structureOf(bytes).map((offset) => flip(DATABASE, offset, random));
    expect(all.length).toBeGreaterThan(500);
    await sweep(reference, FULL ? all : sampleOf(all, STRUCTURE_CASES, random), random);
    expect(tally.takeFailures()).toEqual([]);
  });

  it('in rows, sectors and whole pages never shows wrong data', { timeout: budgetMs }, async () => {
    const random = new SeededRandom(SEED);
    const reference = await makeReferenceStore(ending, SEED);
    const all = otherDamage(reference, reference.files.get(DATABASE) ?? Buffer.alloc(0), random);
    expect(all.length).toBeGreaterThan(500);
    await sweep(reference, FULL ? all : sampleOf(all, OTHER_CASES, random), random);
    expect(tally.takeFailures()).toEqual([]);
  });
});
