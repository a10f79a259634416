import { formatSize } from '../base/size.js';
import { checkLabelKey, checkLabels } from '../model/label.js';
import type { VolumeRow } from '../model/volume-row.js';
import { checkVolumeSize } from '../model/volume-size.js';
import type { Caller } from './caller.js';
import { ControlError, invalid, stepOf, toControlError } from './control-error.js';
import type { EventLog } from './event-log.js';
import type { Exports } from './exports.js';
import { checkNewName, findVolume, refuseOther } from './find-volume.js';
import { eventOf } from './volume-event.js';
import type { VolumeOpener } from './volume-opener.js';
import type { VolumeRecord } from './volume-record.js';
import { openHandle, refuseConnected, shrinking, wrongState } from './volume-refusals.js';
import type { VolumeTable } from './volume-table.js';

export interface VolumeChangerDependencies {
  readonly table: VolumeTable;
  readonly opener: VolumeOpener;
  readonly exports: Exports;
  readonly events: EventLog;
}

export interface UpdateRequest {
  readonly setLabels: Readonly<Record<string, string>>;
  readonly removeLabels: readonly string[];
  /** undefined: as it is. */
  readonly protected: boolean | undefined;
}

/** Everything that changes a volume and leaves it there. */
export class VolumeChanger {
  readonly #dependencies: VolumeChangerDependencies;

  constructor(dependencies: VolumeChangerDependencies) {
    this.#dependencies = dependencies;
  }

