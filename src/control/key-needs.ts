import type { KeyNeeds } from '../crypto/recovery.js';
import { decodeJson } from '../meta/json-value.js';
import type { MetaEntry, MetaStore } from '../meta/meta-store.js';
import { parseSnapshotRow, parseVolumeRow } from '../model/row-shape.js';
import { SNAPSHOT_PREFIX, VOLUME_PREFIX } from './meta-keys.js';
import type { SnapshotTable } from './snapshots/snapshot-table.js';
import type { VolumeTable } from './volume-table.js';

interface NamingTables {
  readonly table: VolumeTable;
  readonly snapshots: SnapshotTable;
}

/**
 * Whether anybody needs a data key: a volume or a snapshot that may have blocks under it, among its own or among those that
 * it shares with others. A key belongs to nobody but its number; it is erased when nobody is left who needs it. What is
 * being deleted needs none: that it goes is decided, and snapshots go with their volume.
 */
export function isKeyNeeded({ table, snapshots }: NamingTables, keyNumber: number): boolean {
  const names = (row: { readonly dataKeyNumbers: readonly number[] }): boolean =>
    row.dataKeyNumbers.includes(keyNumber);
  return (
    table.all().some(({ row }) => row.phase !== 'deleting' && names(row)) ||
    snapshots
      .all()
      .some(({ row }) => row.phase !== 'deleting' && names(row) && table.get(row.volumeId)?.row.phase !== 'deleting')
  );
}

/** The same for a node that is not running, from its records. A snapshot whose volume is being deleted counts here. */
export async function storedKeyNeeds(meta: MetaStore): Promise<KeyNeeds> {
  const volumes = await meta.list(VOLUME_PREFIX);
  const snapshots = await meta.list(SNAPSHOT_PREFIX);
  const numbers = new Set<number>();
  let unreadable = volumes.damaged.length + snapshots.damaged.length;
  const take = (entry: MetaEntry, parse: typeof parseVolumeRow | typeof parseSnapshotRow): void => {
    try {
      const row = parse(decodeJson(entry), entry.key);
      if (row.phase !== 'deleting') for (const number of row.dataKeyNumbers) numbers.add(number);
    } catch {
      unreadable += 1;
    }
  };
  for (const entry of volumes.entries) take(entry, parseVolumeRow);
  for (const entry of snapshots.entries) take(entry, parseSnapshotRow);
  return { numbers, unreadable };
}
