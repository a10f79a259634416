import { close, constants, open } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { promisify } from 'node:util';
import { addon } from './addon.js';
import { FileError } from './file-error.js';
import { fileErrorOfErrno, fileErrorOfThrown } from './file-fault.js';
import type { FileLock } from './files.js';

const openDescriptor = promisify(open);
const closeDescriptor = promisify(close);

/** As `Files.lock`, of a file that is there and is not changed. Throws FileError NOT_FOUND, LOCKED, IO. */
export async function lockExisting(path: string): Promise<FileLock> {
  let file: number;
  try {
    file = await openDescriptor(path, constants.O_RDONLY);
  } catch (thrown) {
    throw fileErrorOfThrown('open', path, thrown);
  }
  const outcome = addon.lockFile(file);
  if (outcome === 0) return { release: () => closeDescriptor(file) };
  await closeDescriptor(file);
  if (-outcome === osConstants.errno.EWOULDBLOCK) throw new FileError(`${path} is locked`, { code: 'LOCKED', path });
  throw fileErrorOfErrno('lock', path, outcome);
}
