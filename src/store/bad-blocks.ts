/** What of the damage that scrubs have found is damage still. */
import type { ScrubStore, BadBlocks } from './scrub.js';
import { LEAF_BLOCKS } from './limits.js';
import { offsetUnitsOf, slotOf, WHOLE_STORED_UNITS } from './location.js';
import type { Layer } from './map/layer.js';
import { StoreError } from './store-error.js';

/**
 * Those of the blocks that their layer's map still names where they were found damaged: what was overwritten, trimmed or
 * moved, or whose layer is gone, is clean. A run that is damaged in parts comes back in parts. Throws StoreError CLOSED.
 */
export async function stillNamed(store: ScrubStore, found: readonly BadBlocks[]): Promise<BadBlocks[]> {
  const left: BadBlocks[] = [];
  for (const bad of found) {
    const layer = store.map.layers.get(bad.layer);
    if (layer === undefined || layer.gone) continue;
    await store.map.prefetchOwn([layer], leavesOf(bad));
    left.push(...namedPartsOf(store, layer, bad));
  }
  return left;
}

/** Whether `head` shows any of the blocks; a leaf that cannot be read may be one of them. */
export function isShown(store: ScrubStore, head: Layer, bad: BadBlocks): boolean {
  for (let n = 0; n < bad.blocks; n += 1) {
    const block = bad.firstBlock + n;
    try {
      const shown = store.map.views.shown(head, Math.floor(block / LEAF_BLOCKS))[block % LEAF_BLOCKS];
      if (bad.slot >= 0 && isAt(shown, bad, n, head.blockBytes)) return true;
    } catch (thrown) {
      if (thrown instanceof StoreError && thrown.code === 'DAMAGED') return true;
      throw thrown;
    }
  }
  return false;
}

function leavesOf({ firstBlock, blocks }: BadBlocks): number[] {
  const leaves: number[] = [];
  for (let leaf = Math.floor(firstBlock / LEAF_BLOCKS); leaf * LEAF_BLOCKS < firstBlock + blocks; leaf += 1)
    leaves.push(leaf);
  return leaves;
}

function namedPartsOf(store: ScrubStore, layer: Layer, bad: BadBlocks): BadBlocks[] {
  const parts: BadBlocks[] = [];
  const stepBytes = (layer.blockBytes / 64) * WHOLE_STORED_UNITS;
  const reused = bad.slot >= 0 && store.table.generations[bad.slot] !== bad.generation;
  if (reused) return [];
  let from = -1;
  for (let n = 0; n <= bad.blocks; n += 1) {
    const named = n < bad.blocks && isNamed(store, layer, bad, n);
    if (named && from < 0) from = n;
    if (named || from < 0) continue;
    const fileOffset = bad.slot < 0 ? -1 : bad.fileOffset + from * stepBytes;
    parts.push({ ...bad, firstBlock: bad.firstBlock + from, blocks: n - from, fileOffset });
    from = -1;
  }
  return parts;
}

function isNamed({ map }: ScrubStore, layer: Layer, bad: BadBlocks, n: number): boolean {
  const block = bad.firstBlock + n;
  try {
    const own = map.views.own(layer, Math.floor(block / LEAF_BLOCKS));
    return bad.slot >= 0 && own !== null && isAt(own[block % LEAF_BLOCKS], bad, n, layer.blockBytes);
  } catch (thrown) {
    // The map's own damage is damage until it can be read.
    if (thrown instanceof StoreError && thrown.code === 'DAMAGED') return true;
    throw thrown;
  }
}

/** Whether a location is that of block `n` of the run. */
function isAt(location: number, bad: BadBlocks, n: number, blockBytes: number): boolean {
  if (location <= 0 || slotOf(location) !== bad.slot) return false;
  const unit = blockBytes / 64;
  return offsetUnitsOf(location) * unit === bad.fileOffset + n * unit * WHOLE_STORED_UNITS;
}
