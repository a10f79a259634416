/**
 * Keys of the map's database. One prefix byte names the kind; numbers are big-endian, so that byte order is numeric order.
 *
 *   0                        the checkpoint
 *   1 layer(6)               a layer of the tree
 *   2 slot(4)                a segment
 *   3 layer(6) chunk(5)      filter bits: which leaves of the layer are stored
 *   4 layer(6) leaf(5)       a leaf
 *   5 layer(6)               blocks that the stored leaves of the layer map
 */
const CHECKPOINT = 0;
const LAYER = 1;
const SEGMENT = 2;
const FILTER = 3;
const LEAF = 4;
const COUNT = 5;

export const CHECKPOINT_KEY = Uint8Array.of(CHECKPOINT);

export interface KeyRange {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

export const LAYER_KEYS: KeyRange = { from: Uint8Array.of(LAYER), to: Uint8Array.of(LAYER + 1) };
export const SEGMENT_KEYS: KeyRange = { from: Uint8Array.of(SEGMENT), to: Uint8Array.of(SEGMENT + 1) };
export const FILTER_KEYS: KeyRange = { from: Uint8Array.of(FILTER), to: Uint8Array.of(FILTER + 1) };
export const LEAF_KEYS: KeyRange = { from: Uint8Array.of(LEAF), to: Uint8Array.of(LEAF + 1) };
export const COUNT_KEYS: KeyRange = { from: Uint8Array.of(COUNT), to: Uint8Array.of(COUNT + 1) };

function putBig(bytes: Uint8Array, at: number, width: number, value: number): void {
  let rest = value;
  for (let n = at + width - 1; n >= at; n -= 1) {
    bytes[n] = rest % 256;
    rest = Math.floor(rest / 256);
  }
}

function getBig(bytes: Uint8Array, at: number, width: number): number {
  let value = 0;
  for (let n = at; n < at + width; n += 1) value = value * 256 + bytes[n];
  return value;
}

function layered(kind: number, layer: number): Uint8Array {
  const key = new Uint8Array(7);
  key[0] = kind;
  putBig(key, 1, 6, layer);
  return key;
}

function indexed(kind: number, layer: number, index: number): Uint8Array {
  const key = new Uint8Array(12);
  key[0] = kind;
  putBig(key, 1, 6, layer);
  putBig(key, 7, 5, index);
  return key;
}

export const layerKey = (layer: number): Uint8Array => layered(LAYER, layer);
export const countKey = (layer: number): Uint8Array => layered(COUNT, layer);
export const leafKey = (layer: number, leaf: number): Uint8Array => indexed(LEAF, layer, leaf);
export const filterKey = (layer: number, chunk: number): Uint8Array => indexed(FILTER, layer, chunk);

export function segmentKey(slot: number): Uint8Array {
  const key = new Uint8Array(5);
  key[0] = SEGMENT;
  putBig(key, 1, 4, slot);
  return key;
}

/** The keys of all leaves of one layer. */
export function leavesOf(layer: number): KeyRange {
  return { from: layered(LEAF, layer), to: layered(LEAF, layer + 1) };
}

/** The keys of all filter chunks of one layer. */
export function filtersOf(layer: number): KeyRange {
  return { from: layered(FILTER, layer), to: layered(FILTER, layer + 1) };
}

export const layerOfKey = (key: Uint8Array): number => getBig(key, 1, 6);
export const indexOfKey = (key: Uint8Array): number => getBig(key, 7, 5);
