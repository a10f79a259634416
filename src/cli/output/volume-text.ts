import { formatSize } from '../../base/size.js';
import type { Volume, VolumeExport } from '../../ipc/generated/control.js';
import type { Colours, Output } from './output.js';
import type { Column } from './table.js';
import { formatAge } from './age.js';
import { qosFacts } from './qos-text.js';
import { formatLabels, toIso } from './volume-view.js';

/** The table of `gfs volume list`. */
export function volumeTable(volumes: readonly Volume[], output: Output, nowMs: number): string {
  const retained = volumes.some((volume) => volume.retainedAtMs > 0);
  const columns: Column<Volume>[] = [
    { title: 'NAME', value: (volume) => volume.name, widthMin: 12 },
    { title: 'ID', value: (volume) => volume.id, widthMin: 8, dropOrder: retained ? 0 : 6 },
    { title: 'SIZE', value: (volume) => formatSize(volume.sizeBytes), align: 'right' },
    { title: 'USED', value: (volume) => formatSize(volume.allocatedBytes), align: 'right', dropOrder: 1 },
    {
      title: 'STATE',
      value: (volume) => volume.state,
      paint: (text, volume) => paintState(text, volume.state, output.colours),
    },
    { title: 'CLASS', value: (volume) => volume.storageClass, widthMin: 10, dropOrder: 4 },
    { title: 'REPLICAS', value: formatReplicas, align: 'right', dropOrder: 5 },
    { title: 'EXPORT', value: formatExport, dropOrder: 2 },
    { title: 'AGE', value: (volume) => formatAge(nowMs - volume.createdAtMs), align: 'right', dropOrder: 3 },
    { title: 'LABELS', value: (volume) => formatLabels(volume.labels), widthMin: 10, dropOrder: 7 },
  ];
  return output.table(columns, volumes);
}

/** The text of `gfs volume get`. */
export function volumeFacts(volume: Volume, output: Output, more: readonly (readonly [string, string])[] = []): string {
  const { colours } = output;
  const used = volume.sizeBytes === 0 ? 0 : Math.round((volume.allocatedBytes / volume.sizeBytes) * 100);
  const facts: [string, string][] = [
    ['name', volume.name],
    ['id', volume.id],
    ['state', volume.state],
    ['reason', volume.stateReason],
    ['size', `${formatSize(volume.sizeBytes)} (${String(volume.sizeBytes)} bytes)`],
    ['used', `${formatSize(volume.allocatedBytes)} (${String(used)}%)`],
    ['block size', formatSize(volume.blockBytes)],
    ['storage class', volume.storageClass],
    ['encrypted', volume.encrypted ? `yes, data key ${String(volume.dataKeyNumber)}` : 'no'],
    ['replicas', formatReplicas(volume)],
    ['type', volume.volumeType],
    ['reclaim policy', volume.reclaimPolicy],
    ['protected', volume.protected ? 'yes' : 'no'],
    ['labels', formatLabels(volume.labels)],
    ...qosFacts(volume.qos),
    ['snapshots', String(volume.snapshots)],
    ['cloned from', volume.origin],
    ['created', toIso(volume.createdAtMs)],
    ['retained since', volume.retainedAtMs > 0 ? toIso(volume.retainedAtMs) : ''],
  ];
  facts.push(...exportFacts(volume.export));
  const text = output.facts([...facts, ...more]);
  return colours.isColorSupported
    ? text.replace(/^(state\s+)(\S+)$/m, (_, name: string, state: string) => name + paintState(state, state, colours))
    : text;
}

/** How clients attach it, and which do; of a volume or a snapshot. */
export function exportFacts(exported: VolumeExport | undefined): [string, string][] {
  if (exported === undefined) return [['export', 'no']];
  return [
    ['export', exported.readOnly ? 'read-only' : 'read-write'],
    ['uri', exported.uri],
    ['socket uri', exported.socketUri],
    ['connections', String(exported.connections.length)],
    ...exported.connections.map(({ transport, address, inFlight, sinceMs }): [string, string] => [
      `  ${transport}`,
      `${address}, since ${toIso(sinceMs)}, ${String(inFlight)} requests in flight`,
    ]),
  ];
}

/** `text` in the colour of the state of a volume or a node. */
export function paintState(text: string, state: string, colours: Colours): string {
  if (state === 'available' || state === 'ready') return colours.green(text);
  if (state === 'in-use') return colours.cyan(text);
  if (state === 'damaged') return colours.red(text);
  return colours.yellow(text);
}

function formatReplicas(volume: Volume): string {
  const { current = 0, desired = 0 } = volume.replicas ?? {};
  return `${String(current)}/${String(desired)}`;
}

function formatExport(volume: Volume): string {
  if (volume.export === undefined) return '-';
  const clients = volume.export.connections.length;
  const access = volume.export.readOnly ? 'read-only' : 'yes';
  return clients === 0 ? access : `${access}, ${String(clients)} client${clients === 1 ? '' : 's'}`;
}
