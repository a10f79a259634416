import type { ControlPlane } from '../control/control-plane.js';
import { Operation } from '../device/block-device.js';
import type { Measures } from '../metrics/measures.js';
import type { VolumeHost } from '../volume/volume-host.js';

/** Labels of the rows of a volume's counters, by Operation. */
export const OPERATION_NAMES: readonly string[] = Object.entries(Operation)
  .sort(([, a], [, b]) => a - b)
  .map(([name]) => name.toLowerCase());

/** What metrics asks, answered by the store and the control plane. */
export function nodeMeasures(host: VolumeHost, plane: ControlPlane): Measures {
  return {
    store: () => host.report(),
    volumes: () =>
      plane.measures().map(({ record, connections }) => ({
        id: record.id,
        name: record.displayName,
        state: record.serving.state,
        sizeBytes: record.row.sizeBytes,
        allocatedBytes: record.handle?.allocatedBytes ?? 0,
        connections,
        counters: record.handle?.statistics ?? null,
      })),
  };
}
