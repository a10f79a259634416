import type { ControlCounts } from '../control/control-plane.js';
import type { Problem } from '../control/problem.js';
import type { NodeStatus } from '../ipc/generated/control.js';
import type { StoreReport } from '../volume/volume-host.js';
import type { NodeAddresses } from './node-settings.js';

export interface StatusParts {
  readonly nodeId: string;
  readonly version: string;
  readonly pid: number;
  readonly startedAtMs: number;
  readonly state: string;
  readonly storagePath: string;
  readonly addresses: NodeAddresses;
  readonly blockBytes: number;
  readonly keyProvider: string;
  readonly report: StoreReport;
  readonly counts: ControlCounts;
  readonly problems: readonly Problem[];
}

/** The one-glance health of a node. Ready: volumes are served and the store acknowledges. */
export function nodeStatus(parts: StatusParts): NodeStatus {
  const { report, counts, addresses } = parts;
  const problems = parts.problems.map((problem) => ({ ...problem }));
  if (report.state !== 'ready') {
    problems.unshift({
      subject: 'store',
      reason: report.stateReason,
      remedy: 'none needed: it reopens by itself; look at the disk if it does not',
      lastError: report.stateReason,
      nextTryMs: 0,
    });
  }
  if (report.unauthenticBlocks > 0) {
    problems.push({
      subject: 'store',
      reason: `${report.unauthenticBlocks} reads of damaged blocks failed since start`,
      remedy: 'see `gfs events` and the log for the volumes; check the disk',
      lastError: '',
      nextTryMs: 0,
    });
  }
  return {
    nodeId: parts.nodeId,
    version: parts.version,
    pid: parts.pid,
    startedAtMs: parts.startedAtMs,
    ready: parts.state === 'ready' && report.state === 'ready',
    state: parts.state === 'ready' ? report.state : parts.state,
    storagePath: parts.storagePath,
    ipcAddress: addresses.ipc,
    nbdAddress: addresses.nbd,
    nbdSocket: addresses.nbdSocket,
    metricsAddress: addresses.metrics,
    volumes: counts.volumes,
    retainedVolumes: counts.retainedVolumes,
    exports: counts.exports,
    connections: counts.connections,
    liveBytes: report.liveBytes,
    journalBytes: report.journalBytes,
    replayBytes: report.replayBytes,
    freeBytes: report.freeBytes,
    totalBytes: report.totalBytes,
    provisionedBytes: counts.provisionedBytes,
    lastRecovery: report.lastRecovery,
    problems,
    keyProvider: parts.keyProvider,
    blockBytes: parts.blockBytes,
    snapshots: counts.snapshots,
  };
}
