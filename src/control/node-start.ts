import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { decodeJson, encodeJson } from '../meta/json-value.js';
import type { MetaStore } from '../meta/meta-store.js';
import type { VolumeRow } from '../model/volume-row.js';
import type { LayerSummary, VolumeHost } from '../volume/volume-host.js';
import { codeOf, ControlError } from './control-error.js';
import type { DataKeys } from './data-keys.js';
import { KEY_LOADS_MAX } from './limits.js';
import { CONTROL_FORMAT_VERSION, NODE_KEY } from './meta-keys.js';
import type { Problem } from './problem.js';
import type { Retries } from './retries.js';
import type { RowReferences } from './row-references.js';
import { type HeadMender, mendingSubject } from './snapshots/head-mender.js';
import type { SnapshotRemover } from './snapshots/snapshot-remover.js';
import type { SnapshotSchedules } from './snapshots/snapshot-schedules.js';
import type { SnapshotService } from './snapshots/snapshot-service.js';
import type { SnapshotTable } from './snapshots/snapshot-table.js';
import type { VolumeOpener } from './volume-opener.js';
import type { VolumeRecord } from './volume-record.js';
import type { VolumeRemover } from './volume-remover.js';
import type { RowChange, VolumeTable } from './volume-table.js';

export interface NodeStartDependencies {
  readonly meta: MetaStore;
  readonly host: VolumeHost;
  readonly table: VolumeTable;
  readonly dataKeys: DataKeys;
  readonly opener: VolumeOpener;
  readonly remover: VolumeRemover;
  readonly snapshots: SnapshotTable;
  readonly references: RowReferences;
  readonly mender: HeadMender;
  readonly snapshotRemover: SnapshotRemover;
  readonly service: SnapshotService;
  readonly schedules: SnapshotSchedules;
  readonly retries: Retries;
  readonly log: Log;
}

/** What is wrong with the node as a whole; it does not go away by itself. */
export type StartFindings = readonly Problem[];

/**
 * Brings rows, layers and keys into agreement after whatever ended the last run, and opens the volumes. Every step may
 * be cut off and is done again by the next start.
 */
export async function startVolumes(dependencies: NodeStartDependencies): Promise<StartFindings> {
  const { table, host, dataKeys, opener, remover, snapshots, snapshotRemover, schedules, service, log } = dependencies;
  const findings: Problem[] = [];
  // 1. The counter of keys goes above all that exist, before anything that could forget one of them.
  const keyNumbers = await dataKeys.start();
  await table.load();
  await snapshots.load();
  await schedules.load();
  const lost = [...table.lost, ...snapshots.lost];

  // 2. Heads that a snapshot left unrecorded become their volumes'; orphans go, but only if every row is known: a layer whose row cannot be read, or was lost, is not an orphan.
  const layerCount = host.layers().length;
  const mark = await nodeMark(dependencies.meta, layerCount);
  if (mark === 'damaged') findings.push(lostMarkProblem());
  if (lost.length > 0) findings.push(...lost.map(lostRowProblem));
  else if (mark === 'missing') findings.push(lostMetaProblem(layerCount, 'but the records of volumes are empty'));
  else if (mark === 'present') {
    await mendHeads(dependencies);
    findings.push(...(await removeOrphans(dependencies, keyNumbers)));
  }
  for (const { row } of snapshots.all()) {
    if (table.get(row.volumeId) === undefined && lost.length === 0)
      findings.push(lostVolumeProblem(row.name, row.volumeId));
  }
  const layers = new Map(host.layers().map((layer): [number, LayerSummary] => [layer.layer, layer]));

  // 3. One new version of each row that needs it: a new epoch before each open, the size that the layer has, and the
  //    end of ephemeral volumes.
  const changes: RowChange[] = [];
  for (const record of table.all()) {
    const next = rowAtStart(record.row, layers.get(record.row.layer));
    if (next !== null) changes.push({ record, next });
  }
  await table.changeMany(changes);

  // 4. What was being deleted is finished; what resists is tried again later.
  const deleting = table.all().filter(({ row }) => row.phase === 'deleting');
  await inParallel(deleting, async (record) => {
    await remover.finishOrRetry(record);
  });
  if (deleting.length > 0) log.info({ volumes: deleting.length }, 'deletions of the last run were finished');

  const givenUp = snapshots.all().filter(({ row }) => row.phase === 'deleting');
  for (const snapshot of givenUp) {
    const record = table.get(snapshot.row.volumeId);
    if (record !== undefined) await record.mutex.run(() => snapshotRemover.finishOrRetry(record, snapshot));
  }

  // 5. The rest is opened; each volume's trouble is its own.
  const live = table.all().filter(({ row }) => row.phase === 'live');
  await inParallel(live, async (record: VolumeRecord) => {
    await opener.open(record, layers.get(record.row.layer), null);
    await service.serve(record);
  });
  return findings;
}

/** The row that this start makes of it, or null when it stays. */
export function rowAtStart(row: VolumeRow, layer: LayerSummary | undefined): VolumeRow | null {
  if (row.phase === 'deleting') return null;
  if (row.volumeType === 'ephemeral') return { ...row, phase: 'deleting', export: null };
  if (row.phase === 'retained') return null;
  // A crash between the two steps of an expansion leaves the layer larger than its row.
  const sizeBytes = Math.max(row.sizeBytes, layer?.sizeBytes ?? 0);
  return { ...row, sizeBytes, epoch: row.epoch + 1 };
}

