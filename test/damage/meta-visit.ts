import type { MetaStore } from '../../src/meta/meta-store.js';

export interface ReferenceRecord {
  readonly key: string;
  /** Base64. */
  readonly value: string;
  readonly revision: number;
  readonly createRevision: number;
}

export interface MetaJob {
  readonly kind: 'meta';
  /** The environment's folder. */
  readonly path: string;
  readonly records: readonly ReferenceRecord[];
}

type Opened = MetaStore & { readonly damage: readonly string[] };

interface Found {
  /** Damaged keys, and whether the start said that records are missing or old. */
  readonly damaged: readonly string[];
  readonly announced: boolean;
  readonly state: string;
}

const NEW_KEY = '/after/damage';

/**
 * Opens the MetaStore, compares every record, writes one, opens it again. Resolves to what came of it; throws unless
 * each record was right, named as damaged, or announced as missing or old, and the same the second time.
 */
export async function metaVisit(job: MetaJob, open: () => Promise<Opened>): Promise<string> {
  let first: Found;
  try {
    first = await inspect(job, open, true);
  } catch (thrown) {
    // The class may be that of another root, so it is known by its name.
    if (!(thrown instanceof Error) || thrown.name !== 'MetaError' || !('code' in thrown)) throw thrown;
    if (thrown.code !== 'DAMAGED' || !thrown.message.includes(job.path)) throw thrown;
    await refusedAgain(open, thrown.message);
    return 'start refused';
  }
  const second = await inspect(job, open, false);
  for (const key of first.damaged)
    if (!second.damaged.includes(key)) throw new Error(`${key} was damaged, and is not now`);
  for (const key of second.damaged) if (!first.damaged.includes(key)) throw new Error(`${key} is damaged now`);
  if (first.announced && !second.announced) throw new Error('that records are missing or old is forgotten');
  return first.state;
}

async function refusedAgain(open: () => Promise<Opened>, reason: string): Promise<void> {
  const again = await open().then(
    async (store) => {
      await store.close();
      return 'served';
    },
    (thrown: unknown) => (thrown instanceof Error ? thrown.message : String(thrown)),
  );
  if (again !== reason) throw new Error(`refused because of "${reason}", then "${again}"`);
}

async function inspect(job: MetaJob, open: () => Promise<Opened>, alter: boolean): Promise<Found> {
  const store = await open();
  try {
    const { entries, damaged } = await store.list('/');
    const announced = store.damage.some((line) => line.includes('do not add up'));
    const byKey = new Map(entries.map((entry) => [entry.key, entry]));
    const wrong: string[] = [];
    for (const { key, value, revision, createRevision } of job.records) {
      const entry = byKey.get(key);
      byKey.delete(key);
      if (damaged.includes(key)) continue;
      const same =
        entry?.revision === revision &&
        entry.createRevision === createRevision &&
        Buffer.from(entry.value).toString('base64') === value;
      if (!same) wrong.push(`${key} is ${entry === undefined ? 'missing' : `of revision ${String(entry.revision)}`}`);
    }
    byKey.delete(NEW_KEY);
    for (const key of byKey.keys()) wrong.push(`${key} is there again`);
    if (damaged.length > 0 && store.damage.length === 0 && alter) throw new Error('nothing is said of damaged records');
    if (wrong.length > 0 && !announced) throw new Error(`${wrong.join(', ')}, and nobody is told`);
    await store.transaction({ set: [{ key: NEW_KEY, value: Uint8Array.of(alter ? 1 : 2) }] });
    if ((await store.get(NEW_KEY))?.value[0] !== (alter ? 1 : 2)) throw new Error('a new record is not there');
    const state = wrong.length > 0 ? 'loss announced' : damaged.length > 0 ? 'records refused' : 'all right';
    return { damaged, announced: wrong.length > 0, state };
  } finally {
    await store.close();
  }
}
