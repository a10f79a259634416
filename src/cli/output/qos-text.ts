import { formatDuration } from '../../base/duration.js';
import { formatSize } from '../../base/size.js';
import type { QosSettings, VolumeQos } from '../../ipc/generated/qos.js';

/** Settings as `-o json` shows them; null: none. Fields are added, never renamed or removed: scripts read this. */
export interface QosSettingsView {
  readonly iops: number | null;
  readonly throughput: number | null;
  readonly readIops: number | null;
  readonly writeIops: number | null;
  readonly readThroughput: number | null;
  readonly writeThroughput: number | null;
  readonly burstMultiplier: number | null;
  readonly burstDurationMs: number | null;
  readonly guaranteedIops: number | null;
  readonly guaranteedThroughput: number | null;
}

export interface QosView extends QosSettingsView {
  /** That it came from; null when it was set by hand. */
  readonly policy: string | null;
}

export function toSettingsView(settings: QosSettings): QosSettingsView {
  const orNull = (value: number): number | null => (value > 0 ? value : null);
  return {
    iops: orNull(settings.iops),
    throughput: orNull(settings.throughput),
    readIops: orNull(settings.readIops),
    writeIops: orNull(settings.writeIops),
    readThroughput: orNull(settings.readThroughput),
    writeThroughput: orNull(settings.writeThroughput),
    burstMultiplier: settings.burstMultiplier > 1 ? settings.burstMultiplier : null,
    burstDurationMs: orNull(settings.burstDurationMs),
    guaranteedIops: orNull(settings.guaranteedIops),
    guaranteedThroughput: orNull(settings.guaranteedThroughput),
  };
}

/** null: neither limits nor guarantees. */
export function toQosView(qos: VolumeQos | undefined): QosView | null {
  if (qos?.settings === undefined) return null;
  return { policy: qos.policy === '' ? null : qos.policy, ...toSettingsView(qos.settings) };
}

/** `1000 iops, 100 MiB/s, 200 write iops`; '' without limits. */
export function formatLimits(settings: QosSettings | undefined): string {
  if (settings === undefined) return '';
  const { iops, throughput, readIops, readThroughput, writeIops, writeThroughput } = settings;
  const parts = [...rates('', iops, throughput), ...rates('read ', readIops, readThroughput)];
  return [...parts, ...rates('write ', writeIops, writeThroughput)].join(', ');
}

/** `x2 for 5m`; '' without burst. */
export function formatBurst(settings: QosSettings | undefined): string {
  if (settings === undefined || settings.burstMultiplier <= 1) return '';
  return `x${String(settings.burstMultiplier)} for ${formatDuration(settings.burstDurationMs)}`;
}

/** `500 iops, 10 MiB/s`; '' without a guarantee. */
export function formatGuarantee(settings: QosSettings | undefined): string {
  if (settings === undefined) return '';
  return rates('', settings.guaranteedIops, settings.guaranteedThroughput).join(', ');
}

/** What a volume has, as facts for people. */
export function qosFacts(qos: VolumeQos | undefined): [string, string][] {
  return [
    ['limits', formatLimits(qos?.settings)],
    ['burst', formatBurst(qos?.settings)],
    ['guaranteed', formatGuarantee(qos?.settings)],
    ['qos policy', qos?.policy ?? ''],
  ];
}

function rates(kind: string, iops: number, throughput: number): string[] {
  const parts: string[] = [];
  if (iops > 0) parts.push(`${String(iops)} ${kind}iops`);
  if (throughput > 0) parts.push(`${formatSize(throughput)}/s${kind === '' ? '' : ` ${kind.trim()}`}`);
  return parts;
}
