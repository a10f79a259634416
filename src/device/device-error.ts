import { FaultError, messageOf } from '../base/errors.js';
import type { DeviceFault } from './block-device.js';

/** A DeviceFault where an exception is the better shape (promises); the hot path passes the bare fault. */
export class DeviceError extends FaultError<DeviceFault> {
  override readonly name = 'DeviceError';
}

/** The fault of anything that a device threw. */
export function faultOf(thrown: unknown): DeviceFault {
  return thrown instanceof DeviceError ? thrown.fault : { code: 'IO', detail: messageOf(thrown) };
}
