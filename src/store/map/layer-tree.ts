/** Who descends from whom. Few layers and rare questions: each is answered by a walk over all of them. */
import { StoreError } from '../store-error.js';
import type { Layer } from './layer.js';

type Layers = ReadonlyMap<number, Layer>;

/** The layers that were made from this one and are still there. */
export function childrenOf(layers: Layers, layer: Layer): Layer[] {
  return [...layers.values()].filter((each) => each.parent === layer.id && !each.gone);
}

/** Refuses a layer, and with it everything that shows its blocks. */
export function refuseWithDescendants(layers: Layers, layer: Layer, damage: string): void {
  if (layer.damage === '') layer.damage = damage;
  for (const child of childrenOf(layers, layer)) refuseWithDescendants(layers, child, damage);
}

/** The layer itself and those below it, nearest first: the order in which a block is looked for. */
export function* chainOf(layers: Layers, layer: Layer): Generator<Layer> {
  for (let each: Layer | undefined = layer; each !== undefined; each = layers.get(each.parent)) yield each;
}

/** Layers that show this one and are somebody's (not hidden), but none of `own`. */
export function strangersOf(layers: Layers, layer: Layer, own: ReadonlySet<number>): Layer[] {
  const found: Layer[] = [];
  for (const each of layers.values()) {
    if (each.gone || each.hidden || own.has(each.id)) continue;
    for (const below of chainOf(layers, each)) {
      if (below !== layer) continue;
      found.push(each);
      break;
    }
  }
  return found;
}

/** The layer of an id, hidden or not. Throws StoreError UNKNOWN_LAYER. */
export function presentLayer(layers: Layers, id: number): Layer {
  const layer = layers.get(id);
  if (layer === undefined || layer.gone) throw unknownLayer(id);
  return layer;
}

/** The layer of an id, that is somebody's. Throws StoreError UNKNOWN_LAYER. */
export function shownLayer(layers: Layers, id: number): Layer {
  const layer = presentLayer(layers, id);
  if (layer.hidden) throw unknownLayer(id);
  return layer;
}

function unknownLayer(id: number): StoreError {
  return new StoreError(`layer ${id} is not in the store`, { code: 'UNKNOWN_LAYER', layer: id });
}

/** The layer of an id, or the one that has taken over its blocks; undefined: none is known. */
export function standingOf(layers: Layers, id: number): Layer | undefined {
  let layer = layers.get(id);
  while (layer?.state === 'merged') layer = layers.get(layer.heir);
  return layer;
}

/** Whose entries may name the blocks that the journal says were written to a layer: it, its heir, or nobody. */
export function holdersOf(layers: Layers, id: number): Layer[] {
  const layer = standingOf(layers, id);
  if (layer === undefined || layer.gone) return [];
  const heir = layer.state === 'merging' ? layers.get(layer.heir) : undefined;
  return heir === undefined || heir.gone ? [layer] : [layer, heir];
}

/**
 * Hidden layers that one child alone is made from, with that child. A child that is itself being merged is left alone until
 * it is, and so is one that takes over somebody else: what is moved must not move on meanwhile.
 */
export function mergeable(layers: Layers): { layer: Layer; heir: Layer }[] {
  const heirs = new Set<number>();
  for (const layer of layers.values()) if (layer.state === 'merging') heirs.add(layer.heir);
  const found: { layer: Layer; heir: Layer }[] = [];
  for (const layer of layers.values()) {
    if (!layer.hidden || layer.state !== 'frozen' || layer.damage !== '' || heirs.has(layer.id)) continue;
    const children = childrenOf(layers, layer);
    if (children.length !== 1) continue;
    const [heir] = children;
    if (heir.state === 'merging' || heirs.has(heir.id)) continue;
    found.push({ layer, heir });
  }
  return found;
}

/**
 * A merge to go on with; undefined: none. A start may find many of them, when the journal tells of merges that were over
 * before a crash: each waits until its heir stands right above it, and until it has taken over itself what it was to. One
 * whose heir is lost in damaged journal, or that is refused, stays as it is.
 */
export function finishable(layers: Layers): Layer | undefined {
  const merging = [...layers.values()].filter((layer) => layer.state === 'merging');
  return merging.find((layer) => {
    const heir = layers.get(layer.heir);
    if (heir === undefined || heir.gone || heir.parent !== layer.id || layer.damage !== '') return false;
    return merging.every((other) => other.heir !== layer.id);
  });
}
