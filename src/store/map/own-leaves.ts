import { FILTER_LEAVES, SLICE_SPAN_LEAVES } from '../limits.js';
import type { Layer } from './layer.js';
import type { LeafFilter } from './leaf-filter.js';
import type { LeafIndex } from './leaf-index.js';

/** Leaves that one step of a walk deals with. */
export interface LeafSlice {
  /** Ascending. */
  readonly leaves: readonly number[];
  /** The leaf to go on with; Infinity: nothing comes after. */
  readonly end: number;
}

/** Leaves from `from` to before `end` that a layer has entries of, stored or in memory, ascending. None may come or go meanwhile. */
export function* ownLeaves({ filter, leaves }: Layer, from: number, end: number): Generator<number> {
  const chunks = new Set<number>();
  for (const chunk of [...filter.chunks(), ...leaves.chunks()]) {
    if ((chunk + 1) * FILTER_LEAVES > from && chunk * FILTER_LEAVES < end) chunks.add(chunk);
  }
  for (const chunk of [...chunks].sort((a, b) => a - b)) {
    const first = Math.max(from, chunk * FILTER_LEAVES);
    const found = leaves.hasChunkOf(first) ? leavesOfEither(filter, leaves, first) : filter.leavesIn(chunk, first);
    for (const leaf of found) {
      if (leaf >= end) return;
      yield leaf;
    }
  }
}

/** From a leaf to the end of its chunk. */
function* leavesOfEither(filter: LeafFilter, leaves: LeafIndex, from: number): Generator<number> {
  const stop = (Math.floor(from / FILTER_LEAVES) + 1) * FILTER_LEAVES;
  for (let leaf = from; leaf < stop; leaf += 1) if (filter.has(leaf) || leaves.has(leaf)) yield leaf;
}

/** The next `leavesMax` leaves from `from` on, or those of them that lie near the first: to look far takes long. */
export function nextSlice(layer: Layer, from: number, leavesMax: number): LeafSlice {
  const leaves: number[] = [];
  for (const leaf of ownLeaves(layer, from, Number.POSITIVE_INFINITY)) {
    if (leaves.length === leavesMax || leaf - (leaves[0] ?? leaf) >= SLICE_SPAN_LEAVES) return { leaves, end: leaf };
    leaves.push(leaf);
  }
  return { leaves, end: Number.POSITIVE_INFINITY };
}
