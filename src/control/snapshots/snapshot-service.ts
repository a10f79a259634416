import type { VolumeRecord } from '../volume-record.js';
import type { SnapshotExporter } from './snapshot-exporter.js';
import type { SnapshotReaders } from './snapshot-readers.js';
import type { SnapshotTable } from './snapshot-table.js';

export interface SnapshotServiceDependencies {
  readonly snapshots: SnapshotTable;
  readonly exporter: SnapshotExporter;
  readonly readers: SnapshotReaders;
}

/** What happens to the snapshots of a volume when something happens to the volume. */
export class SnapshotService {
  readonly #dependencies: SnapshotServiceDependencies;

  constructor(dependencies: SnapshotServiceDependencies) {
    this.#dependencies = dependencies;
  }

  /** Offers those that are exported, when their volume has come into service. Under its mutex. */
  async serve(record: VolumeRecord): Promise<void> {
    const { snapshots, exporter } = this.#dependencies;
    for (const snapshot of snapshots.liveOf(record.id)) await exporter.serve(record, snapshot);
  }

  /** Their volume has another name. */
  offerAgain(record: VolumeRecord): void {
    const { snapshots, exporter } = this.#dependencies;
    for (const snapshot of snapshots.liveOf(record.id)) exporter.offerAgain(record, snapshot);
  }

  countOf(record: VolumeRecord): number {
    return this.#dependencies.snapshots.liveOf(record.id).length;
  }

  /** Takes all of them out of service; rows stay as they are. */
  async close(): Promise<void> {
    await this.#dependencies.exporter.shutDown();
    await this.#dependencies.readers.closeAll();
  }
}
