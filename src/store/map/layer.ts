import { LEAF_BLOCKS } from '../limits.js';
import { LeafFilter } from './leaf-filter.js';
import { LeafIndex } from './leaf-index.js';

/**
 *     head --> frozen --> merging --> merged
 *     head, frozen --> dropped
 *
 * merging: its heir, the only child, is taking over what it still shows. merged and dropped are tombstones: replay must
 * know their ids.
 */
export type LayerState = 'head' | 'frozen' | 'merging' | 'merged' | 'dropped';

/** What is stored of a layer. */
export interface LayerRow {
  readonly id: number;
  /** 0: none. */
  readonly parent: number;
  readonly blockBytes: number;
  readonly sizeBlocks: number;
  /** It shows that many blocks of its parent: its size at birth. What it has grown by since shows zeros. */
  readonly inheritedBlocks: number;
  readonly state: LayerState;
  /** frozen, merging: dropped while others were made from it. It goes by itself once at most one of them is left. */
  readonly hidden: boolean;
  /** merging, merged: the layer that has taken over its blocks; else 0. */
  readonly heir: number;
  /** '' or what made its content unprovable; such a layer is refused. */
  readonly damage: string;
  /** Ordinal of its newest record at the checkpoint. */
  readonly ordinal: number;
}

/** A layer in memory: its row, its cached leaves, and which leaves are stored. */
export class Layer {
  readonly id: number;
  parent: number;
  readonly blockBytes: number;
  sizeBlocks: number;
  inheritedBlocks: number;
  state: LayerState;
  hidden: boolean;
  heir: number;
  damage: string;
  ordinal: number;
  /** Cache row by leaf index: its own entries. */
  readonly leaves = new LeafIndex();
  /** Cache row by leaf index: what it shows. Only layers with a parent have such. */
  readonly views = new LeafIndex();
  readonly filter: LeafFilter;
  /** Blocks that the stored leaves map; exact, it changes in the same commit as they do. */
  storedBlocks = 0;
  /** Blocks mapped now. Entries written over unfetched ones count twice until the stored leaf is merged in. */
  mappedBlocks = 0;
  /** Sequence of the newest published change. */
  newest = 0;

  constructor(row: LayerRow, filter = new LeafFilter()) {
    this.filter = filter;
    this.id = row.id;
    this.parent = row.parent;
    this.blockBytes = row.blockBytes;
    this.sizeBlocks = row.sizeBlocks;
    this.inheritedBlocks = row.inheritedBlocks;
    this.state = row.state;
    this.hidden = row.hidden;
    this.heir = row.heir;
    this.damage = row.damage;
    this.ordinal = row.ordinal;
  }

  /** A new layer; `parent` 0: none. */
  static born(born: Pick<LayerRow, 'id' | 'parent' | 'blockBytes' | 'sizeBlocks'>, filter?: LeafFilter): Layer {
    const inheritedBlocks = born.sizeBlocks;
    return new Layer(
      { ...born, inheritedBlocks, state: 'head', hidden: false, heir: 0, damage: '', ordinal: 0 },
      filter,
    );
  }

  /** Its blocks are nobody's, or another layer's. */
  get gone(): boolean {
    return this.state === 'dropped' || this.state === 'merged';
  }

  row(): LayerRow {
    return {
      id: this.id,
      parent: this.parent,
      blockBytes: this.blockBytes,
      sizeBlocks: this.sizeBlocks,
      inheritedBlocks: this.inheritedBlocks,
      state: this.state,
      hidden: this.hidden,
      heir: this.heir,
      damage: this.damage,
      ordinal: this.ordinal,
    };
  }
}

/** How many entries of a leaf, from its first on, a layer shows of its parent. */
export function inheritedOf(layer: Layer, leaf: number): number {
  return Math.max(0, Math.min(LEAF_BLOCKS, layer.inheritedBlocks - leaf * LEAF_BLOCKS));
}
