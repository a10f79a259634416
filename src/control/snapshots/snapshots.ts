import { Mutex } from '../../base/mutex.js';
import type { Clock } from '../../base/clock.js';
import { matchesSelector } from '../../model/label.js';
import { checkSnapshotName, pointName } from '../../model/snapshot-name.js';
import type { LayerId, LayerSummary, LayerUsage, VolumeHost } from '../../volume/volume-host.js';
import type { Caller } from '../caller.js';
import { ControlError, refused, stepOf } from '../control-error.js';
import type { EventLog } from '../event-log.js';
import type { Exports } from '../exports.js';
import { findVolume } from '../find-volume.js';
import { USAGE_READS_MAX } from '../limits.js';
import type { Retries } from '../retries.js';
import { eventOf } from '../volume-event.js';
import type { VolumeRecord } from '../volume-record.js';
import { wrongState } from '../volume-refusals.js';
import type { VolumeTable } from '../volume-table.js';
import { findSnapshot, type SnapshotPoint } from './find-point.js';
import type { SnapshotExporter } from './snapshot-exporter.js';
import type { SnapshotRecord } from './snapshot-record.js';
import { deletionSubject, type SnapshotRemover } from './snapshot-remover.js';
import { snapshotExists, type SnapshotTaker } from './snapshot-taker.js';
import type { SnapshotTable } from './snapshot-table.js';
import { snapshotViewOf, type SnapshotView, type SnapshotViewSources } from './snapshot-view.js';

export interface SnapshotsDependencies {
  readonly table: VolumeTable;
  readonly snapshots: SnapshotTable;
  readonly host: VolumeHost;
  readonly taker: SnapshotTaker;
  readonly remover: SnapshotRemover;
  readonly exporter: SnapshotExporter;
  readonly exports: Exports;
  readonly retries: Retries;
  readonly events: EventLog;
  readonly clock: Clock;
}

const NOTHING_USED: LayerUsage = { exclusiveBytes: 0, referencedBytes: 0 };

/** The verbs of `gfs volume snapshot`. Failures are ControlError and ModelError. */
export class Snapshots {
  readonly #dependencies: SnapshotsDependencies;

  constructor(dependencies: SnapshotsDependencies) {
    this.#dependencies = dependencies;
  }

  /** One of each volume, all of one instant. `name` '': one is made up. */
  async create(
    volumes: readonly string[],
    wish: { readonly name: string; readonly labels: Readonly<Record<string, string>> },
    caller: Caller,
  ): Promise<SnapshotView[]> {
    const taken = await this.#dependencies.taker.take(volumes, { ...wish, origin: 'manual' }, caller);
    return this.#views(taken);
  }

  /** Of one volume, or ('') of all that are live; oldest first within a volume. */
  list(volume: string, labels: Readonly<Record<string, string>>): Promise<SnapshotView[]> {
    const { table, snapshots } = this.#dependencies;
    const records =
      volume === '' ? table.all().filter(({ row }) => row.phase === 'live') : [findVolume(table, volume, 'any')];
    records.sort((a, b) => (a.displayName < b.displayName ? -1 : 1));
    const found = records.flatMap(({ id }) => snapshots.ofVolume(id));
    return this.#views(found.filter(({ row }) => matchesSelector(row.labels, labels)));
  }

  async get(reference: string): Promise<SnapshotView> {
    return this.#view(findSnapshot(this.#dependencies, reference, 'any').snapshot);
  }

