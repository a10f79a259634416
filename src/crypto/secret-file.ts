import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Random } from '../base/clock.js';
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

/**
 * Overwrites a small file in place, durably; fine if it is gone. Unlinking alone leaves the bytes on the disk. File systems
 * and disks that write elsewhere keep them all the same. Throws FileError.
 */
export async function overwriteSecret(
  { files, random }: { readonly files: Files; readonly random: Random },
  path: string,
): Promise<void> {
  if (!(await files.exists(path))) return;
  const file = await files.open(path, 'write');
  try {
    await files.write(file, 0, random.bytes(await files.sizeBytes(file)));
    await files.sync(file);
  } finally {
    await files.close(file);
  }
}

/** Overwrites a small file, then removes it; fine if it is gone. Throws CryptoError IO. */
export async function eraseSecret(io: { readonly files: Files; readonly random: Random }, path: string): Promise<void> {
  try {
    if (!(await io.files.exists(path))) return;
    await overwriteSecret(io, path);
    // Only now may the name go: a crash in between leaves a damaged copy, never a readable one without a name.
    await io.files.remove(path);
    await io.files.syncDirectory(dirname(path));
  } catch (thrown) {
    throw new CryptoError(`cannot erase ${path}: ${messageOf(thrown)}`, { code: 'IO', path }, { cause: thrown });
  }
}

function unreadable(path: string, thrown: unknown): CryptoError {
  return new CryptoError(`cannot read ${path}: ${messageOf(thrown)}`, { code: 'IO', path }, { cause: thrown });
}
