import { assert } from '../base/assert.js';
import { Operation, type BlockRequest, type DeviceFault } from '../device/block-device.js';
import type { Chunk } from './chunk-pool.js';

const NOTHING = new Uint8Array(0);

/** Where completed requests come back to. */
export interface RequestOwner {
  completed(request: NbdRequest, fault: DeviceFault | null): void;
}

/** A request on its way through the device. Pooled by its session: made once, filled many times. */
export class NbdRequest implements BlockRequest {
  operation: Operation = Operation.READ;
  offsetBytes = 0;
  lengthBytes = 0;
  flags = 0;
  data: Uint8Array = NOTHING;
  dataOffset = 0;
  cookieHigh = 0;
  cookieLow = 0;
  /** When it was decoded, monotonic milliseconds. */
  startedMs = 0;
  /** What `data` lies in, with one reference of ours; null when there is no data. */
  chunk: Chunk | null = null;
  /** READ: where the reply with its header begins in the chunk. */
  replyStart = 0;
  readonly #owner: RequestOwner;
  #inDevice = false;

  constructor(owner: RequestOwner) {
    this.#owner = owner;
  }

  isOf(owner: RequestOwner): boolean {
    return this.#owner === owner;
  }

  /** Data begins at `dataOffset` of `chunk`, whose reference the request takes over. */
  pointAt(chunk: Chunk, dataOffset: number): void {
    this.chunk = chunk;
    this.data = chunk.bytes;
    this.dataOffset = dataOffset;
  }

  submitted(): void {
    this.#inDevice = true;
  }

  done(fault: DeviceFault | null): void {
    assert(this.#inDevice, 'a device completes a request exactly once');
    this.#inDevice = false;
    this.#owner.completed(this, fault);
  }

  /** Back in the pool it keeps no buffer alive. */
  recycled(): void {
    this.chunk = null;
    this.data = NOTHING;
  }
}