  /** Its name is free at once; its space comes back in the background. */
  delete(reference: string, force: boolean, caller: Caller): Promise<SnapshotView> {
    return this.#onSnapshot(reference, 'any', async (point) => {
      const before = await this.#view(point.snapshot);
      await this.#dependencies.remover.delete(point, force, caller);
      return { ...before, state: 'deleting', stateReason: '', export: null };
    });
  }

  rename(reference: string, name: string, caller: Caller): Promise<SnapshotView> {
    return this.#onLive(reference, 'renamed', async ({ record, snapshot }) => {
      const { snapshots, exporter } = this.#dependencies;
      checkSnapshotName(name);
      const before = snapshot.row.name;
      if (name === before) return;
      if (snapshots.named(record.id, name) !== undefined) throw snapshotExists(record, name);
      exporter.refuseConnected(
        record,
        snapshot,
        'drop its clients with `gfs volume kick`: they could not connect again under the old name',
      );
      await stepOf('rename snapshot', snapshots.change(snapshot, { ...snapshot.row, name }));
      exporter.offerAgain(record, snapshot);
      const [old, now] = [before, name].map((one) => pointName(record.displayName, one));
      this.#note(record, caller, 'snapshot.renamed', `snapshot ${old} renamed to ${now}`);
    });
  }

  /** Held: neither retention nor anybody deletes it until it is released. */
  setHeld(reference: string, held: boolean, caller: Caller): Promise<SnapshotView> {
    return this.#onLive(reference, held ? 'held' : 'released', async ({ record, snapshot }) => {
      const name = pointName(record.displayName, snapshot.row.name);
      if (held && record.row.volumeType === 'ephemeral') {
        throw refused(
          'state',
          `${name} cannot be held: volume ${record.displayName} is ephemeral and ends with the daemon`,
        );
      }
      if (snapshot.row.held === held) return;
      await stepOf('hold snapshot', this.#dependencies.snapshots.change(snapshot, { ...snapshot.row, held }));
      const verb = held ? 'held' : 'released';
      this.#note(record, caller, `snapshot.${verb}`, `snapshot ${name} ${verb}`);
    });
  }

  export(reference: string, caller: Caller): Promise<SnapshotView> {
    return this.#onLive(reference, 'exported', (point) => this.#dependencies.exporter.export(point, caller));
  }

  unexport(reference: string, force: boolean, caller: Caller): Promise<SnapshotView> {
    return this.#onLive(reference, 'unexported', (point) => this.#dependencies.exporter.unexport(point, force, caller));
  }

  kick(reference: string, address: string, caller: Caller): Promise<readonly string[]> {
    return this.#dependencies.exporter.kick(findSnapshot(this.#dependencies, reference), address, caller);
  }

  async #onSnapshot<T>(
    reference: string,
    among: 'live' | 'any',
    work: (point: SnapshotPoint) => Promise<T>,
  ): Promise<T> {
    const found = findSnapshot(this.#dependencies, reference, among);
    return found.record.mutex.run(async () => {
      // What came before in the queue may have deleted or renamed it.
      const point = findSnapshot(this.#dependencies, reference, among);
      if (point.snapshot === found.snapshot) return work(point);
      throw new ControlError(`"${reference}" has just come to mean another snapshot; look again`, {
        code: 'NOT_FOUND',
        what: 'snapshot',
        reference,
      });
    });
  }

  #onLive(reference: string, participle: string, work: (point: SnapshotPoint) => Promise<void>): Promise<SnapshotView> {
    return this.#onSnapshot(reference, 'live', async (point) => {
      const { record, snapshot } = point;
      if (record.row.phase !== 'live') throw wrongState(record, participle);
      if (snapshot.row.phase !== 'live') {
        const name = pointName(record.displayName, snapshot.row.name);
        throw refused('state', `snapshot ${name} cannot be ${participle}: it is being deleted`);
      }
      await work(point);
      return this.#view(snapshot);
    });
  }

  async #view(snapshot: SnapshotRecord): Promise<SnapshotView> {
    return (await this.#views([snapshot]))[0];
  }

  /** Several are asked about at a time; a slow one does not hold the others. */
  async #views(snapshots: readonly SnapshotRecord[]): Promise<SnapshotView[]> {
    const layers = new Map(this.#dependencies.host.layers().map((layer) => [layer.layer as number, layer]));
    const lanes = Array.from({ length: USAGE_READS_MAX }, () => new Mutex());
    const views = snapshots.map((snapshot, index) =>
      lanes[index % lanes.length].run(async () => {
        const usage = await this.#usageOf(snapshot, layers.get(snapshot.row.layer));
        const record = this.#dependencies.table.get(snapshot.row.volumeId);
        return record === undefined ? [] : [snapshotViewOf(record, snapshot, usage, this.#sources(layers))];
      }),
    );
    return (await Promise.all(views)).flat();
  }

  /** What is damaged, or on its way out, has no figures; it is shown all the same. */
  async #usageOf(snapshot: SnapshotRecord, layer: LayerSummary | undefined): Promise<LayerUsage> {
    if (layer === undefined || layer.damage !== '' || layer.hidden) return NOTHING_USED;
    try {
      return await this.#dependencies.host.usage(snapshot.row.layer as LayerId);
    } catch (thrown) {
      // Deleted while the others were asked about.
      if (snapshot.row.phase === 'deleting') return NOTHING_USED;
      return await stepOf('measure snapshot', Promise.reject(thrown as Error));
    }
  }

  #sources(layers: ReadonlyMap<number, LayerSummary>): SnapshotViewSources {
    const { exports, remover, retries, clock } = this.#dependencies;
    return {
      exports,
      damageOf: ({ row }) => {
        const layer = layers.get(row.layer);
        return layer === undefined ? `its layer ${row.layer} is not in the store` : layer.damage;
      },
      progressOf: (snapshot) => remover.progressOf(snapshot),
      deletionTrouble: (snapshot) => {
        const retry = retries.stateOf(deletionSubject(snapshot));
        if (retry === null) return '';
        const seconds = Math.max(0, Math.round((retry.nextTryMs - clock.wallMs()) / 1000));
        return `${retry.lastError}; tried again in ${seconds} s`;
      },
    };
  }

  #note(record: VolumeRecord, caller: Caller, kind: string, message: string): void {
    this.#dependencies.events.append({ ...eventOf(record, caller), kind, message });
  }
}
