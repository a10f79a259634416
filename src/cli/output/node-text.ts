import { formatSize } from '../../base/size.js';
import type { NodeStatus, Problem } from '../../ipc/generated/control.js';
import { formatAge } from './age.js';
import type { Output } from './output.js';
import { toIso } from './volume-view.js';
import { paintState } from './volume-text.js';

/** A node as `-o json` shows it. */
export function toNodeView(status: NodeStatus): object {
  return {
    nodeId: status.nodeId,
    version: status.version,
    pid: status.pid,
    startedAt: toIso(status.startedAtMs),
    ready: status.ready,
    state: status.state,
    storagePath: status.storagePath,
    ipcAddress: status.ipcAddress,
    nbdAddress: status.nbdAddress,
    nbdSocket: status.nbdSocket,
    metricsAddress: status.metricsAddress,
    volumes: status.volumes,
    retainedVolumes: status.retainedVolumes,
    exports: status.exports,
    connections: status.connections,
    liveBytes: status.liveBytes,
    journalBytes: status.journalBytes,
    replayBytes: status.replayBytes,
    freeBytes: status.freeBytes,
    totalBytes: status.totalBytes,
    provisionedBytes: status.provisionedBytes,
    blockBytes: status.blockBytes,
    lastRecovery: status.lastRecovery,
    keyProvider: status.keyProvider,
    problems: status.problems.map(toProblemView),
    snapshots: status.snapshots,
  };
}

/** A problem as `-o json` shows it. */
export function toProblemView(problem: Problem): object {
  return {
    subject: problem.subject,
    reason: problem.reason,
    remedy: problem.remedy,
    lastError: problem.lastError,
    nextTryAt: problem.nextTryMs > 0 ? toIso(problem.nextTryMs) : null,
  };
}

/** The text of `gfs daemon status`: everything about the process and its store. */
export function nodeFacts(status: NodeStatus, nowMs: number, output: Output): string {
  const facts = output.facts([
    ['node', status.nodeId],
    ['state', status.state],
    ['version', status.version],
    ['process', `${String(status.pid)}, up ${formatAge(nowMs - status.startedAtMs)}`],
    ['storage path', status.storagePath],
    ['control api', status.ipcAddress],
    ['nbd', status.nbdAddress],
    ['nbd socket', status.nbdSocket],
    ['metrics', status.metricsAddress],
    ['key provider', status.keyProvider],
    ['volumes', `${String(status.volumes)}, ${String(status.retainedVolumes)} retained`],
    ['snapshots', String(status.snapshots)],
    ['exports', `${String(status.exports)}, ${String(status.connections)} connections`],
    ['live data', formatSize(status.liveBytes)],
    ['journal', `${formatSize(status.journalBytes)}, ${formatSize(status.replayBytes)} to replay at a start`],
    ['space', diskLine(status)],
    ['last recovery', status.lastRecovery],
  ]);
  return [facts, ...problemLines(status.problems, nowMs, output)].join('\n');
}

/** The text of `gfs status`: is all well, and if not, what is to be done. */
export function healthText(status: NodeStatus, damaged: readonly string[], nowMs: number, output: Output): string {
  const { colours } = output;
  const state = paintState(status.state, status.state, colours);
  const { problems } = status;
  const health =
    problems.length === 0 && damaged.length === 0
      ? colours.green('no problems')
      : colours.red(`${String(problems.length + damaged.length)} to look at`);
  const lines = [
    `node     ${status.nodeId}: ${state}, up ${formatAge(nowMs - status.startedAtMs)}, ${health}`,
    `volumes  ${String(status.volumes)} (${formatSize(status.provisionedBytes)} promised, ` +
      `${formatSize(status.liveBytes)} used${overcommit(status)}), ${String(status.retainedVolumes)} retained`,
    `exports  ${String(status.exports)}, ${String(status.connections)} clients connected`,
    `space    ${diskLine(status)}`,
  ];
  return [...lines, ...damaged, ...problemLines(problems, nowMs, output)].join('\n');
}

function problemLines(problems: readonly Problem[], nowMs: number, output: Output): string[] {
  const { colours } = output;
  return problems.flatMap((problem) => {
    const lines = [`${colours.red('!')} ${problem.subject}: ${problem.reason}`];
    if (problem.lastError !== '') lines.push(`    last error: ${problem.lastError}`);
    if (problem.nextTryMs > 0) lines.push(`    next try: in ${formatAge(Math.max(0, problem.nextTryMs - nowMs))}`);
    if (problem.remedy !== '') lines.push(`    do: ${problem.remedy}`);
    return lines;
  });
}

/** Thin volumes may promise more than there is: fine until they are written. */
function overcommit({ provisionedBytes, totalBytes }: NodeStatus): string {
  return provisionedBytes > totalBytes ? ', more promised than there is' : '';
}

function diskLine(status: NodeStatus): string {
  return `${formatSize(status.freeBytes)} free of ${formatSize(status.totalBytes)}`;
}
