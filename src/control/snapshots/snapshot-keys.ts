import type { SnapshotRow } from '../../model/snapshot-row.js';
import type { VolumeRow } from '../../model/volume-row.js';
import type { VolumeRecord } from '../volume-record.js';
import { sealingNumberOf, WITHOUT_ENCRYPTION } from '../volume-keys.js';
import type { SnapshotReaders } from './snapshot-readers.js';
import type { SnapshotTable } from './snapshot-table.js';

/**
 * The keys that snapshots are read with, while the blocks of their volume are sealed anew: theirs are among them. Everything
 * here under the volume's mutex.
 */
export class SnapshotKeys {
  readonly #snapshots: SnapshotTable;
  readonly #readers: SnapshotReaders;

  constructor({ snapshots, readers }: { snapshots: SnapshotTable; readers: SnapshotReaders }) {
    this.#snapshots = snapshots;
    this.#readers = readers;
  }

  /** Lets every snapshot of a volume open what the volume's new writes are sealed with; those that are open as well. */
  add({ id, row }: VolumeRecord): Promise<void> {
    return this.#change(id, (snapshot) => withKeyOf(snapshot, row));
  }

  /** Takes a number away that no block of the volume and its snapshots names any more. */
  remove({ id }: VolumeRecord, number: number): Promise<void> {
    return this.#change(id, (snapshot) => without(snapshot, number));
  }

  async #change(volumeId: string, changed: (row: SnapshotRow) => SnapshotRow): Promise<void> {
    for (const snapshot of this.#snapshots.liveOf(volumeId)) {
      const next = changed(snapshot.row);
      if (next !== snapshot.row) {
        await this.#readers.rekey(snapshot, next, () => this.#snapshots.change(snapshot, next));
      }
    }
  }
}

function withKeyOf(row: SnapshotRow, volume: VolumeRow): SnapshotRow {
  const number = sealingNumberOf(volume);
  if (number === WITHOUT_ENCRYPTION) return row.plainBlocks ? row : { ...row, plainBlocks: true };
  if (row.dataKeyNumbers.includes(number)) return row;
  return { ...row, dataKeyNumbers: [...row.dataKeyNumbers, number] };
}

function without(row: SnapshotRow, number: number): SnapshotRow {
  if (number === WITHOUT_ENCRYPTION) return row.plainBlocks ? { ...row, encrypted: true, plainBlocks: false } : row;
  if (!row.dataKeyNumbers.includes(number)) return row;
  const dataKeyNumbers = row.dataKeyNumbers.filter((one) => one !== number);
  return { ...row, dataKeyNumbers, encrypted: row.encrypted && dataKeyNumbers.length > 0 };
}
