/**
 * Damage in the journal of a small store. A run of the tests takes a sample; DAMAGE_FULL=1 sweeps every byte of every
 * header and every page and sector that was written, and takes the better part of an hour. DAMAGE_SEED=n replays a seed.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { SeededRandom } from '../base/seeded-random.js';
import { describeDamage, flip, sampleOf, stalePages, swapPages, zeroSector, type Damage } from './damage.js';
import { DamagedStore } from './damaged-store.js';
import { placesOf } from './journal-places.js';
import { ENDINGS, makeReferenceStore, type ReferenceStore } from './reference-store.js';
import { FULL, SEED, Tally } from './sweep.js';

const HEADER_CASES = 40;
const OTHER_CASES = 12;
const PAGE_BYTES = 4096;
const SECTOR_BYTES = 512;
/** One flipped byte in each so many, in payloads and pads. */
const FLIP_STEP_BYTES = 2048;

const tally = new Tally('journal');
afterAll(() => tally.print());

/** The segments that hold anything. */
function segmentsOf(reference: ReferenceStore): { path: string; bytes: Buffer }[] {
  return [...reference.files]
    .filter(([path, bytes]) => path.startsWith('journal') && placesOf(path, bytes).headers.length > 0)
    .map(([path, bytes]) => ({ path, bytes }));
}

/** One damage for every byte of every header. */
function headerDamage(reference: ReferenceStore, random: SeededRandom): Damage[] {
  return segmentsOf(reference)
    .flatMap(({ path, bytes }) => placesOf(path, bytes).headers)
    .map(({ path, offset }) => flip(path, offset, random));
}

/** Sectors, pages, pads, payloads and tails. */
function otherDamage(reference: ReferenceStore, random: SeededRandom): Damage[] {
  const found: Damage[] = [];
  for (const { path, bytes } of segmentsOf(reference)) {
    const { end } = placesOf(path, bytes);
    const behind = Math.min(bytes.length, end + 2 * PAGE_BYTES);
    for (let sector = 0; sector * SECTOR_BYTES < end; sector += 1 + random.below(3)) {
      if (!zeroed(bytes, sector)) found.push(zeroSector(path, sector));
    }
    for (let at = 0; at < behind; at += FLIP_STEP_BYTES)
      found.push(flip(path, at + random.below(FLIP_STEP_BYTES), random));
    const pages = Math.ceil(end / PAGE_BYTES);
    for (let page = 0; page < pages; page += 1) {
      const other = random.below(pages);
      if (other !== page) found.push(swapPages(path, page, other));
    }
    found.push(...stalePages(path, bytes, reference.older.get(path) ?? []));
  }
  return found;
}

function zeroed(bytes: Buffer, sector: number): boolean {
  return bytes.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES).every((byte) => byte === 0);
}

async function sweep(reference: ReferenceStore, damages: readonly Damage[], seed: number): Promise<void> {
  const store = await DamagedStore.make(reference, seed);
  try {
    for (const damage of damages) {
      try {
        tally.count(damage.kind, await store.run(damage));
      } catch (thrown) {
        const what = `${describeDamage(damage)}, ${reference.ending} store, seed ${String(SEED)}`;
        tally.fail(what, thrown, store.tail);
      }
    }
  } finally {
    await store.destroy();
  }
}

describe.each(ENDINGS)('damage in the journal of a store that was left %s', (ending) => {
  const budgetMs = FULL ? 3_600_000 : 60_000;

  it('is not there without damage', { timeout: budgetMs }, async () => {
    const reference = await makeReferenceStore(ending, SEED);
    expect(segmentsOf(reference).length).toBeGreaterThanOrEqual(3);
    const store = await DamagedStore.make(reference, SEED);
    try {
      expect(await store.run(null)).toEqual({ refused: {}, bad: [] });
    } finally {
      await store.destroy();
    }
  });

  it('in headers is EIO or a refused volume', { timeout: budgetMs }, async () => {
    const random = new SeededRandom(SEED);
    const reference = await makeReferenceStore(ending, SEED);
    const all = headerDamage(reference, random);
    await sweep(reference, FULL ? all : sampleOf(all, HEADER_CASES, random), SEED);
    expect(tally.takeFailures()).toEqual([]);
  });

  it('in payloads, pads and whole pages is EIO or a refused volume', { timeout: budgetMs }, async () => {
    const random = new SeededRandom(SEED);
    const reference = await makeReferenceStore(ending, SEED);
    const all = otherDamage(reference, random);
    await sweep(reference, FULL ? all : sampleOf(all, OTHER_CASES, random), SEED);
    expect(tally.takeFailures()).toEqual([]);
  });
});
