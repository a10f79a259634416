import { statfs } from 'node:fs/promises';
import { errnoOf, messageOf } from '../base/errors.js';
import { FULL_BELOW_BYTES } from './limits.js';
import { MetaError } from './meta-error.js';

const ENOSPC = 28;
const EIO = 5;

/** What LMDB threw, as a MetaError. Its errors carry a number, and a failed commit hides its cause in a promise. */
export async function translateLmdbError(path: string, thrown: unknown): Promise<Error> {
  if (thrown instanceof MetaError) return thrown;
  const cause = await causeOf(thrown);
  const errno = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const noSpace = errno === ENOSPC || errnoOf(cause) === 'ENOSPC';
  // LMDB turns a short write into EIO: on a full disk that is what happens first.
  if (noSpace || (errno === EIO && (await freeBytes(path)) < FULL_BELOW_BYTES)) {
    return new MetaError(`no space left for metadata in ${path}`, { code: 'FULL' }, { cause });
  }
  return new MetaError(
    `metadata in ${path}: ${messageOf(cause)}`,
    { code: 'IO', errno: errnoOf(cause) || (typeof errno === 'number' ? String(errno) : '') },
    { cause },
  );
}

async function causeOf(thrown: unknown): Promise<unknown> {
  if (!(thrown instanceof Error) || !('commitError' in thrown)) return thrown;
  try {
    await thrown.commitError;
    return thrown;
  } catch (cause) {
    return cause;
  }
}

async function freeBytes(path: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  } catch {
    return 0;
  }
}
