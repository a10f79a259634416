import type { SegmentTable } from './journal/segment-table.js';
import type { LiveChange } from './map/block-map.js';

/** Keeps the live bytes of segments as the map changes. They are hints: a crash leaves what was not checkpointed. */
export class LiveBytes {
  readonly table: SegmentTable;
  /** Told of each change as well. */
  watcher: LiveChange | null = null;

  constructor(table: SegmentTable) {
    this.table = table;
  }

  readonly change: LiveChange = (slot, bytes, layer, leaf) => {
    this.table.addLive(slot, bytes);
    this.watcher?.(slot, bytes, layer, leaf);
  };
}
