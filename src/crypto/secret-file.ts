import { stat } from 'node:fs/promises';
import { messageOf } from '../base/errors.js';
import { FileError } from '../io/file-error.js';
import type { Files } from '../io/files.js';
import { CryptoError } from './crypto-error.js';

const OTHERS_MAY = 0o077;

/** Permission bits of a file, as `VaultDependencies.modeOf`. */
export async function fileModeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777;
}

/** Content of a file, or null when there is none. Throws CryptoError IO. */
export async function readIfThere(files: Files, path: string): Promise<Uint8Array | null> {
  try {
    return await files.readFile(path);
  } catch (thrown) {
    if (thrown instanceof FileError && thrown.code === 'NOT_FOUND') return null;
    throw unreadable(path, thrown);
  }
}

/** Throws CryptoError EXPOSED, as ssh does for its keys, when group or others may read or write the file. */
export async function refuseExposed(modeOf: (path: string) => Promise<number>, path: string): Promise<void> {
  let mode: number;
  try {
    mode = await modeOf(path);
  } catch (thrown) {
    throw unreadable(path, thrown);
  }
  if ((mode & OTHERS_MAY) === 0) return;
  const shown = mode.toString(8).padStart(4, '0');
  throw new CryptoError(`${path} can be read or written by others (mode ${shown}): chmod 600 ${path}`, {
    code: 'EXPOSED',
    path,
  });
}

/** Writes a small file durably, mode 0600. Throws CryptoError IO. */
export async function writeSecret(files: Files, path: string, bytes: Uint8Array): Promise<void> {
  try {
    await files.replaceFile(path, bytes, 0o600);
  } catch (thrown) {
    throw new CryptoError(`cannot write ${path}: ${messageOf(thrown)}`, { code: 'IO', path }, { cause: thrown });
  }
}

function unreadable(path: string, thrown: unknown): CryptoError {
  return new CryptoError(`cannot read ${path}: ${messageOf(thrown)}`, { code: 'IO', path }, { cause: thrown });
}
