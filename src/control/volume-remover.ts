import type { Clock } from '../base/clock.js';
import type { ReclaimPolicy } from '../model/storage-class.js';
import type { VolumeRow } from '../model/volume-row.js';
import type { LayerId, VolumeHost } from '../volume/volume-host.js';
import type { Caller } from './caller.js';
import { refused, stepOf } from './control-error.js';
import type { DataKeys } from './data-keys.js';
import type { EventLog } from './event-log.js';
import type { Exports } from './exports.js';
import { findVolume, refuseOther } from './find-volume.js';
import { isKeyNeeded } from './key-needs.js';
import { scheduleKey } from './meta-keys.js';
import type { Retries } from './retries.js';
import type { HeadMender } from './snapshots/head-mender.js';
import type { SnapshotExporter } from './snapshots/snapshot-exporter.js';
import type { SnapshotReaders } from './snapshots/snapshot-readers.js';
import type { SnapshotRecord } from './snapshots/snapshot-record.js';
import { deletionSubject, refuseHeld } from './snapshots/snapshot-remover.js';
import type { SnapshotSchedules } from './snapshots/snapshot-schedules.js';
import type { SnapshotTable } from './snapshots/snapshot-table.js';
import type { StorageClasses } from './storage-classes.js';
import { eventOf } from './volume-event.js';
import { retrySubject, type VolumeOpener } from './volume-opener.js';
import type { VolumeRecord } from './volume-record.js';
import { refuseConnected } from './volume-refusals.js';
import type { VolumeTable } from './volume-table.js';

export interface Removal {
  readonly id: string;
  readonly name: string;
  readonly outcome: 'retained' | 'deleted' | 'purged';
  /** One sentence for people. */
  readonly detail: string;
}

export interface VolumeRemoverDependencies {
  readonly table: VolumeTable;
  readonly host: VolumeHost;
  readonly dataKeys: DataKeys;
  readonly classes: StorageClasses;
  readonly exports: Exports;
  readonly opener: VolumeOpener;
  readonly snapshots: SnapshotTable;
  readonly mender: HeadMender;
  readonly exporter: SnapshotExporter;
  readonly readers: SnapshotReaders;
  readonly schedules: SnapshotSchedules;
  readonly retries: Retries;
  readonly events: EventLog;
  readonly clock: Clock;
}

/** Takes volumes away: to the retained ones, or for good. */
export class VolumeRemover {
  readonly #dependencies: VolumeRemoverDependencies;

