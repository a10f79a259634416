import { messageOf } from '../../base/errors.js';
import type { Log } from '../../base/log.js';
import { pointName } from '../../model/snapshot-name.js';
import type { Caller } from '../caller.js';
import { ControlError, invalid, refused, stepOf } from '../control-error.js';
import type { EventLog } from '../event-log.js';
import type { Exports } from '../exports.js';
import type { Retries } from '../retries.js';
import { eventOf } from '../volume-event.js';
import type { VolumeRecord } from '../volume-record.js';
import type { SnapshotPoint } from './find-point.js';
import type { SnapshotDiffs } from './snapshot-diffs.js';
import type { SnapshotReader, SnapshotReaders } from './snapshot-readers.js';
import type { SnapshotRecord } from './snapshot-record.js';
import type { SnapshotTable } from './snapshot-table.js';

export interface SnapshotExporterDependencies {
  readonly snapshots: SnapshotTable;
  readonly readers: SnapshotReaders;
  readonly diffs: SnapshotDiffs;
  readonly exports: Exports;
  readonly retries: Retries;
  readonly events: EventLog;
  readonly log: Log;
}

/** Offers snapshots to clients, read-only, as VOLUME@SNAPSHOT. All of it under the volume's mutex. */
export class SnapshotExporter {
  readonly #dependencies: SnapshotExporterDependencies;
  /** Snapshots that are offered, with what they are read by. */
  readonly #open = new Map<string, SnapshotReader>();
  #closed = false;

  constructor(dependencies: SnapshotExporterDependencies) {
    this.#dependencies = dependencies;
  }

  /** Offers it now and after each start. Offering it once more changes nothing. */
  async export({ record, snapshot }: SnapshotPoint, caller: Caller): Promise<void> {
    const { snapshots, events } = this.#dependencies;
    if (snapshot.row.exported && this.#open.has(snapshot.id)) return;
    const reader = await this.#dependencies.readers.acquire(snapshot);
    try {
      await stepOf('export snapshot', snapshots.change(snapshot, { ...snapshot.row, exported: true }));
    } catch (thrown) {
      await reader.release();
      throw thrown;
    }
    this.#offer(record, snapshot, reader);
    const message = `snapshot ${pointName(record.displayName, snapshot.row.name)} exported read-only`;
    events.append({ ...eventOf(record, caller), kind: 'export.opened', message });
  }

  /** Ends its export, now and after each start; fine if there is none. `force` drops its clients. */
  async unexport({ record, snapshot }: SnapshotPoint, force: boolean, caller: Caller): Promise<void> {
    if (!snapshot.row.exported) return;
    if (!force) this.refuseConnected(record, snapshot, 'drop them with --force');
    const closing = this.#dependencies.exports.close(snapshot.id);
    try {
      const next = { ...snapshot.row, exported: false };
      await stepOf('unexport snapshot', this.#dependencies.snapshots.change(snapshot, next));
    } catch (thrown) {
      await closing;
      this.offerAgain(record, snapshot);
      throw thrown;
    }
    await closing;
    await this.#release(snapshot);
    const message = `snapshot ${pointName(record.displayName, snapshot.row.name)} is no longer exported`;
    this.#dependencies.events.append({ ...eventOf(record, caller), kind: 'export.closed', message });
  }

  /** Drops one client, or all (''); the export stays. Throws INVALID when no client has that address. */
  async kick({ record, snapshot }: SnapshotPoint, address: string, caller: Caller): Promise<readonly string[]> {
    const dropped = await this.#dependencies.exports.kick(snapshot.id, address);
    const name = pointName(record.displayName, snapshot.row.name);
    if (dropped.length === 0 && address !== '') {
      throw invalid('address', `${name} has no connection from ${address}; \`gfs volume get ${name}\` lists them`);
    }
    for (const one of dropped) {
      const message = `${one} was dropped from ${name}`;
      this.#dependencies.events.append({ ...eventOf(record, caller), kind: 'client.kicked', message });
    }
    return dropped;
  }

  /** Offers what its row says, after a start or after a failure; what cannot be opened says so in its state. */
  async serve(record: VolumeRecord, snapshot: SnapshotRecord): Promise<void> {
    const isWanted = snapshot.row.exported && snapshot.row.phase === 'live' && record.row.phase === 'live';
    if (this.#closed || !isWanted || this.#open.has(snapshot.id)) return;
    try {
      this.#offer(record, snapshot, await this.#dependencies.readers.acquire(snapshot));
    } catch (thrown) {
      this.#failed(record, snapshot, thrown);
    }
  }

  /** Under the names that volume and snapshot have now. */
  offerAgain(record: VolumeRecord, snapshot: SnapshotRecord): void {
    const reader = this.#open.get(snapshot.id);
    if (reader !== undefined) this.#offer(record, snapshot, reader);
  }

  /** Takes it from its clients; its row stays as it is. */
  async close(snapshot: SnapshotRecord): Promise<void> {
    await this.#dependencies.exports.close(snapshot.id);
    this.#dependencies.retries.settled(retrySubject(snapshot));
    await this.#release(snapshot);
  }

  /** Throws when clients are connected. `otherwise` says what else the user may do. */
  refuseConnected(record: VolumeRecord, snapshot: SnapshotRecord, otherwise: string): void {
    const connections = this.#dependencies.exports.connections(snapshot.id);
    if (connections.length === 0) return;
    const name = pointName(record.displayName, snapshot.row.name);
    const shown = connections.map(({ address }) => address).slice(0, 3);
    throw refused(
      'connections',
      `snapshot ${name} has ${connections.length} ${connections.length === 1 ? 'connection' : 'connections'} ` +
        `(${shown.join(', ')}); disconnect first, or ${otherwise}`,
    );
  }

  /** No retries from here on; rows stay as they are. */
  async shutDown(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#dependencies.snapshots.all().map((snapshot) => this.close(snapshot)));
  }

  #offer(record: VolumeRecord, snapshot: SnapshotRecord, reader: SnapshotReader): void {
    const { exports, diffs, retries } = this.#dependencies;
    this.#open.set(snapshot.id, reader);
    snapshot.serving = { state: 'ready' };
    retries.settled(retrySubject(snapshot));
    exports.open({
      volumeId: snapshot.id,
      name: pointName(record.row.name, snapshot.row.name),
      device: reader.handle,
      readOnly: true,
      description: `snapshot ${snapshot.id} of volume ${record.id}`,
      diffs: diffs.ofExport(record, snapshot),
    });
  }

  async #release(snapshot: SnapshotRecord): Promise<void> {
    const reader = this.#open.get(snapshot.id);
    this.#open.delete(snapshot.id);
    await reader?.release();
  }

  #failed(record: VolumeRecord, snapshot: SnapshotRecord, thrown: unknown): void {
    const { retries, log } = this.#dependencies;
    const reason = messageOf(thrown);
    const isLocked = thrown instanceof ControlError && thrown.fault.code === 'REFUSED';
    snapshot.serving = { state: isLocked ? 'locked' : 'damaged', reason };
    log.error({ volume: record.displayName, snapshot: snapshot.row.name, reason }, 'a snapshot cannot be served');
    retries.failed(retrySubject(snapshot), thrown, () => record.mutex.run(() => this.serve(record, snapshot)));
  }
}

/** Under what Retries keeps what is tried again for a snapshot's export. */
function retrySubject(snapshot: SnapshotRecord): string {
  return `export of snapshot ${snapshot.id}`;
}
