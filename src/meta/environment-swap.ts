/**
 * Puts a copy of an environment in the place of the old file, and leaves nothing of the old one on the disk:
 *
 *   1. data.mdb.old becomes a second name of data.mdb      4. the bytes of data.mdb.old are overwritten
 *   2. scrub/data.mdb is renamed to data.mdb               5. data.mdb.old is removed
 *   3. the folder is synced
 *
 * A crash leaves the old or the new file under its name, whole. `clearSwap` ends what one left behind.
 */
import { link, open, readdir, rename, rmdir, stat, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../base/errors.js';

const DATA_NAME = 'data.mdb';
const OLD_NAME = 'data.mdb.old';
const COPY_NAME = 'scrub';
const OVERWRITE_STEP_BYTES = 1024 * 1024;

/** Folder inside an environment's own where its copy is made. */
export function copyPathOf(path: string): string {
  return join(path, COPY_NAME);
}

/** `onStep` is called before each change of the disk; a test ends the process there. */
export async function swapIn(path: string, onStep: () => void = () => undefined): Promise<void> {
  onStep();
  await link(join(path, DATA_NAME), join(path, OLD_NAME));
  onStep();
  await rename(join(copyPathOf(path), DATA_NAME), join(path, DATA_NAME));
  onStep();
  // Before a byte of the old file goes: a power cut must not bring its name back.
  await syncFolder(path);
  await clearSwap(path, onStep);
}

/** Overwrites and removes what a swap, or one that a crash ended, has left. Fine if there is nothing. */
export async function clearSwap(path: string, onStep: () => void = () => undefined): Promise<void> {
  const old = await inodeOf(join(path, OLD_NAME));
  if (old !== null) {
    // A crash between the first two steps: one file with two names, and it is the one in use.
    const inUse = old === (await inodeOf(join(path, DATA_NAME)));
    onStep();
    if (!inUse) await overwrite(join(path, OLD_NAME), onStep);
    onStep();
    await unlink(join(path, OLD_NAME));
  }
  const copyPath = copyPathOf(path);
  if ((await inodeOf(copyPath)) !== null) {
    for (const name of await readdir(copyPath)) {
      // What is a live key today may have to be gone tomorrow.
      onStep();
      await overwrite(join(copyPath, name), onStep);
      onStep();
      await unlink(join(copyPath, name));
    }
    await rmdir(copyPath);
  } else if (old === null) {
    return;
  }
  onStep();
  await syncFolder(path);
}

async function overwrite(path: string, onStep: () => void): Promise<void> {
  await withHandle(path, 'r+', async (handle) => {
    const { size } = await handle.stat();
    const zeros = new Uint8Array(Math.min(size, OVERWRITE_STEP_BYTES));
    for (let at = 0; at < size; at += zeros.length) {
      onStep();
      await writeAll(handle, zeros.subarray(0, Math.min(zeros.length, size - at)), at);
    }
    await handle.datasync();
  });
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    at += (await handle.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
  }
}

/** The entries of a folder survive a power cut as the content of its files does. */
export async function syncFolder(path: string): Promise<void> {
  await withHandle(path, 'r', (handle) => handle.sync());
}

async function withHandle(path: string, flags: string, use: (handle: FileHandle) => Promise<void>): Promise<void> {
  const handle = await open(path, flags);
  try {
    await use(handle);
  } finally {
    await handle.close();
  }
}

/** null: there is nothing of that name. */
async function inodeOf(path: string): Promise<bigint | null> {
  try {
    return (await stat(path, { bigint: true })).ino;
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return null;
    throw thrown;
  }
}
