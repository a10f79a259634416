import type { BlockDevice, BlockRequest, DeviceFault } from './block-device.js';

/** One request as a promise of its fault, null for success; never rejects. For the control plane: a promise is dear. */
export function submitAndWait(device: BlockDevice, request: Omit<BlockRequest, 'done'>): Promise<DeviceFault | null> {
  return new Promise((resolve) => {
    device.submit({ ...request, done: resolve });
  });
}
