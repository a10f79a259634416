import { type BlockRequest, Operation } from '../device/block-device.js';
import { HOLE_OPERATION_BYTES, OPERATION_BYTES } from './limits.js';

/** Requests that read and those that change are limited apart where their volume asks for that. */
export const Direction = { READ: 0, WRITE: 1 } as const;
export type Direction = (typeof Direction)[keyof typeof Direction];

export function directionOf({ operation }: BlockRequest): Direction {
  return operation === Operation.READ || operation === Operation.CACHE ? Direction.READ : Direction.WRITE;
}

/** Operations that a request counts as: one for each OPERATION_BYTES, so that large ones are charged by size. */
export function operationsOf(request: BlockRequest): number {
  const unit = carriesData(request) ? OPERATION_BYTES : HOLE_OPERATION_BYTES;
  return request.lengthBytes <= unit ? 1 : Math.ceil(request.lengthBytes / unit);
}

/** Bytes that move: none for a trim and for zeros that nobody sent. */
export function bytesOf(request: BlockRequest): number {
  return carriesData(request) ? request.lengthBytes : 0;
}

function carriesData({ operation }: BlockRequest): boolean {
  return operation !== Operation.TRIM && operation !== Operation.WRITE_ZEROES;
}
