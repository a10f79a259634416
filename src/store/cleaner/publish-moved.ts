import type { Clock } from '../../base/clock.js';
import type { Checkpointer } from '../checkpointer.js';
import { CLEANER_PUBLISH_LEAVES } from '../limits.js';
import type { BlockMap } from '../map/block-map.js';
import { holdersOf } from '../map/layer-tree.js';
import type { LeafMoves } from '../map/leaf-moves.js';
import type { MovedBlocks } from '../map/moved-blocks.js';

export interface PublishDependencies {
  readonly map: BlockMap;
  readonly moves: LeafMoves;
  readonly checkpointer: Checkpointer;
  readonly clock: Clock;
}

/**
 * Publishes where blocks lie now, a slice of leaves in each turn of the event loop: what is still where it was when it was
 * copied. The copies are durable. `published` is told of each leaf how many of its blocks, out of how many; `isEnded` is asked
 * before each slice. Throws StoreError CLOSED, DAMAGED.
 */
export async function publishMoved(
  { map, moves, checkpointer, clock }: PublishDependencies,
  moved: MovedBlocks,
  told: { isEnded: () => boolean; published: (leaf: number, blocks: number, of: number) => void },
): Promise<void> {
  for (const [id, leaves] of moved.byLeaf()) {
    for (let at = 0; at < leaves.length && !told.isEnded(); at += CLEANER_PUBLISH_LEAVES) {
      const slice = leaves.slice(at, at + CLEANER_PUBLISH_LEAVES);
      if (map.dirtyLeaves > map.dirtyLeavesMax / 2) await checkpointer.run();
      for (const holder of holdersOf(map.layers, id)) {
        const cold = slice.filter(({ leaf }) => moves.isCold(holder, leaf)).map(({ leaf }) => leaf);
        if (cold.length > 0) await map.prefetchOwn([holder], cold);
      }
      map.demandOpen();
      // Asked again: the layer may have been merged, dropped or written to meanwhile.
      const holders = holdersOf(map.layers, id);
      for (const { leaf, places } of slice) {
        let blocks = 0;
        for (const holder of holders) blocks += moves.relocate(holder, leaf, moved, places);
        told.published(leaf, blocks, places.length);
      }
      await new Promise<void>((resolve) => {
        clock.endOfTurn(resolve);
      });
    }
  }
}
