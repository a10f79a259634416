import type { BlockRequest, DeviceFault, Operation } from '../device/block-device.js';

const NOTHING = new Uint8Array(0);

/** A request that the volume makes itself: the aligned parts of an unaligned one. */
export class InnerRequest implements BlockRequest {
  readonly operation: Operation;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly flags: number;
  readonly data: Uint8Array;
  readonly dataOffset: number;
  readonly #done: (fault: DeviceFault | null) => void;

  constructor(
    operation: Operation,
    offsetBytes: number,
    lengthBytes: number,
    done: (fault: DeviceFault | null) => void,
    more: { readonly flags?: number; readonly data?: Uint8Array; readonly dataOffset?: number } = {},
  ) {
    this.operation = operation;
    this.offsetBytes = offsetBytes;
    this.lengthBytes = lengthBytes;
    this.flags = more.flags ?? 0;
    this.data = more.data ?? NOTHING;
    this.dataOffset = more.dataOffset ?? 0;
    this.#done = done;
  }

  done(fault: DeviceFault | null): void {
    this.#done(fault);
  }
}
