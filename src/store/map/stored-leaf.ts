import { StoreError } from '../store-error.js';
import { decodeLeaf, mappedIn } from './leaf-codec.js';
import { leafKey } from './map-keys.js';
import type { MapRows } from './map-rows.js';

/**
 * Decodes a stored leaf, which must be there, into the 128 entries at `base`, and returns how many of them are locations.
 * Throws StoreError DAMAGED; the entries are then of no use.
 */
export function readLeaf(rows: MapRows, layer: number, leaf: number, entries: Float64Array, base: number): number {
  const subject = `layer ${layer}`;
  const bytes = rows.get(leafKey(layer, leaf));
  if (bytes === null) throw new StoreError(`leaf ${leaf} of ${subject} is missing`, { code: 'DAMAGED', subject });
  if (decodeLeaf(bytes, entries, base)) return mappedIn(bytes);
  throw new StoreError(`leaf ${leaf} of ${subject} is not readable`, { code: 'DAMAGED', subject });
}
