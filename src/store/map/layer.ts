import { LeafFilter } from './leaf-filter.js';
import { LeafIndex } from './leaf-index.js';

export type LayerState = 'head' | 'frozen' | 'dropped';

/** What is stored of a layer. A dropped one stays as a tombstone: replay must know its id. */
export interface LayerRow {
  readonly id: number;
  /** 0: none. */
  readonly parent: number;
  readonly blockBytes: number;
  readonly sizeBlocks: number;
  readonly state: LayerState;
  /** '' or what made its content unprovable; such a layer is refused. */
  readonly damage: string;
  /** Ordinal of its newest record at the checkpoint. */
  readonly ordinal: number;
}

/** A layer in memory: its row, its cached leaves, and which leaves are stored. */
export class Layer {
  readonly id: number;
  readonly parent: number;
  readonly blockBytes: number;
  sizeBlocks: number;
  state: LayerState;
  damage: string;
  ordinal: number;
  /** Cache row by leaf index. */
  readonly leaves = new LeafIndex();
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
    this.state = row.state;
    this.damage = row.damage;
    this.ordinal = row.ordinal;
  }

  row(): LayerRow {
    return {
      id: this.id,
      parent: this.parent,
      blockBytes: this.blockBytes,
      sizeBlocks: this.sizeBlocks,
      state: this.state,
      damage: this.damage,
      ordinal: this.ordinal,
    };
  }
}
