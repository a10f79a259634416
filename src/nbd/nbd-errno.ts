import { Operation, type DeviceFault } from '../device/block-device.js';
import { unreachable } from '../base/assert.js';
import { NBD_EINVAL, NBD_EIO, NBD_ENOSPC, NBD_ENOTSUP, NBD_EPERM, NBD_ESHUTDOWN } from './constants.js';

/** The one place where a device's fault becomes the protocol's error value. */
export function toNbdErrno(fault: DeviceFault, operation: Operation | null): number {
  switch (fault.code) {
    case 'IO':
    case 'UNAUTHENTIC':
      return NBD_EIO;
    case 'FULL':
      return NBD_ENOSPC;
    case 'RANGE':
      return rangeErrno(operation);
    case 'READ_ONLY':
      return NBD_EPERM;
    case 'UNSUPPORTED':
      return NBD_ENOTSUP;
    case 'CLOSED':
      return NBD_ESHUTDOWN;
    default:
      return unreachable(fault);
  }
}

/** "SHOULD return ENOSPC if it receives a write request including one or more sectors beyond the size", else EINVAL. */
export function rangeErrno(operation: Operation | null): number {
  return operation === Operation.WRITE || operation === Operation.WRITE_ZEROES ? NBD_ENOSPC : NBD_EINVAL;
}
