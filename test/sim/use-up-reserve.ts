import { Operation, RequestFlag } from '../../src/device/block-device.js';
import { FULL_DISK_CHANGES_MIN } from '../../src/store/limits.js';
import { Violation } from './expectations.js';
import type { SimulatedNode } from './simulated-node.js';

/** What a full disk must take, less what was asked of it before; and more than it can. */
const FULL_TRIMS_MIN = FULL_DISK_CHANGES_MIN - 16;
const FULL_TRIMS_MAX = 1500;

/** Uses up all that a full disk takes, by trims of one block beside others at `offset`: the next start has its own part. */
export async function useUpReserve(node: SimulatedNode, layer: number, offset: number): Promise<void> {
  const { blockBytes } = node.clients.handles.get(layer)!;
  for (let n = 0; n < FULL_TRIMS_MAX; n += 1) {
    const fault = await node.until(node.clients.submit(Operation.TRIM, layer, offset, blockBytes, RequestFlag.FUA));
    if (fault === null) continue;
    if (fault.code !== 'FULL') throw new Violation(`on a full disk a trim fails with ${fault.code}`);
    if (n < FULL_TRIMS_MIN) throw new Violation(`a full disk takes only ${n} trims`);
    node.count('reserve used up');
    return;
  }
}
