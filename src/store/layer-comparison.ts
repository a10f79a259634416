/** What layers hold of their own and show of each other, by walking their maps in slices. */
import type { Engine } from './engine.js';
import { COMPARISON_SLICE_LEAVES, LEAF_BLOCKS } from './limits.js';
import { ABSENT } from './location.js';
import { inheritedOf, type Layer } from './map/layer.js';
import { chainOf, childrenOf } from './map/layer-tree.js';
import { nextSlice } from './map/own-leaves.js';
import { StoreError } from './store-error.js';

export interface BlockUsage {
  /** Blocks of its own that nothing made from it shows. */
  readonly exclusiveBlocks: number;
  /** Blocks that it shows, of its own or of its parents. */
  readonly referencedBlocks: number;
}

export interface BlockRange {
  readonly first: number;
  readonly count: number;
  /** false: zeros. */
  readonly data: boolean;
}

export interface Difference {
  readonly ranges: readonly BlockRange[];
  /** The block to go on with; null: this was all. */
  readonly next: number | null;
}

/** Blocks that a layer takes and shows. Exact when nothing changes meanwhile. Throws StoreError DAMAGED, CLOSED, UNKNOWN_LAYER. */
export async function usageOf(engine: Engine, layer: Layer): Promise<BlockUsage> {
  const { map } = engine;
  const chain = [...chainOf(map.layers, layer)];
  const children = childrenOf(map.layers, layer);
  let exclusiveBlocks = 0;
  let referencedBlocks = 0;
  for await (const leaves of leafSlices(engine, chain, [...chain, ...children], 0)) {
    map.demandOpen();
    demandThere(layer);
    for (const leaf of leaves) {
      for (const entry of map.views.shown(layer, leaf)) if (entry > 0) referencedBlocks += 1;
      const own = map.views.own(layer, leaf)?.slice();
      if (own === undefined) continue;
      // One that was dropped meanwhile hides nothing, and its leaves go piece by piece.
      const hiding = children
        .filter((child) => !child.gone)
        .map((child) => ({
          end: inheritedOf(child, leaf),
          entries: map.views.own(child, leaf)?.slice(),
        }));
      for (let n = 0; n < LEAF_BLOCKS; n += 1) {
        if (own[n] > 0 && hiding.every(({ end, entries }) => n >= end || (entries?.[n] ?? ABSENT) !== ABSENT)) {
          exclusiveBlocks += 1;
        }
      }
    }
  }
  return { exclusiveBlocks, referencedBlocks };
}

/**
 * Blocks of `to` that lie elsewhere than in `from` (null: nothing), from a block on: at most `rangesMax` ranges, and the
 * block to go on with, null at the end. Throws StoreError DAMAGED, CLOSED, UNKNOWN_LAYER, UNRELATED.
 */
export async function differenceOf(
  engine: Engine,
  from: Layer | null,
  to: Layer,
  firstBlock: number,
  rangesMax: number,
): Promise<Difference> {
  const { map } = engine;
  const later = [...chainOf(map.layers, to)];
  const earlier = from === null ? [] : [...chainOf(map.layers, from)];
  if (from !== null && !later.some((layer) => earlier.includes(layer))) {
    const both = `layers ${from.id} and ${to.id} have no history in common`;
    throw new StoreError(
      `${both}: compare layers of one volume, or of a clone and what it was made from; against nothing, all of a layer differs`,
      { code: 'UNRELATED', from: from.id, to: to.id },
    );
  }
  // What both descend from shows in both alike, unless one of the others hides it or was made too small to show it all.
  const either = [...later, ...earlier];
  const isCut = either.some(({ parent, inheritedBlocks }) => {
    const shown = map.layers.get(parent);
    return shown !== undefined && inheritedBlocks < shown.sizeBlocks;
  });
  const apart = isCut ? either : either.filter((layer) => !(later.includes(layer) && earlier.includes(layer)));
  const ranges: { first: number; count: number; data: boolean }[] = [];
  for await (const leaves of leafSlices(engine, apart, [...later, ...earlier], Math.floor(firstBlock / LEAF_BLOCKS))) {
    map.demandOpen();
    demandThere(to);
    if (from !== null) demandThere(from);
    for (const leaf of leaves) {
      const now = map.views.shown(to, leaf);
      const before = from === null ? null : map.views.shown(from, leaf);
      for (let n = 0; n < LEAF_BLOCKS; n += 1) {
        const block = leaf * LEAF_BLOCKS + n;
        if (block < firstBlock || block >= to.sizeBlocks) continue;
        // Zeros are zeros, whether hidden or never written.
        const entry = Math.max(0, now[n]);
        if (entry === Math.max(0, before?.[n] ?? 0)) continue;
        const last = ranges.at(-1);
        if (last !== undefined && last.first + last.count === block && last.data === entry > 0) last.count += 1;
        else if (ranges.length === rangesMax) return { ranges, next: block };
        else ranges.push({ first: block, count: 1, data: entry > 0 });
      }
    }
  }
  return { ranges, next: null };
}

/** What a dropped layer and those below it had stored goes piece by piece. */
function demandThere({ id, gone }: Layer): void {
  if (gone) throw new StoreError(`layer ${id} is not in the store`, { code: 'UNKNOWN_LAYER', layer: id });
}

/** Leaves of which one of `holders` has entries, ascending, slice by slice, with what is stored of them in `readers` at hand. */
export async function* leafSlices(
  engine: Pick<Engine, 'map'>,
  holders: readonly Layer[],
  readers: readonly Layer[],
  fromLeaf: number,
): AsyncGenerator<number[]> {
  const { map } = engine;
  for (let at = fromLeaf; at < Number.POSITIVE_INFINITY;) {
    const slices = holders.map((layer) => nextSlice(layer, at, COMPARISON_SLICE_LEAVES));
    const end = Math.min(...slices.map((slice) => slice.end));
    const found = new Set(slices.flatMap(({ leaves }) => leaves.filter((leaf) => leaf < end)));
    if (found.size === 0) return;
    const leaves = [...found].sort((a, b) => a - b);
    const slice = leaves.slice(0, COMPARISON_SLICE_LEAVES);
    await map.prefetchOwn(readers, slice);
    yield slice;
    at = leaves.at(slice.length) ?? end;
  }
}
