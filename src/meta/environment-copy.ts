/** A fresh environment with the same records: nothing of what was deleted or replaced can be in it. */
import { mkdir } from 'node:fs/promises';
import { MetaError } from './meta-error.js';
import { COPY_RECORDS_PER_COMMIT } from './limits.js';
import { openEnvironment, survey, type Environment } from './lmdb-environment.js';

/**
 * Writes every record of `source`, damaged ones as they are, into a new environment in the folder `path`, and compares.
 * Record by record and not page by page: LMDB's own compacting copy leaves free pages behind, but carries along the bytes
 * of deleted records that lie in the gaps of live pages. `source` must not change meanwhile. Rejects with what LMDB or
 * the file system throw, or MetaError IO when the copy differs.
 */
export async function copyEnvironment(source: Environment, path: string): Promise<void> {
  await mkdir(path, { mode: 0o700 });
  const copy = openEnvironment(path, false);
  try {
    let last: Buffer | null = null;
    do {
      last = await copySome(source, copy, last);
    } while (last !== null);
    source.resetReadTxn();
    copy.resetReadTxn();
    const { state: wanted, ...expected } = survey(source);
    const { state: found, ...copied } = survey(copy);
    if (JSON.stringify([found, copied]) !== JSON.stringify([wanted, expected])) {
      throw new MetaError('a copy of the metadata differs from what was copied', { code: 'IO', errno: '' });
    }
  } finally {
    await copy.close();
  }
}

/** Copies records behind the key `after`, one commit of them; null when none are left. */
async function copySome(source: Environment, copy: Environment, after: Buffer | null): Promise<Buffer | null> {
  let last: Buffer | null = null;
  source.resetReadTxn();
  await copy.childTransaction(() => {
    const range = { ...(after === null ? {} : { start: after }), limit: COPY_RECORDS_PER_COMMIT };
    for (const { key, value } of source.getRange(range)) {
      if (after?.equals(key) === true) continue;
      copy.putSync(key, value);
      last = Buffer.from(key);
    }
  });
  return last;
}
