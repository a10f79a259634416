import type { BlockRequest } from '../device/block-device.js';

/** Whatever takes requests on their way into a volume. */
export interface RequestSink {
  submit(request: BlockRequest): void;
}
