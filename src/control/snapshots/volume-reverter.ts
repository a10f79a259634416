import type { Random } from '../../base/clock.js';
import { randomUuid } from '../../base/uuid.js';
import type { SnapshotRow } from '../../model/snapshot-row.js';
import type { VolumeRow } from '../../model/volume-row.js';
import type { LayerId, VolumeHost } from '../../volume/volume-host.js';
import type { Caller } from '../caller.js';
import { refused, stepOf } from '../control-error.js';
import type { EventLog } from '../event-log.js';
import type { Exports } from '../exports.js';
import { makeLayer } from '../make-layer.js';
import type { Retries } from '../retries.js';
import type { RowReferences } from '../row-references.js';
import { eventOf } from '../volume-event.js';
import type { VolumeOpener } from '../volume-opener.js';
import type { VolumeRecord } from '../volume-record.js';
import { refuseConnected, wrongState } from '../volume-refusals.js';
import type { VolumeTable } from '../volume-table.js';
import { findSnapshot, nameOf, type SnapshotPoint } from './find-point.js';
import type { SnapshotRecord } from './snapshot-record.js';
import type { SnapshotTable } from './snapshot-table.js';
import type { SnapshotTaker } from './snapshot-taker.js';

export interface VolumeReverterDependencies {
  readonly table: VolumeTable;
  readonly snapshots: SnapshotTable;
  readonly references: RowReferences;
  readonly host: VolumeHost;
  readonly taker: SnapshotTaker;
  readonly opener: VolumeOpener;
  readonly exports: Exports;
  readonly retries: Retries;
  readonly events: EventLog;
  readonly random: Random;
}

export interface Reversion {
  readonly record: VolumeRecord;
  /** What the volume held before. */
  readonly safety: SnapshotRecord;
}

/** Puts volumes back to what a snapshot shows. */
export class VolumeReverter {
  readonly #dependencies: VolumeReverterDependencies;

  constructor(dependencies: VolumeReverterDependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * The volume is what the snapshot shows, its size included; what it was before is kept in a snapshot of its own. Refused
   * while clients are connected, unless `force`, which drops them: nobody may go on with a file system that has changed
   * under it.
   */
  revert(reference: string, force: boolean, caller: Caller): Promise<Reversion> {
    const { record } = findSnapshot(this.#dependencies, reference);
    return record.mutex.run(() => this.#revert(findSnapshot(this.#dependencies, reference), force, caller));
  }

  async #revert(point: SnapshotPoint, force: boolean, caller: Caller): Promise<Reversion> {
    const { taker, opener, exports, events } = this.#dependencies;
    const { record, snapshot } = point;
    const target = nameOf(point);
    if (record.row.phase !== 'live') throw wrongState(record, 'reverted');
    if (snapshot.row.phase !== 'live') throw refused('state', `${target} cannot be reverted to: it is being deleted`);
    if (!force) refuseConnected(record, exports, 'revert it with --force, which drops them');
    // 1. Nobody writes any more, and what was written is in the snapshot that is kept.
    const ended = exports.close(record.id);
    let safety: SnapshotRecord;
    try {
      await ended;
      [safety] = await taker.takeLocked([record], { name: '', labels: {}, origin: 'safety' }, caller);
    } catch (thrown) {
      opener.offer(record);
      throw thrown;
    }
    // 2. Under another layer it is another device: it is closed and opened anew.
    await opener.close(record);
    try {
      await this.#replaceHead(record, snapshot);
    } finally {
      await opener.reopenOrRetry(record);
    }
    events.append({
      ...eventOf(record, caller),
      kind: 'volume.reverted',
      message: `volume ${record.row.name} reverted to ${target}; what it held is kept as ${nameOf({ record, snapshot: safety })}`,
    });
    return { record, safety };
  }

  async #replaceHead(record: VolumeRecord, { row }: SnapshotRecord): Promise<void> {
    const { table, host, retries, random } = this.#dependencies;
    const before = record.row.layer as LayerId;
    // The note explains a head without a row to a start: first the new one, then the old one.
    const note = randomUuid(random);
    await stepOf('note head', table.announce(note));
    const head = await stepOf('make layer', makeLayer(this.#dependencies, row, row.layer as LayerId));
    let dropped = head;
    try {
      await stepOf('revert volume', table.change(record, revertedRow(record.row, row, head)));
      dropped = before;
    } finally {
      const drop = async (): Promise<void> => {
        await host.dropLayer(dropped);
        await table.withdraw([note]);
      };
      await drop().catch((thrown: unknown) => retries.failed(`old head of volume ${record.id}`, thrown, drop));
    }
  }
}

/** New writes go on under the last key that the volume has; what comes back may be sealed under keys that it had before. */
function revertedRow(row: VolumeRow, snapshot: SnapshotRow, layer: LayerId): VolumeRow {
  const regained = snapshot.dataKeyNumbers.filter((number) => !row.dataKeyNumbers.includes(number));
  return {
    ...row,
    layer,
    sizeBytes: snapshot.sizeBytes,
    epoch: row.epoch + 1,
    dataKeyNumbers: [...regained, ...row.dataKeyNumbers],
    plainBlocks: row.plainBlocks || snapshot.plainBlocks,
  };
}
