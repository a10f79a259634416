import { close, constants, open } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { promisify } from 'node:util';
import { addon } from './addon.js';
import { FileError } from './file-error.js';
import { fileErrorOfErrno, fileErrorOfThrown } from './file-fault.js';
import type { FileLock } from './files.js';

const openDescriptor = promisify(open);
const closeDescriptor = promisify(close);

/** Locks a file for this process alone; makes it if it is not there. Throws FileError LOCKED, NO_SPACE, IO. */
export function lockFile(path: string): Promise<FileLock> {
  return locked(path, constants.O_RDWR | constants.O_CREAT);
}

/** As `lockFile`, of a file that is there and is not changed. Throws FileError NOT_FOUND, LOCKED, IO. */
export function lockExisting(path: string): Promise<FileLock> {
  return locked(path, constants.O_RDONLY);
}

async function locked(path: string, flags: number): Promise<FileLock> {
  let file: number;
  try {
    file = await openDescriptor(path, flags, 0o600);
  } catch (thrown) {
    throw fileErrorOfThrown('open', path, thrown);
  }
  const outcome = addon.lockFile(file);
  if (outcome < 0) {
    await closeDescriptor(file);
    if (-outcome === osConstants.errno.EWOULDBLOCK) throw new FileError(`${path} is locked`, { code: 'LOCKED', path });
    throw fileErrorOfErrno('lock', path, outcome);
  }
  let held = true;
  return {
    // The file stays: who removes it could remove the one that the next holder has just locked.
    release: async () => {
      if (!held) return;
      held = false;
      try {
        await closeDescriptor(file);
      } catch (thrown) {
        throw fileErrorOfThrown('close', path, thrown);
      }
    },
  };
}
