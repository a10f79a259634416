import type { ControlPlane } from '../control/control-plane.js';
import { Operation } from '../device/block-device.js';
import type { VolumeRecord } from '../control/volume-record.js';
import type { Measures, ThrottleMeasure } from '../metrics/measures.js';
import { QOS_FIELDS } from '../model/qos-settings.js';
import type { VolumeHost } from '../volume/volume-host.js';

/** Labels of the rows of a volume's counters, by Operation. */
export const OPERATION_NAMES: readonly string[] = Object.entries(Operation)
  .sort(([, a], [, b]) => a - b)
  .map(([name]) => name.toLowerCase());

/** Settings that are rates; the others say how a burst is. */
const RATE_FIELDS = (Object.keys(QOS_FIELDS) as (keyof typeof QOS_FIELDS)[]).filter(
  (field) => field !== 'burstMultiplier' && field !== 'burstDurationMs',
);

/** What metrics asks, answered by the store and the control plane. */
export function nodeMeasures(host: VolumeHost, plane: ControlPlane): Measures {
  return {
    store: () => host.report(),
    scrubs: () => ({
      readBytes: plane.scrubs.readBytes,
      volumes: plane.scrubs.measures().map(({ record, running, badBlocks, lastEndedAtMs }) => ({
        id: record.id,
        name: record.displayName,
        running,
        badBlocks,
        lastEndedAtMs,
      })),
    }),
    volumes: () =>
      plane.measures().map(({ record, connections, snapshots }) => ({
        id: record.id,
        name: record.displayName,
        state: record.serving.state,
        sizeBytes: record.row.sizeBytes,
        allocatedBytes: record.handle?.allocatedBytes ?? 0,
        connections,
        snapshots,
        counters: record.handle?.statistics ?? null,
        throttle: throttleOf(record),
      })),
  };
}

function throttleOf({ handle, row }: VolumeRecord): ThrottleMeasure | null {
  if (handle === null) return null;
  const settings = row.qos?.settings;
  const limits = RATE_FIELDS.map((field) => ({ name: QOS_FIELDS[field], perSecond: settings?.[field] ?? 0 }));
  return { ...handle.throttling, limits: limits.filter(({ perSecond }) => perSecond > 0) };
}