  constructor(dependencies: VolumeRemoverDependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Retain or Delete, as the class says; `force` removes for good and drops connections. Snapshots share its fate, which
   * `withSnapshots` has to say: they are retained with it, or removed.
   */
  delete(
    reference: string,
    { force, withSnapshots }: { readonly force: boolean; readonly withSnapshots: boolean },
    caller: Caller,
  ): Promise<Removal> {
    const record = findVolume(this.#dependencies.table, reference, 'live');
    return record.mutex.run(async () => {
      const { row } = record;
      const name = record.displayName;
      if (row.phase === 'retained') {
        throw refused(
          'state',
          `volume ${name} is deleted already and retained; \`gfs volume purge ${row.id}\` removes it for good`,
        );
      }
      if (row.phase === 'deleting') throw refused('state', `volume ${name} is being deleted already`);
      refuseOther(this.#dependencies.table, reference, 'live', record);
      this.#refuseProtected(record);
      this.#refuseSnapshots(record, force, withSnapshots);
      if (!force)
        refuseConnected(record, this.#dependencies.exports, 'delete it with --force, which removes it for good');
      if (!force && this.reclaimPolicyOf(record) === 'Retain') return this.#retain(record, caller);
      return this.#remove(record, caller, force ? 'purged' : 'deleted');
    });
  }

  /** Removes a retained volume for good. */
  purge(reference: string, caller: Caller): Promise<Removal> {
    const record = findVolume(this.#dependencies.table, reference, 'retained');
    return record.mutex.run(async () => {
      if (record.row.phase === 'live') {
        throw refused(
          'state',
          `volume ${record.displayName} is not retained; delete it first, or at once with \`gfs volume delete --force\``,
        );
      }
      if (record.row.phase === 'deleting')
        throw refused('state', `volume ${record.displayName} is being deleted already`);
      this.#refuseProtected(record);
      refuseHeld(record, this.#dependencies.snapshots.liveOf(record.id));
      return this.#remove(record, caller, 'purged');
    });
  }

  /** Ephemeral volumes are never retained, and a class that is gone or damaged is no licence to remove data. */
  reclaimPolicyOf(record: VolumeRecord): ReclaimPolicy {
    if (record.row.volumeType === 'ephemeral') return 'Delete';
    return this.#dependencies.classes.find(record.row.storageClass)?.reclaimPolicy ?? 'Retain';
  }

  /**
   * Finishes what phase 'deleting' stands for. Each step is fine with having been done before, so a crash or a failure
   * between them only means that it is done again.
   */
  async finish(record: VolumeRecord): Promise<void> {
    const { opener, host, dataKeys, table, retries, snapshots, schedules, mender } = this.#dependencies;
    const own = snapshots.ofVolume(record.id);
    // 1. Nobody may use a layer that goes.
    await opener.close(record);
    await this.#closeSnapshots(own);
    await mender.mend(record);
    // 2. Keys first, where nobody else needs them: from then on nobody can open a block of it, whatever becomes of the rest.
    //    That it goes is decided and durable, so data without its key is no loss here.
    const numbers = new Set([record.row, ...own.map(({ row }) => row)].flatMap((row) => row.dataKeyNumbers));
    const failure = await dataKeys
      .erase([...numbers].filter((number) => !isKeyNeeded(this.#dependencies, number)))
      .then(
        () => null,
        (thrown: unknown) => ({ thrown }),
      );
    // 3. Its data goes all the same: on a disk that is too full to scrub, that is what makes room. The newest first: what has
    //    no child goes at once; what clones show stays in the store, as nobody's.
    await host.dropLayer(record.row.layer as LayerId);
    const hidden = new Set(host.layers().flatMap((layer) => (layer.hidden ? [layer.layer] : [])));
    for (const { row } of [...own].reverse()) {
      if (!hidden.has(row.layer as LayerId)) await host.dropLayer(row.layer as LayerId);
    }
    if (failure !== null) throw failure.thrown;
    // 4. The volume's row last: while it is there, start-up finishes this. After it nothing would know the numbers of its keys.
    await snapshots.remove(own);
    await table.remove(record, [scheduleKey(record.id)]);
    for (const snapshot of own) retries.settled(deletionSubject(snapshot));
    schedules.forget(record.id);
    retries.settled(retrySubject(record));
  }

  /** The same, but a failure is planned to be tried again. True when it is done. */
  async finishOrRetry(record: VolumeRecord): Promise<boolean> {
    try {
      await this.finish(record);
      return true;
    } catch (thrown) {
      this.#dependencies.retries.failed(retrySubject(record), thrown, () =>
        record.mutex.run(() => this.#finishLater(record)),
      );
      return false;
    }
  }

  async #finishLater(record: VolumeRecord): Promise<void> {
    if (this.#dependencies.table.get(record.id) === undefined) return;
    await this.finish(record);
  }

  async #retain(record: VolumeRecord, caller: Caller): Promise<Removal> {
    const { clock, events, opener, retries } = this.#dependencies;
    const { row } = record;
    const next: VolumeRow = {
      ...row,
      name: row.id,
      export: null,
      phase: 'retained',
      retained: { sinceMs: clock.wallMs(), formerName: row.name },
    };
    await this.#changeOffline(record, next, 'retain volume');
    await opener.close(record);
    await this.#closeSnapshots(this.#dependencies.snapshots.ofVolume(row.id));
    retries.settled(retrySubject(record));
    events.append({
      ...eventOf(record, caller),
      kind: 'volume.retained',
      message: `volume ${row.name} deleted; its data is retained`,
    });
    return {
      id: row.id,
      name: row.name,
      outcome: 'retained',
      detail: `its data is kept: \`gfs volume restore ${row.name}\` brings it back, \`gfs volume purge ${row.name}\` removes it for good`,
    };
  }

  async #remove(record: VolumeRecord, caller: Caller, outcome: 'deleted' | 'purged'): Promise<Removal> {
    const { events, retries } = this.#dependencies;
    const name = record.displayName;
    const dropped = this.#dependencies.exports.connections(record.id).length;
    // The decision is durable before anything is lost; from here on a crash only delays it.
    await this.#changeOffline(record, { ...record.row, export: null, phase: 'deleting' }, 'delete volume');
    const done = await this.finishOrRetry(record);
    events.append({
      ...eventOf(record, caller),
      volume: name,
      kind: `volume.${outcome}`,
      message: `volume ${name} ${outcome}`,
    });
    const connections =
      dropped > 0 ? `; ${dropped} ${dropped === 1 ? 'connection was' : 'connections were'} dropped` : '';
    const keys = record.row.dataKeyNumbers.length;
    const shared = record.row.dataKeyNumbers.filter((number) => isKeyNeeded(this.#dependencies, number)).length;
    const erased =
      keys === 0
        ? ''
        : shared > 0
          ? ', and its data keys are destroyed but for those that other volumes or snapshots need'
          : ', and its data keys were destroyed first: no block of it can be opened any more';
    const detail = done
      ? `it is gone${erased}; its space in the journal comes back in the background${connections}`
      : `it is gone${connections}; its space is freed later (${retries.stateOf(retrySubject(record))?.lastError ?? ''})`;
    return { id: record.id, name, outcome, detail };
  }

  /** Stops offering in the turn in which connections were counted, so that nobody slips in; offers anew on failure. */
  async #changeOffline(record: VolumeRecord, next: VolumeRow, step: string): Promise<void> {
    const { exports, opener, table } = this.#dependencies;
    const closing = exports.close(record.id);
    try {
      await stepOf(step, table.change(record, next));
    } catch (thrown) {
      await closing;
      opener.offer(record);
      throw thrown;
    }
    await closing;
  }

  /** Out of service; their rows stay as they are. */
  async #closeSnapshots(own: readonly SnapshotRecord[]): Promise<void> {
    const { exporter, readers } = this.#dependencies;
    for (const snapshot of own) {
      await exporter.close(snapshot);
      await readers.close(snapshot.id);
    }
  }

  #refuseSnapshots(record: VolumeRecord, force: boolean, withSnapshots: boolean): void {
    const { snapshots, exporter } = this.#dependencies;
    const own = snapshots.liveOf(record.id);
    if (own.length === 0) return;
    const name = record.displayName;
    if (!withSnapshots) {
      const count = own.length === 1 ? `a snapshot, ${name}@${own[0].row.name}` : `${own.length} snapshots`;
      throw refused(
        'snapshots',
        `volume ${name} has ${count}; delete it together with them: \`gfs volume delete ${name} --with-snapshots\``,
      );
    }
    refuseHeld(record, own);
    if (!force) for (const one of own) exporter.refuseConnected(record, one, 'delete the volume with --force');
  }

  #refuseProtected(record: VolumeRecord): void {
    if (!record.row.protected) return;
    const name = record.displayName;
    throw refused(
      'protected',
      `volume ${name} is protected against deletion; \`gfs volume unprotect ${name}\` lifts that`,
    );
  }
}
