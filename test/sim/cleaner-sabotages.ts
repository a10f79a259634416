import { SegmentTable } from '../../src/store/journal/segment-table.js';
import { LayerViews } from '../../src/store/map/layer-views.js';
import { replaced } from './sabotage-tools.js';
import type { Sabotage } from './simulated-machine.js';

/** Deliberate mistakes in what the cleaner does and in what it relies on. */
export const CLEANER_SABOTAGES: readonly Sabotage[] = [
  {
    name: 'the cleaner frees a segment before the map is durable without it',
    caughtBy: 269,
    install: () =>
      replaced(
        SegmentTable.prototype,
        'setLive',
        (real) =>
          function (this: SegmentTable, slot, bytes) {
            real.call(this, slot, bytes);
            if (bytes === 0) this.free(slot);
          },
      ),
  },
  {
    name: 'what a child shows is not changed when a block moves',
    caughtBy: 14,
    install: () => replaced(LayerViews.prototype, 'moved', () => () => undefined),
  },
];
