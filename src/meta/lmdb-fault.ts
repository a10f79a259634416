import { errnoOf, messageOf } from '../base/errors.js';
import { lmdbFailure } from '../base/lmdb-failure.js';
import { FULL_BELOW_BYTES } from './limits.js';
import { MetaError } from './meta-error.js';

/** What LMDB threw on the environment in the folder `path`, as a MetaError FULL or IO; a MetaError as it is. */
export async function translateLmdbError(path: string, thrown: unknown): Promise<Error> {
  if (thrown instanceof MetaError) return thrown;
  const { cause, errno, full } = await lmdbFailure(path, thrown, FULL_BELOW_BYTES);
  if (full) return new MetaError(`no space left for metadata in ${path}`, { code: 'FULL' }, { cause });
  return new MetaError(
    `metadata in ${path}: ${messageOf(cause)}`,
    { code: 'IO', errno: errnoOf(cause) || (errno === 0 ? '' : String(errno)) },
    { cause },
  );
}
