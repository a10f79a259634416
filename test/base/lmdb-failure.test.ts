import { describe, expect, it } from 'vitest';
import { lmdbFailure } from '../../src/base/lmdb-failure.js';
import { temporaryFolder } from './temporary-folder.js';

function failure(code: number | string): Error {
  return Object.assign(new Error('Commit failed'), { code });
}

/** As lmdb rejects the changes of a commit that failed. */
function wrapped(cause: Error): Error {
  const commitError = Promise.reject(cause);
  commitError.catch(() => undefined);
  return Object.assign(new Error('Commit failed (see commitError for details)'), { commitError });
}

describe('a failure of LMDB', () => {
  // ENOSPC, and MDB_MAP_FULL: no more address space for a map that has to grow.
  it.each([28, 'ENOSPC', -30792])('of the number %s is a full disk', async (code) => {
    const path = await temporaryFolder();
    for (const thrown of [failure(code), wrapped(failure(code))]) {
      expect(await lmdbFailure(path, thrown, 0)).toMatchObject({ full: true });
    }
  });

  it('is a full disk if it is a short write and little is free', async () => {
    const path = await temporaryFolder();
    expect(await lmdbFailure(path, failure(5), 0)).toMatchObject({ full: false, errno: 5 });
    expect(await lmdbFailure(path, failure(5), Number.MAX_SAFE_INTEGER)).toMatchObject({ full: true, errno: 5 });
  });

  it('else is what it says', async () => {
    const path = await temporaryFolder();
    const cause = failure(-30796);
    const found = await lmdbFailure(path, wrapped(cause), Number.MAX_SAFE_INTEGER);
    expect(found).toEqual({ cause, errno: -30796, full: false });
  });
});
