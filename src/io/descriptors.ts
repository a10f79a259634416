import { addon } from './addon.js';
import { fileErrorOfErrno } from './file-fault.js';

/**
 * A second descriptor, closed on exec, for the same open file or socket. It lets a socket that `net` accepted move into
 * a new `net.Socket` with receive buffers of its own, or to another thread; the caller owns and closes it. FileError IO.
 */
export function duplicateDescriptor(descriptor: number): number {
  const outcome = addon.duplicateDescriptor(descriptor);
  if (outcome < 0) throw fileErrorOfErrno('duplicate', `descriptor ${String(descriptor)}`, outcome);
  return outcome;
}
