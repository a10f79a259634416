import { getSystemErrorName } from 'node:util';
import { errnoOf, messageOf } from '../base/errors.js';
import { FileError, type FileFault } from './file-error.js';

/** The fault of a failed system call on `path`, by the name of its errno. */
function fileFault(path: string, errno: string): FileFault {
  switch (errno) {
    case 'ENOSPC':
    case 'EDQUOT':
      return { code: 'NO_SPACE', path };
    case 'ENOENT':
      return { code: 'NOT_FOUND', path };
    case 'EEXIST':
      return { code: 'EXISTS', path };
    case 'EROFS':
      return { code: 'READ_ONLY', path };
    default:
      return { code: 'IO', path, errno };
  }
}

/** From a negative errno of the addon. `verb` says what was tried. */
export function fileErrorOfErrno(verb: string, path: string, negativeErrno: number): FileError {
  const errno = getSystemErrorName(negativeErrno);
  return new FileError(`cannot ${verb} ${path}: ${errno}`, fileFault(path, errno));
}

/** From whatever node:fs threw. */
export function fileErrorOfThrown(verb: string, path: string, thrown: unknown): FileError {
  if (thrown instanceof FileError) return thrown;
  const errno = errnoOf(thrown);
  return new FileError(`cannot ${verb} ${path}: ${errno === '' ? messageOf(thrown) : errno}`, fileFault(path, errno), {
    cause: thrown,
  });
}
