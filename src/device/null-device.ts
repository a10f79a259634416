import type { BlockDevice, BlockRequest, Extent } from './block-device.js';

export interface NullDeviceOptions {
  /** A multiple of `blockBytes`. */
  readonly sizeBytes: number;
  readonly blockBytes?: number;
}

/**
 * Completes everything at once and keeps nothing. Reads leave the destination as it was, so what a client receives
 * is whatever its reply buffer held before: for the bench only, where it shows what the session in front of it costs.
 */
export class NullDevice implements BlockDevice {
  readonly blockBytes: number;
  readonly sizeBytes: number;
  readonly readOnly = false;

  constructor(options: NullDeviceOptions) {
    this.blockBytes = options.blockBytes ?? 4096;
    this.sizeBytes = options.sizeBytes;
  }

  submit(request: BlockRequest): void {
    const end = request.offsetBytes + request.lengthBytes;
    request.done(end <= this.sizeBytes ? null : { code: 'RANGE' });
  }

  extents(_offsetBytes: number, lengthBytes: number): Promise<Extent[]> {
    return Promise.resolve([{ lengthBytes, allocated: true }]);
  }
}
