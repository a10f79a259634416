import type { Clock, Random } from '../../base/clock.js';
import { randomUuid } from '../../base/uuid.js';
import { checkLabels } from '../../model/label.js';
import { checkSnapshotName, generatedSnapshotName, pointName } from '../../model/snapshot-name.js';
import type { SnapshotOrigin, SnapshotRow } from '../../model/snapshot-row.js';
import type { LayerId, VolumeHost } from '../../volume/volume-host.js';
import type { Caller } from '../caller.js';
import { ControlError, invalid, refused, stepOf } from '../control-error.js';
import type { EventLog } from '../event-log.js';
import { findVolume, refuseOther } from '../find-volume.js';
import { SNAPSHOT_GROUP_MAX } from '../limits.js';
import type { Retries } from '../retries.js';
import { eventOf } from '../volume-event.js';
import type { VolumeRecord } from '../volume-record.js';
import { wrongState } from '../volume-refusals.js';
import type { VolumeTable } from '../volume-table.js';
import { type HeadMender, mendingSubject } from './head-mender.js';
import type { SnapshotRecord } from './snapshot-record.js';
import type { SnapshotTable } from './snapshot-table.js';

export interface SnapshotWish {
  /** '': a name is made up. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly origin: SnapshotOrigin;
}

export interface SnapshotTakerDependencies {
  readonly table: VolumeTable;
  readonly snapshots: SnapshotTable;
  readonly host: VolumeHost;
  readonly mender: HeadMender;
  readonly retries: Retries;
  readonly events: EventLog;
  readonly clock: Clock;
  readonly random: Random;
}

/** Takes snapshots: of one volume, or of several at one point of the journal. */
export class SnapshotTaker {
  readonly #dependencies: SnapshotTakerDependencies;

  constructor(dependencies: SnapshotTakerDependencies) {
    this.#dependencies = dependencies;
  }

  /** One snapshot of each volume, all of one instant, under one name. In the order of `references`. */
  async take(references: readonly string[], wish: SnapshotWish, caller: Caller): Promise<SnapshotRecord[]> {
    const { table } = this.#dependencies;
    if (references.length === 0) throw invalid('volumes', 'name a volume');
    if (references.length > SNAPSHOT_GROUP_MAX) {
      throw invalid(
        'volumes',
        `${references.length} volumes are too many for one group: at most ${SNAPSHOT_GROUP_MAX}`,
      );
    }
    const records = references.map((reference) => findVolume(table, reference, 'live'));
    if (new Set(records).size < records.length) throw invalid('volumes', 'a group names each volume once');
    return this.#locked(records, async () => {
      references.forEach((reference, index) => refuseOther(table, reference, 'live', records[index]));
      return this.takeLocked(records, wish, caller);
    });
  }

  /** The same for who holds the mutexes of these volumes. */
  async takeLocked(records: readonly VolumeRecord[], wish: SnapshotWish, caller: Caller): Promise<SnapshotRecord[]> {
    const { table, snapshots, host, mender, clock } = this.#dependencies;
    checkLabels(wish.labels);
    const atMs = clock.wallMs();
    for (const record of records) this.#check(record);
    const name = this.#name(records, wish, atMs);
    for (const record of records) await mender.mend(record);
    const rows = records.map((record) => this.#row(record, { ...wish, name }, atMs));
    // 1. The instant. From here on writes go to heads that no row names yet.
    const heads = await stepOf('freeze volume', host.freeze(records.map(({ row }) => row.layer as LayerId)));
    // 2. Snapshots and new heads become known together: a crash before it leaves a volume without a snapshot.
    const changes = records.map((record, index) => ({ record, next: { ...record.row, layer: heads[index] } }));
    try {
      await stepOf('store snapshot', table.changeTogether(changes, snapshots.insertion(rows)));
    } catch (thrown) {
      for (const record of records) this.#mendLater(record, thrown);
      throw thrown;
    }
    const taken = snapshots.inserted(rows, records[0].revision);
    records.forEach((record) => {
      const what = pointName(record.row.name, name);
      const together = records.length > 1 ? ` together with ${records.length - 1} more` : '';
      this.#dependencies.events.append({
        ...eventOf(record, caller),
        kind: 'snapshot.created',
        message: `snapshot ${what} taken${together} (${wish.origin})`,
      });
    });
    return taken;
  }

  #check(record: VolumeRecord): void {
    if (record.row.phase !== 'live') throw wrongState(record, 'snapshotted');
    const { serving } = record;
    if (serving.state === 'damaged') {
      throw refused(
        'damaged',
        `volume ${record.displayName} is damaged and cannot be snapshotted: ${serving.reason}; ` +
          'a snapshot that it has can be cloned',
      );
    }
    this.#dependencies.snapshots.checkRoom(record.id, record.displayName);
  }

  #name(records: readonly VolumeRecord[], wish: SnapshotWish, atMs: number): string {
    const { snapshots } = this.#dependencies;
    const taker = (name: string): VolumeRecord | undefined =>
      records.find((record) => snapshots.named(record.id, name) !== undefined);
    if (wish.name === '') return generatedSnapshotName(wish.origin, atMs, (name) => taker(name) !== undefined);
    checkSnapshotName(wish.name);
    const owner = taker(wish.name);
    if (owner !== undefined) throw snapshotExists(owner, wish.name);
    return wish.name;
  }

  #row(record: VolumeRecord, wish: SnapshotWish, createdAtMs: number): SnapshotRow {
    const { row } = record;
    const id = randomUuid(this.#dependencies.random);
    return {
      id,
      name: wish.name,
      volumeId: row.id,
      layer: row.layer,
      sizeBytes: row.sizeBytes,
      blockBytes: row.blockBytes,
      createdAtMs,
      epoch: row.epoch,
      dataKeyNumbers: row.dataKeyNumbers,
      encrypted: row.encrypted,
      plainBlocks: row.plainBlocks,
      held: false,
      origin: wish.origin,
      labels: { ...wish.labels },
      exported: false,
      streamId: id,
      phase: 'live',
    };
  }

  #mendLater(record: VolumeRecord, thrown: unknown): void {
    const { retries, mender } = this.#dependencies;
    const subject = mendingSubject(record);
    retries.failed(subject, thrown, () => record.mutex.run(() => mender.mend(record)));
  }

  /** Holds the mutexes of all of them; always in one order, so that two groups never wait for each other. */
  #locked<T>(records: readonly VolumeRecord[], work: () => Promise<T>): Promise<T> {
    const ordered = [...records].sort((a, b) => (a.id < b.id ? -1 : 1));
    const nested = ordered.reduceRight<() => Promise<T>>((inner, record) => () => record.mutex.run(inner), work);
    return nested();
  }
}

/** The volume has a snapshot of that name already. */
export function snapshotExists(record: VolumeRecord, name: string): ControlError {
  return new ControlError(`there is a snapshot ${pointName(record.displayName, name)} already; choose another name`, {
    code: 'EXISTS',
    what: 'snapshot',
    name: pointName(record.displayName, name),
  });
}
