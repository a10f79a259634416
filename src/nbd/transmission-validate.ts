import { Operation, RequestFlag } from '../device/block-device.js';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_EINVAL,
  NBD_EOVERFLOW,
  NBD_EPERM,
  NBD_SUCCESS,
} from './constants.js';
import { rangeErrno } from './nbd-errno.js';
import type { RequestHeader } from './transmission-codec.js';

/** What was agreed with this client when it entered transmission; it holds until it leaves. */
export interface Agreement {
  /** The size that it was told. The device may have grown since. */
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly structuredReplies: boolean;
  /** A metadata context was selected for this export. */
  readonly blockStatus: boolean;
  readonly payloadBytesMax: number;
}

/** The device's operation for an NBD command, null for those that it has none for. */
export function operationOf(type: number): Operation | null {
  switch (type) {
    case NBD_CMD_READ:
      return Operation.READ;
    case NBD_CMD_WRITE:
      return Operation.WRITE;
    case NBD_CMD_FLUSH:
      return Operation.FLUSH;
    case NBD_CMD_TRIM:
      return Operation.TRIM;
    case NBD_CMD_CACHE:
      return Operation.CACHE;
    case NBD_CMD_WRITE_ZEROES:
      return Operation.WRITE_ZEROES;
    default:
      return null;
  }
}

/** NBD_SUCCESS or the error that a request earns by itself. Nothing that passes here is refused below for its form. */
export function validateRequest(header: RequestHeader, agreement: Agreement): number {
  const { type, flags, offset, length } = header;
  if ((flags & ~allowedFlags(type, agreement)) !== 0) return NBD_EINVAL;
  switch (type) {
    case NBD_CMD_READ:
      if (length > agreement.payloadBytesMax) return NBD_EOVERFLOW;
      return validateRange(type, offset, length, agreement);
    case NBD_CMD_WRITE:
      if (agreement.readOnly) return NBD_EPERM;
      if (length > agreement.payloadBytesMax) return NBD_EOVERFLOW;
      return validateRange(type, offset, length, agreement);
    case NBD_CMD_TRIM:
    case NBD_CMD_WRITE_ZEROES:
      if (agreement.readOnly) return NBD_EPERM;
      return validateRange(type, offset, length, agreement);
    case NBD_CMD_CACHE:
      return validateRange(type, offset, length, agreement);
    case NBD_CMD_FLUSH:
      // "length and offset are reserved, and MUST be set to all-zero".
      return offset === 0 && length === 0 ? NBD_SUCCESS : NBD_EINVAL;
    case NBD_CMD_BLOCK_STATUS:
      // A reply holds at least one descriptor, and no descriptor has length 0: an empty range has no answer.
      if (!agreement.blockStatus || length === 0) return NBD_EINVAL;
      return validateRange(type, offset, length, agreement);
    default:
      return NBD_EINVAL;
  }
}

/** The device's flags for the command flags of a valid request. */
export function requestFlagsOf(flags: number): number {
  return (
    ((flags & NBD_CMD_FLAG_FUA) !== 0 ? RequestFlag.FUA : 0) |
    ((flags & NBD_CMD_FLAG_NO_HOLE) !== 0 ? RequestFlag.NO_HOLE : 0) |
    ((flags & NBD_CMD_FLAG_FAST_ZERO) !== 0 ? RequestFlag.FAST_ZERO : 0)
  );
}

function validateRange(type: number, offset: number, length: number, agreement: Agreement): number {
  return offset + length <= agreement.sizeBytes ? NBD_SUCCESS : rangeErrno(operationOf(type));
}

/** "NBD_CMD_FLAG_FUA ... is valid for all commands"; the others only where they are documented. */
function allowedFlags(type: number, agreement: Agreement): number {
  switch (type) {
    case NBD_CMD_READ:
      return agreement.structuredReplies ? NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF : NBD_CMD_FLAG_FUA;
    case NBD_CMD_WRITE_ZEROES:
      return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO;
    case NBD_CMD_BLOCK_STATUS:
      return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE;
    default:
      return NBD_CMD_FLAG_FUA;
  }
}
