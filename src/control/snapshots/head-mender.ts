import type { LayerId, LayerSummary, VolumeHost } from '../../volume/volume-host.js';
import { stepOf } from '../control-error.js';
import type { RowReferences } from '../row-references.js';
import type { VolumeRecord } from '../volume-record.js';
import type { VolumeTable } from '../volume-table.js';
import type { SnapshotTable } from './snapshot-table.js';

export interface HeadMenderDependencies {
  readonly table: VolumeTable;
  readonly snapshots: SnapshotTable;
  readonly references: RowReferences;
  readonly host: VolumeHost;
}

/**
 * Between a freeze and the rows that record it, a volume's row names a layer that is frozen, and writes go to a head that
 * no row names. Whatever ended a snapshot there, the head is made the volume's, and the snapshot is none.
 */
export class HeadMender {
  readonly #dependencies: HeadMenderDependencies;

  constructor(dependencies: HeadMenderDependencies) {
    this.#dependencies = dependencies;
  }

  /** The head that a freeze gave the volume and that its row does not name; null: the row is right. */
  unrecordedHead(record: VolumeRecord, layers: readonly LayerSummary[]): LayerSummary | null {
    const { snapshots, references } = this.#dependencies;
    const { layer } = record.row;
    const own = layers.find((summary) => summary.layer === layer);
    if (own?.state !== 'frozen') return null;
    // A snapshot's layer is not this case: those rows come from different days, and nothing here may be guessed.
    if (snapshots.ofVolume(record.id).some(({ row }) => row.layer === layer)) return null;
    const heads = layers.filter(
      (summary) => summary.parent === layer && summary.state === 'head' && !references.namesLayer(summary.layer),
    );
    // The freeze made the first one.
    return heads.sort((a, b) => a.layer - b.layer)[0] ?? null;
  }

  /** Under the volume's mutex. Throws when a row cannot be stored or the layer not be dropped; to be repeated then. */
  async mend(record: VolumeRecord): Promise<void> {
    const { table, host } = this.#dependencies;
    const head = this.unrecordedHead(record, host.layers());
    if (head === null) return;
    const frozen = record.row.layer as LayerId;
    // The note explains the frozen layer to a start that finds it with neither row nor snapshot.
    await stepOf('note head', table.announce(record.id));
    await stepOf('record head', table.change(record, { ...record.row, layer: head.layer }));
    await stepOf('drop frozen layer', host.dropLayer(frozen));
    await stepOf('note head', table.withdraw([record.id]));
  }
}

/** Under what Retries keeps a mending that failed. */
export function mendingSubject(record: VolumeRecord): string {
  return `head of volume ${record.id}`;
}
