import { formatSize } from '../../base/size.js';
import type { LayerId } from '../../volume/volume-host.js';
import type { Caller } from '../caller.js';
import { refused, stepOf } from '../control-error.js';
import type { EventLog } from '../event-log.js';
import type { CreateRequest, VolumeCreator } from '../volume-creator.js';
import { eventOf } from '../volume-event.js';
import type { VolumeOpener } from '../volume-opener.js';
import type { VolumeRecord } from '../volume-record.js';
import { openHandle } from '../volume-refusals.js';
import { findPoint, nameOf, type PointSources, type SnapshotPoint } from './find-point.js';
import type { SnapshotRemover } from './snapshot-remover.js';
import type { SnapshotTaker } from './snapshot-taker.js';

export interface CloneRequest {
  readonly name: string;
  /** 0: as the snapshot. */
  readonly sizeBytes: number;
  readonly labels: Readonly<Record<string, string>>;
}

export interface VolumeClonerDependencies extends PointSources {
  readonly creator: VolumeCreator;
  readonly taker: SnapshotTaker;
  readonly remover: SnapshotRemover;
  readonly opener: VolumeOpener;
  readonly events: EventLog;
}

/**
 * Makes volumes that begin as a snapshot. A clone has a row, a head and (if it is encrypted) a key of its own, and shares
 * only layers, which live for as long as anybody shows them: what it was made from may be renamed and deleted.
 */
export class VolumeCloner {
  readonly #dependencies: VolumeClonerDependencies;

  constructor(dependencies: VolumeClonerDependencies) {
    this.#dependencies = dependencies;
  }

  /** VOLUME@SNAPSHOT, or VOLUME as it is now. */
  clone(reference: string, request: CloneRequest, caller: Caller): Promise<VolumeRecord> {
    const { record } = findPoint(this.#dependencies, reference);
    // Under the mutex of what it is made from: its layer and keys stay for so long.
    return record.mutex.run(async () => {
      const point = findPoint(this.#dependencies, reference);
      if (point.snapshot !== null)
        return this.#clone({ record: point.record, snapshot: point.snapshot }, request, caller);
      openHandle(point.record, 'cloned');
      // A head cannot be shared: a snapshot is, and it goes again as soon as both have what they need of it.
      const wish = { name: '', labels: {}, origin: 'safety' as const };
      const [snapshot] = await this.#dependencies.taker.takeLocked([point.record], wish, caller);
      const own = { record: point.record, snapshot };
      try {
        return await this.#clone(own, request, caller);
      } finally {
        await this.#dependencies.remover.delete(own, true, caller);
      }
    });
  }

  async #clone(point: SnapshotPoint, request: CloneRequest, caller: Caller): Promise<VolumeRecord> {
    const { creator, opener, events } = this.#dependencies;
    const { record, snapshot } = point;
    const { row } = snapshot;
    const origin = nameOf(point);
    if (row.phase !== 'live') throw refused('state', `snapshot ${origin} cannot be cloned: it is being deleted`);
    const wanted: CreateRequest = {
      name: request.name,
      sizeBytes: request.sizeBytes === 0 ? row.sizeBytes : request.sizeBytes,
      labels: request.labels,
      storageClass: '',
      volumeType: '',
      replicas: 0,
      blockBytes: 0,
    };
    const making = await creator.prepare(wanted, caller, {
      layer: row.layer as LayerId,
      blockBytes: row.blockBytes,
      storageClass: record.row.storageClass,
      encrypted: row.encrypted || record.row.encrypted,
      plainBlocks: row.plainBlocks,
      dataKeyNumbers: row.dataKeyNumbers,
      epoch: row.epoch,
      origin,
    });
    let made: VolumeRecord;
    try {
      const handle = making.open();
      made = await stepOf('store volume', making.commit());
      opener.adopt(made, handle);
    } catch (thrown) {
      await making.undo();
      throw thrown;
    }
    const message = `volume ${made.row.name} (${formatSize(made.row.sizeBytes)}) cloned from ${origin}`;
    events.append({ ...eventOf(made, caller), kind: 'volume.cloned', message });
    return made;
  }
}