  /** Grows a volume, also while clients are connected: they see the new size when they connect anew. */
  expand(reference: string, sizeBytes: number, relative: boolean, caller: Caller): Promise<VolumeRecord> {
    return this.#onLive(reference, async (record) => {
      const handle = openHandle(record, 'expanded');
      const { row } = record;
      const wanted = checkVolumeSize(relative ? row.sizeBytes + sizeBytes : sizeBytes, row.blockBytes);
      if (wanted < row.sizeBytes) throw shrinking(row, wanted);
      if (wanted === row.sizeBytes) return;
      // The layer first: a row that promises more than there is would be a lie, the other way round start-up mends.
      await stepOf('expand volume', handle.expand(wanted));
      await stepOf('expand volume', this.#dependencies.table.change(record, { ...row, sizeBytes: wanted }));
      this.#note(record, caller, 'volume.expanded', `volume ${row.name} expanded to ${formatSize(wanted)}`);
    });
  }

  /** Gives a live volume that no client uses another name. Throws EXISTS when it is taken, REFUSED while clients are connected. */
  rename(reference: string, name: string, caller: Caller): Promise<VolumeRecord> {
    return this.#onLive(reference, async (record) => {
      checkNewName(name);
      const before = record.row.name;
      if (name === before) return;
      refuseConnected(
        record,
        this.#dependencies.exports,
        'drop its clients with `gfs volume kick`: they could not connect again under the old name',
      );
      const closing = this.#dependencies.exports.close(record.id);
      try {
        await stepOf('rename volume', this.#dependencies.table.change(record, { ...record.row, name }));
        this.#note(record, caller, 'volume.renamed', `volume ${before} renamed to ${name}`);
      } finally {
        await closing;
        this.#dependencies.opener.offer(record);
      }
    });
  }

  /** Changes labels and protection, of a retained volume too; `removeLabels` that are not there are fine. */
  update(reference: string, request: UpdateRequest, caller: Caller): Promise<VolumeRecord> {
    const record = findVolume(this.#dependencies.table, reference, 'any');
    return record.mutex.run(async () => {
      const { row } = record;
      if (row.phase === 'deleting') throw wrongState(record, 'changed');
      for (const key of request.removeLabels) checkLabelKey(key);
      const removed = new Set(request.removeLabels);
      const kept = Object.entries(row.labels).filter(
        ([key]) => !removed.has(key) && !Object.hasOwn(request.setLabels, key),
      );
      const labels = Object.fromEntries([...kept, ...Object.entries(request.setLabels)]);
      checkLabels(labels);
      await stepOf(
        'update volume',
        this.#dependencies.table.change(record, { ...row, labels, protected: request.protected ?? row.protected }),
      );
      if (request.protected !== undefined && request.protected !== row.protected) {
        const text = request.protected ? 'protected against deletion' : 'no longer protected';
        this.#note(
          record,
          caller,
          request.protected ? 'volume.protected' : 'volume.unprotected',
          `volume ${record.displayName} is ${text}`,
        );
      }
      return record;
    });
  }

  /** Offers it to clients, now and after each start. Offering it once more in the same way changes nothing. */
  export(reference: string, readOnly: boolean, caller: Caller): Promise<VolumeRecord> {
    return this.#onLive(reference, async (record) => {
      openHandle(record, 'exported');
      const { row } = record;
      if (row.export !== null && row.export.readOnly === readOnly) return;
      if (row.export !== null) {
        refuseConnected(
          record,
          this.#dependencies.exports,
          'drop its clients with `gfs volume kick`: their export would change under them',
        );
      }
      const closing = row.export === null ? Promise.resolve() : this.#dependencies.exports.close(record.id);
      try {
        await stepOf('export volume', this.#dependencies.table.change(record, { ...row, export: { readOnly } }));
        this.#note(
          record,
          caller,
          'export.opened',
          `volume ${row.name} exported ${readOnly ? 'read-only' : 'read-write'}`,
        );
      } finally {
        await closing;
        this.#dependencies.opener.offer(record);
      }
    });
  }

  /** Ends its export, now and after each start; fine if there is none. `force` drops its clients. */
  unexport(reference: string, force: boolean, caller: Caller): Promise<VolumeRecord> {
    return this.#onLive(reference, async (record) => {
      const { row } = record;
      if (row.export === null) return;
      if (!force) refuseConnected(record, this.#dependencies.exports, 'drop them with --force');
      const closing = this.#dependencies.exports.close(record.id);
      try {
        await stepOf('unexport volume', this.#dependencies.table.change(record, { ...row, export: null }));
        this.#note(record, caller, 'export.closed', `volume ${row.name} is no longer exported`);
      } finally {
        await closing;
        this.#dependencies.opener.offer(record);
      }
    });
  }

  /** Drops one client, or all (''); the export stays. Throws INVALID when no client has that address. */
  async kick(reference: string, address: string, caller: Caller): Promise<readonly string[]> {
    const record = findVolume(this.#dependencies.table, reference, 'live');
    const dropped = await stepOf('kick client', this.#dependencies.exports.kick(record.id, address));
    if (dropped.length === 0 && address !== '') {
      throw invalid(
        'address',
        `volume ${record.displayName} has no connection from ${address}; \`gfs volume get ${record.displayName}\` lists them`,
      );
    }
    for (const one of dropped) this.#note(record, caller, 'client.kicked', `${one} was dropped`);
    return dropped;
  }

  /** Brings a retained volume back, under its former name or another. */
  restore(reference: string, name: string, caller: Caller): Promise<VolumeRecord> {
    const record = findVolume(this.#dependencies.table, reference, 'retained');
    return record.mutex.run(async () => {
      const { row } = record;
      if (row.phase !== 'retained' || row.retained === null) throw wrongState(record, 'restored', 'it is not retained');
      const wanted = checkNewName(name === '' ? row.retained.formerName : name);
      // A new writer begins: the epoch grows in the same transaction that gives it its name.
      const next: VolumeRow = { ...row, name: wanted, phase: 'live', retained: null, epoch: row.epoch + 1 };
      try {
        await this.#dependencies.table.change(record, next);
      } catch (thrown) {
        const error = toControlError('restore volume', thrown);
        if (error instanceof ControlError && error.code === 'EXISTS') {
          throw new ControlError(`${error.message}, with \`gfs volume restore ${row.id} --name NAME\``, {
            code: 'EXISTS',
            what: 'volume',
            name: wanted,
          });
        }
        throw error;
      }
      await this.#dependencies.opener.open(record, this.#dependencies.opener.layerOf(row.layer), null);
      this.#note(record, caller, 'volume.restored', `volume ${wanted} restored`);
      return record;
    });
  }

  async #onLive(reference: string, work: (record: VolumeRecord) => Promise<void>): Promise<VolumeRecord> {
    const record = findVolume(this.#dependencies.table, reference, 'live');
    await record.mutex.run(async () => {
      // What came before in the queue may have deleted it.
      if (record.row.phase !== 'live') throw wrongState(record, 'changed');
      refuseOther(this.#dependencies.table, reference, 'live', record);
      await work(record);
    });
    return record;
  }

  #note(record: VolumeRecord, caller: Caller, kind: string, message: string): void {
    this.#dependencies.events.append({ ...eventOf(record, caller), kind, message });
  }
}
