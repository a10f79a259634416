import { assert } from '../../base/assert.js';
import { messageOf } from '../../base/errors.js';
import { decodeJson, encodeJson } from '../../meta/json-value.js';
import type { MetaStore } from '../../meta/meta-store.js';
import { parseSnapshotRow } from '../../model/row-shape.js';
import type { SnapshotRow } from '../../model/snapshot-row.js';
import type { LayerId } from '../../volume/volume-host.js';
import { ControlError } from '../control-error.js';
import { ROWS_PER_TRANSACTION, SNAPSHOTS_MAX, SNAPSHOTS_PER_VOLUME_MAX } from '../limits.js';
import { SNAPSHOT_PREFIX, snapshotKey } from '../meta-keys.js';
import type { Beside, LostRow } from '../volume-table.js';
import { SnapshotRecord } from './snapshot-record.js';

/** The rows of all snapshots, in memory as they are in the MetaStore. */
export class SnapshotTable {
  readonly #meta: MetaStore;
  readonly #records = new Map<string, SnapshotRecord>();
  readonly #byVolume = new Map<string, SnapshotRecord[]>();
  #lost: readonly LostRow[] = [];

  constructor({ meta }: { meta: MetaStore }) {
    this.#meta = meta;
  }

  /** Rows that are there and cannot be read. */
  get lost(): readonly LostRow[] {
    return this.#lost;
  }

  async load(): Promise<void> {
    const rows = await this.#meta.list(SNAPSHOT_PREFIX);
    const lost: LostRow[] = rows.damaged.map((key) => ({ key, reason: 'its checksum does not match' }));
    for (const entry of rows.entries) {
      try {
        this.#add(new SnapshotRecord(parseSnapshotRow(decodeJson(entry), entry.key), entry.revision));
      } catch (thrown) {
        lost.push({ key: entry.key, reason: messageOf(thrown) });
      }
    }
    this.#lost = lost;
  }

  all(): SnapshotRecord[] {
    return [...this.#records.values()];
  }

  get(id: string): SnapshotRecord | undefined {
    return this.#records.get(id);
  }

  /** Those of one volume, in the order in which they were taken, deleted ones that are not gone yet included. */
  ofVolume(volumeId: string): readonly SnapshotRecord[] {
    return this.#byVolume.get(volumeId) ?? [];
  }

  liveOf(volumeId: string): SnapshotRecord[] {
    return this.ofVolume(volumeId).filter(({ row }) => row.phase === 'live');
  }

  /** Layers of the snapshots of a volume that are live. */
  layersOf(volumeId: string): LayerId[] {
    return this.liveOf(volumeId).map(({ row }) => row.layer as LayerId);
  }

  /** Name of the live snapshot that has this layer, without its volume; '' for none. */
  nameOf(layer: LayerId): string {
    return this.all().find(({ row }) => row.layer === layer && row.phase === 'live')?.row.name ?? '';
  }

  /** The live snapshot of that name. */
  named(volumeId: string, name: string): SnapshotRecord | undefined {
    return this.liveOf(volumeId).find(({ row }) => row.name === name);
  }

  /** Throws FULL when a volume, or the node, has as many as are kept. */
  checkRoom(volumeId: string, volumeName: string): void {
    if (this.ofVolume(volumeId).length >= SNAPSHOTS_PER_VOLUME_MAX) {
      throw new ControlError(
        `volume ${volumeName} has ${SNAPSHOTS_PER_VOLUME_MAX} snapshots, more are not kept; delete some`,
        { code: 'FULL' },
      );
    }
    if (this.#records.size >= SNAPSHOTS_MAX) {
      throw new ControlError(`this node has ${SNAPSHOTS_MAX} snapshots, more are not kept; delete some`, {
        code: 'FULL',
      });
    }
  }

  /** What makes new rows durable, to stand beside the rows of their volumes in one transaction. */
  insertion(rows: readonly SnapshotRow[]): Beside {
    return {
      compare: rows.map(({ id }) => ({ key: snapshotKey(id), revision: 0 })),
      set: rows.map((row) => ({ key: snapshotKey(row.id), value: encodeJson(row) })),
    };
  }

  /** That transaction, of that revision, was committed. */
  inserted(rows: readonly SnapshotRow[], revision: number): SnapshotRecord[] {
    return rows.map((row) => {
      const record = new SnapshotRecord(row, revision);
      this.#add(record);
      return record;
    });
  }

  async change(record: SnapshotRecord, next: SnapshotRow): Promise<void> {
    const outcome = await this.#meta.transaction({
      compare: [{ key: snapshotKey(record.id), revision: record.revision }],
      set: [{ key: snapshotKey(record.id), value: encodeJson(next) }],
    });
    if (!outcome.committed) {
      throw new ControlError(`the row of snapshot ${record.row.name} was changed by someone else; try again`, {
        code: 'FAILED',
        step: 'change snapshot',
      });
    }
    record.stored(next, outcome.revision);
  }

  /** Removes the rows of snapshots whose layers nobody needs a name for any more. */
  async remove(records: readonly SnapshotRecord[]): Promise<void> {
    for (let at = 0; at < records.length; at += ROWS_PER_TRANSACTION) {
      const batch = records.slice(at, at + ROWS_PER_TRANSACTION);
      await this.#meta.transaction({ delete: batch.map(({ id }) => snapshotKey(id)) });
      for (const record of batch) this.#forget(record);
    }
  }

  #add(record: SnapshotRecord): void {
    assert(!this.#records.has(record.id), 'a snapshot is added once');
    this.#records.set(record.id, record);
    const list = this.#byVolume.get(record.row.volumeId) ?? [];
    // Layer numbers only grow, whatever the wall clock does.
    list.push(record);
    list.sort((a, b) => a.row.layer - b.row.layer);
    this.#byVolume.set(record.row.volumeId, list);
  }

  #forget(record: SnapshotRecord): void {
    this.#records.delete(record.id);
    const left = this.ofVolume(record.row.volumeId).filter((other) => other !== record);
    if (left.length === 0) this.#byVolume.delete(record.row.volumeId);
    else this.#byVolume.set(record.row.volumeId, left);
  }
}
