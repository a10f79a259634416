import type { SnapshotTable } from './snapshots/snapshot-table.js';
import type { VolumeTable } from './volume-table.js';

/** A row that names layers and keys: a volume's or a snapshot's. */
interface NamingRow {
  readonly id: string;
  readonly layer: number;
  readonly dataKeyNumbers: readonly number[];
}

/** What rows name, of volumes and snapshots in any phase: nobody may remove it, or give its number to something new. */
export class RowReferences {
  readonly #table: VolumeTable;
  readonly #snapshots: SnapshotTable;

  constructor({ table, snapshots }: { table: VolumeTable; snapshots: SnapshotTable }) {
    this.#table = table;
    this.#snapshots = snapshots;
  }

  /** Also layers that are not there. */
  layers(): Set<number> {
    return new Set([...this.#rows()].map(({ layer }) => layer));
  }

  namesLayer(layer: number): boolean {
    for (const row of this.#rows()) if (row.layer === layer) return true;
    return false;
  }

  keyNumbers(): Set<number> {
    return new Set([...this.#rows()].flatMap((row) => row.dataKeyNumbers));
  }

  *#rows(): Generator<NamingRow> {
    for (const { row } of this.#table.all()) yield row;
    for (const { row } of this.#snapshots.all()) yield row;
  }
}
