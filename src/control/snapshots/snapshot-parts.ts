import type { Clock, Random } from '../../base/clock.js';
import type { Log } from '../../base/log.js';
import type { MetaStore } from '../../meta/meta-store.js';
import type { VolumeHost } from '../../volume/volume-host.js';
import type { DataKeys } from '../data-keys.js';
import type { EventLog } from '../event-log.js';
import type { Exports } from '../exports.js';
import type { Retries } from '../retries.js';
import { RowReferences } from '../row-references.js';
import type { VolumeTable } from '../volume-table.js';
import { HeadMender } from './head-mender.js';
import { SnapshotDiffs } from './snapshot-diffs.js';
import { SnapshotExporter } from './snapshot-exporter.js';
import { SnapshotReaders } from './snapshot-readers.js';
import { SnapshotRemover } from './snapshot-remover.js';
import { SnapshotSchedules, type SnapshotSchedulesOptions } from './snapshot-schedules.js';
import { SnapshotService } from './snapshot-service.js';
import { SnapshotTable } from './snapshot-table.js';
import { SnapshotTaker } from './snapshot-taker.js';

export interface SnapshotPartsDependencies {
  readonly meta: MetaStore;
  readonly host: VolumeHost;
  readonly table: VolumeTable;
  readonly dataKeys: DataKeys;
  readonly exports: Exports;
  readonly retries: Retries;
  readonly events: EventLog;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** What knows of snapshots and needs no more than the table of volumes: the verbs of volumes stand on it. */
export interface SnapshotParts {
  readonly snapshots: SnapshotTable;
  readonly references: RowReferences;
  readonly diffs: SnapshotDiffs;
  readonly mender: HeadMender;
  readonly taker: SnapshotTaker;
  readonly readers: SnapshotReaders;
  readonly exporter: SnapshotExporter;
  readonly snapshotRemover: SnapshotRemover;
  readonly schedules: SnapshotSchedules;
  readonly service: SnapshotService;
}

/** Wires them. */
export function snapshotParts(options: SnapshotSchedulesOptions, base: SnapshotPartsDependencies): SnapshotParts {
  const { meta, table, host } = base;
  const snapshots = new SnapshotTable({ meta });
  const references = new RowReferences({ table, snapshots });
  const known = { ...base, snapshots, references };
  const diffs = new SnapshotDiffs({ table, snapshots, host });
  const mender = new HeadMender(known);
  const taker = new SnapshotTaker({ ...known, mender });
  const readers = new SnapshotReaders(base);
  const exporter = new SnapshotExporter({ ...known, readers, diffs });
  const remover = new SnapshotRemover({ ...known, exporter, readers });
  const schedules = new SnapshotSchedules(options, { ...known, taker, remover });
  const service = new SnapshotService({ snapshots, exporter, readers });
  return {
    snapshots,
    references,
    diffs,
    mender,
    taker,
    readers,
    exporter,
    snapshotRemover: remover,
    schedules,
    service,
  };
}
