import { statfs } from 'node:fs/promises';

const ENOSPC = 28;
const EIO = 5;
/** Of LMDB's own errors only their numbers reach us. */
const MDB_MAP_FULL = -30792;

/** What is behind an error of the `lmdb` package. */
export interface LmdbFailure {
  readonly cause: unknown;
  /** The number of the system's error, or, below 0, of LMDB's; 0: it has none. */
  readonly errno: number;
  /** The disk, or the map, is full. */
  readonly full: boolean;
}

/**
 * LMDB's errors carry a number, a failed commit keeps its cause in a promise, and a short write comes as EIO: with less
 * than `fullBelowBytes` free in the folder `path` that is taken for a full disk. Never rejects.
 */
export async function lmdbFailure(path: string, thrown: unknown, fullBelowBytes: number): Promise<LmdbFailure> {
  const cause = await causeOf(thrown);
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const errno = typeof code === 'number' ? code : 0;
  const named = code === 'ENOSPC' || errno === ENOSPC || errno === MDB_MAP_FULL;
  const full = named || (errno === EIO && (await freeBytes(path)) < fullBelowBytes);
  return { cause, errno, full };
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
