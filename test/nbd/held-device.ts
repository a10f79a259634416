import {
  Operation,
  type BlockDevice,
  type BlockRequest,
  type DeviceFault,
  type Extent,
} from '../../src/device/block-device.js';

/** A device that keeps every request until a test completes it. Reads are filled with `pattern`. */
export class HeldDevice implements BlockDevice {
  readonly blockBytes = 4096;
  sizeBytes: number;
  readOnly = false;
  readonly held: BlockRequest[] = [];
  submitted = 0;
  /** Called after a request was taken. */
  onSubmit: (request: BlockRequest) => void = () => undefined;
  onExtents: () => Promise<Extent[]> = () => Promise.resolve([{ lengthBytes: this.sizeBytes, allocated: true }]);
  #wanted = 0;
  #arrived: (() => void) | null = null;

  constructor(sizeBytes = 1 << 20) {
    this.sizeBytes = sizeBytes;
  }

  submit(request: BlockRequest): void {
    this.held.push(request);
    this.submitted += 1;
    this.onSubmit(request);
    if (this.#arrived !== null && this.held.length >= this.#wanted) {
      this.#arrived();
      this.#arrived = null;
    }
  }

  extents(): Promise<Extent[]> {
    return this.onExtents();
  }

  /** Resolves when `count` requests are held. */
  async holding(count: number): Promise<void> {
    if (this.held.length >= count) return;
    this.#wanted = count;
    await new Promise<void>((resolve) => {
      this.#arrived = resolve;
    });
  }

  /** Completes the held request at `index`, reads with the low byte of their block number. */
  complete(index: number, fault: DeviceFault | null = null): void {
    const [request] = this.held.splice(index, 1);
    if (request === undefined) throw new Error('no such held request');
    if (request.operation === Operation.READ && fault === null) {
      const byte = pattern(request.offsetBytes);
      request.data.fill(byte, request.dataOffset, request.dataOffset + request.lengthBytes);
    }
    request.done(fault);
  }
}

/** What a read at `offsetBytes` answers. */
export function pattern(offsetBytes: number): number {
  return (offsetBytes / 4096) & 0xff;
}
