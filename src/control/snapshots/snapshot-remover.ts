import type { Clock, Timer } from '../../base/clock.js';
import { pointName } from '../../model/snapshot-name.js';
import type { LayerId, LayerSummary, VolumeHost } from '../../volume/volume-host.js';
import type { Caller } from '../caller.js';
import { refused, stepOf } from '../control-error.js';
import type { DataKeys } from '../data-keys.js';
import type { EventLog } from '../event-log.js';
import { isKeyNeeded } from '../key-needs.js';
import { DELETION_LOOK_MS } from '../limits.js';
import type { Retries } from '../retries.js';
import { eventOf } from '../volume-event.js';
import type { VolumeRecord } from '../volume-record.js';
import type { VolumeTable } from '../volume-table.js';
import type { SnapshotPoint } from './find-point.js';
import type { SnapshotExporter } from './snapshot-exporter.js';
import type { SnapshotReaders } from './snapshot-readers.js';
import type { SnapshotRecord } from './snapshot-record.js';
import type { SnapshotTable } from './snapshot-table.js';

export interface SnapshotRemoverDependencies {
  readonly table: VolumeTable;
  readonly snapshots: SnapshotTable;
  readonly host: VolumeHost;
  readonly dataKeys: DataKeys;
  readonly exporter: SnapshotExporter;
  readonly readers: SnapshotReaders;
  readonly retries: Retries;
  readonly events: EventLog;
  readonly clock: Clock;
}

/**
 * Deletes snapshots. The decision is durable at once and frees the name; then the store takes the layer's map over into
 * its child, which takes a while, and the row stays so long, so that `get` shows how far it is. Every step may be cut off
 * and is done again.
 */
export class SnapshotRemover {
  readonly #dependencies: SnapshotRemoverDependencies;
  #timer: Timer | null = null;
  #looking: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(dependencies: SnapshotRemoverDependencies) {
    this.#dependencies = dependencies;
  }

  /** Under the volume's mutex. Refuses what is held, and what clients use unless `force`. */
  async delete({ record, snapshot }: SnapshotPoint, force: boolean, caller: Caller): Promise<void> {
    const { exporter, readers, snapshots, events } = this.#dependencies;
    const name = pointName(record.displayName, snapshot.row.name);
    if (snapshot.row.phase === 'deleting') throw refused('state', `snapshot ${name} is being deleted already`);
    refuseHeld(record, [snapshot]);
    if (!force) exporter.refuseConnected(record, snapshot, 'delete it with --force');
    const next = { ...snapshot.row, phase: 'deleting' as const, exported: false };
    await stepOf('delete snapshot', snapshots.change(snapshot, next));
    await exporter.close(snapshot);
    await readers.close(snapshot.id);
    events.append({ ...eventOf(record, caller), kind: 'snapshot.deleted', message: `snapshot ${name} deleted` });
    await this.finishOrRetry(record, snapshot);
  }

  /** Goes on with what phase 'deleting' stands for; what fails is planned to be tried again. */
  async finishOrRetry(record: VolumeRecord, snapshot: SnapshotRecord): Promise<void> {
    try {
      await this.#finish(snapshot);
    } catch (thrown) {
      this.#dependencies.retries.failed(deletionSubject(snapshot), thrown, () =>
        record.mutex.run(() => this.#finish(snapshot)),
      );
    }
  }

  /** How far its layer has been taken over, from 0 to 1; null: there is nothing to tell. */
  progressOf(snapshot: SnapshotRecord): number | null {
    if (snapshot.row.phase !== 'deleting') return null;
    const merge = this.#layerOf(snapshot)?.merge ?? null;
    if (merge === null || merge.totalLeaves === 0) return null;
    return merge.doneLeaves / merge.totalLeaves;
  }

  /** No looks from here on. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) this.#dependencies.clock.clear(this.#timer);
    await this.#looking;
  }

  async #finish(snapshot: SnapshotRecord): Promise<void> {
    const { snapshots, host, dataKeys, retries } = this.#dependencies;
    if (snapshots.get(snapshot.id) !== snapshot) return;
    // 1. The layer is nobody's.
    const layer = this.#layerOf(snapshot);
    if (layer !== undefined && !layer.hidden) await host.dropLayer(snapshot.row.layer as LayerId);
    retries.settled(deletionSubject(snapshot));
    // 2. Its map goes over into its only child, if it has one; with more of them it stays, and there is nothing to wait for.
    if (this.#isOnItsWay(snapshot)) {
      this.#plan();
      return;
    }
    // 3. Keys before the row: after the row nothing knows their numbers.
    await dataKeys.erase(snapshot.row.dataKeyNumbers.filter((number) => !isKeyNeeded(this.#dependencies, number)));
    await snapshots.remove([snapshot]);
  }

  #isOnItsWay(snapshot: SnapshotRecord): boolean {
    const layers = this.#dependencies.host.layers();
    if (!layers.some(({ layer }) => layer === snapshot.row.layer)) return false;
    return layers.filter(({ parent }) => parent === snapshot.row.layer).length <= 1;
  }

  #layerOf(snapshot: SnapshotRecord): LayerSummary | undefined {
    return this.#dependencies.host.layers().find(({ layer }) => layer === snapshot.row.layer);
  }

  #plan(): void {
    if (this.#timer !== null || this.#closed) return;
    this.#timer = this.#dependencies.clock.after(DELETION_LOOK_MS, () => {
      this.#timer = null;
      this.#looking = this.#look();
    });
  }

  async #look(): Promise<void> {
    const { table, snapshots, retries } = this.#dependencies;
    for (const snapshot of snapshots.all()) {
      if (this.#closed) return;
      const record = table.get(snapshot.row.volumeId);
      if (record === undefined || snapshot.row.phase !== 'deleting') continue;
      // What failed has a time of its own.
      if (retries.stateOf(deletionSubject(snapshot)) !== null) continue;
      await record.mutex.run(() => this.finishOrRetry(record, snapshot));
    }
  }
}

/** Under what Retries keeps the deletion of a snapshot. */
export function deletionSubject(snapshot: SnapshotRecord): string {
  return `deletion of snapshot ${snapshot.id}`;
}

/** Throws when one of them is held; `record` is their volume. */
export function refuseHeld(record: VolumeRecord, snapshots: readonly SnapshotRecord[]): void {
  const held = snapshots.filter(({ row }) => row.held).map(({ row }) => pointName(record.displayName, row.name));
  if (held.length === 0) return;
  const shown = held.slice(0, 3).join(', ') + (held.length > 3 ? ` and ${held.length - 3} more` : '');
  const verb = held.length === 1 ? 'is' : 'are';
  throw refused('held', `${shown} ${verb} held; \`gfs volume snapshot release ${held[0]}\` lifts that`);
}
