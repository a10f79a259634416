import { assert } from '../base/assert.js';
import { type BlockRequest, type DeviceFault, Operation } from '../device/block-device.js';
import { Way } from './way.js';

const NOTHING = new Uint8Array(0);

/** Where a request that the store has done with is told of. */
export interface FlowRequestOwner {
  /** Calls `original.done` when it has counted; the request is its own again. */
  completed(request: FlowRequest, original: BlockRequest, fault: DeviceFault | null): void;
}

/** Stands for a request while the store has it, so that its end is noticed. Pooled: made once, filled many times. */
export class FlowRequest implements BlockRequest {
  operation: Operation = Operation.READ;
  offsetBytes = 0;
  lengthBytes = 0;
  flags = 0;
  data: Uint8Array = NOTHING;
  dataOffset = 0;
  /** By which way it went to the store. */
  way: Way = Way.TURN;
  readonly #owner: FlowRequestOwner;
  #original: BlockRequest | null = null;

  constructor(owner: FlowRequestOwner) {
    this.#owner = owner;
  }

  fill(original: BlockRequest, way: Way): void {
    this.way = way;
    this.operation = original.operation;
    this.offsetBytes = original.offsetBytes;
    this.lengthBytes = original.lengthBytes;
    this.flags = original.flags;
    this.data = original.data;
    this.dataOffset = original.dataOffset;
    this.#original = original;
  }

  done(fault: DeviceFault | null): void {
    const original = this.#original;
    assert(original !== null, 'a device completes a request exactly once');
    this.#original = null;
    // In the pool it keeps no buffer alive.
    this.data = NOTHING;
    this.#owner.completed(this, original, fault);
  }
}