/**
 * What says that these rows belong to these layers. The mark is made before the first layer, so layers without a mark mean
 * that the MetaStore was lost or emptied, and then nothing may be removed because of what it does not say.
 */
async function nodeMark(meta: MetaStore, layers: number): Promise<'present' | 'missing' | 'damaged'> {
  let mark;
  try {
    mark = await meta.get(NODE_KEY);
  } catch (thrown) {
    // One damaged record keeps nobody from volumes whose rows are whole.
    if (codeOf(thrown) === 'DAMAGED') return 'damaged';
    throw thrown;
  }
  if (mark !== null) {
    const { formatVersion } = (decodeJson(mark) ?? {}) as { formatVersion?: unknown };
    if (typeof formatVersion === 'number' && formatVersion > CONTROL_FORMAT_VERSION) {
      throw new ControlError(
        `the volumes of this node were written by a newer version (format ${formatVersion}, this one knows ${CONTROL_FORMAT_VERSION}); start that version`,
        { code: 'FAILED', step: 'read volumes' },
      );
    }
    return 'present';
  }
  if (layers > 0) return 'missing';
  await meta.transaction({
    compare: [{ key: NODE_KEY, revision: 0 }],
    set: [{ key: NODE_KEY, value: encodeJson({ formatVersion: CONTROL_FORMAT_VERSION }) }],
  });
  return 'present';
}

/** One volume's trouble keeps nobody from the others: what cannot be mended now is tried again. */
async function mendHeads({ table, mender, retries, log }: NodeStartDependencies): Promise<void> {
  for (const record of table.all()) {
    try {
      await mender.mend(record);
    } catch (thrown) {
      log.warn({ volume: record.displayName, error: messageOf(thrown) }, 'a head could not be recorded yet');
      retries.failed(mendingSubject(record), thrown, () => record.mutex.run(() => mender.mend(record)));
    }
  }
}

async function removeOrphans(
  { table, host, references, dataKeys, retries, log }: NodeStartDependencies,
  keyNumbers: ReadonlySet<number>,
): Promise<Problem[]> {
  const usedLayers = references.layers();
  const usedKeys = references.keyNumbers();
  // What is hidden was given up, and goes by itself. Children before what they were made from.
  const orphanLayers = host
    .layers()
    .filter(({ layer, hidden }) => !hidden && !usedLayers.has(layer))
    .sort((a, b) => b.layer - a.layer);
  const orphans = new Set(orphanLayers.map(({ layer }) => layer));
  // A creation makes one layer, and what it freezes has a head of its own.
  const begun = orphanLayers.filter(({ parent }) => parent === null || !orphans.has(parent)).length;
  const orphanKeys = [...keyNumbers].filter((number) => !usedKeys.has(number));
  const announced = await table.announced();
  if (begun > announced.length) {
    return [lostMetaProblem(begun, 'that no volume names and no unfinished creation explains')];
  }
  if (orphanLayers.length + orphanKeys.length + announced.length === 0) return [];
  log.info({ layers: orphanLayers.length, keys: orphanKeys.length }, 'removing what unfinished creations left');
  // In the order opposite to that of a creation: there was nobody who could have used them.
  const remove = async (): Promise<void> => {
    for (const { layer } of orphanLayers) await host.dropLayer(layer);
    await dataKeys.erase(orphanKeys);
    await table.withdraw(announced);
  };
  try {
    await remove();
  } catch (thrown) {
    log.warn({ error: messageOf(thrown) }, 'the remains of unfinished creations could not be removed yet');
    retries.failed('remains of unfinished creations', thrown, remove);
  }
  return [];
}

function lostRowProblem({ key, reason }: { key: string; reason: string }): Problem {
  return {
    subject: `record ${key}`,
    reason: `the record of a volume cannot be read, so that volume is not served: ${reason}`,
    remedy: 'restore meta/ in the storage path from a copy; until then nothing is removed that could belong to it',
    lastError: reason,
    nextTryMs: 0,
  };
}

function lostVolumeProblem(snapshot: string, volumeId: string): Problem {
  return {
    subject: `snapshot ${snapshot}`,
    reason: `the record of its volume, ${volumeId}, is not there`,
    remedy: 'restore meta/ in the storage path from a copy; the data is still there and is not touched',
    lastError: '',
    nextTryMs: 0,
  };
}

function lostMarkProblem(): Problem {
  return {
    subject: `record ${NODE_KEY}`,
    reason: 'the mark of this node cannot be read; volumes are served, remains of unfinished creations are kept',
    remedy: 'restore meta/ in the storage path from a copy, the newest there is',
    lastError: '',
    nextTryMs: 0,
  };
}

function lostMetaProblem(layers: number, what: string): Problem {
  return {
    subject: 'meta',
    reason: `the store holds ${layers} ${layers === 1 ? 'layer' : 'layers'}, ${what}: records were lost or replaced`,
    remedy:
      'stop the daemon and restore the newest copy of meta/ in the storage path; the data is still there and is not touched',
    lastError: '',
    nextTryMs: 0,
  };
}

/** Runs `work` on all items, KEY_LOADS_MAX at a time. */
async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let at = 0;
  const worker = async (): Promise<void> => {
    while (at < items.length) {
      const item = items[at];
      at += 1;
      await work(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(KEY_LOADS_MAX, items.length) }, worker));
}
