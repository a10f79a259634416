import type { KeyNeeds } from '../crypto/recovery.js';
import { decodeJson } from '../meta/json-value.js';
import type { MetaStore } from '../meta/meta-store.js';
import { parseVolumeRow } from '../model/row-shape.js';
import { VOLUME_PREFIX } from './meta-keys.js';
import type { VolumeRecord } from './volume-record.js';
import type { VolumeTable } from './volume-table.js';

/**
 * Who needs a data key: every volume that may have blocks under it, among its own or among those that it shares with
 * another. A key belongs to nobody but its number; it is erased when nobody is left who needs it. A volume that is being
 * deleted needs none: that it goes is decided.
 */
export function volumesNeeding(table: VolumeTable, keyNumber: number): VolumeRecord[] {
  return table.all().filter(({ row }) => row.phase !== 'deleting' && row.dataKeyNumbers.includes(keyNumber));
}

/** The same for a node that is not running, from its records. */
export async function storedKeyNeeds(meta: MetaStore): Promise<KeyNeeds> {
  const { entries, damaged } = await meta.list(VOLUME_PREFIX);
  const numbers = new Set<number>();
  let unreadable = damaged.length;
  for (const entry of entries) {
    try {
      const row = parseVolumeRow(decodeJson(entry), entry.key);
      if (row.phase !== 'deleting') for (const number of row.dataKeyNumbers) numbers.add(number);
    } catch {
      unreadable += 1;
    }
  }
  return { numbers, unreadable };
}
