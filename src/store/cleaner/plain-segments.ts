import { viewOf } from '../../base/bytes.js';
import type { Checksums } from '../../io/block-keys.js';
import type { Files } from '../../io/files.js';
import { BLOCK } from '../../io/record-layout.js';
import { PLAIN_KEY_NUMBER } from '../../io/block-keys.js';
import type { Engine } from '../engine.js';
import type { SegmentRow } from '../journal/segment-table.js';
import { CLEANER_VICTIMS_MAX, PAGE_BYTES } from '../limits.js';
import { chainOf, standingOf } from '../map/layer-tree.js';
import { StoreError } from '../store-error.js';
import type { Cleaner } from './cleaner.js';
import { VictimScan } from './victim-scan.js';

export interface PlainSegmentsDependencies {
  readonly files: Files;
  readonly checksums: Checksums;
  readonly engine: Engine;
  readonly cleaner: Cleaner;
  /** Has the journal go on in another segment. */
  readonly leaveSegment: () => Promise<void>;
  /** Layers of the volume, as the resealer asks for them. */
  readonly own: () => ReadonlySet<number>;
  /** Throws when there is to be no more of it. */
  readonly demand: () => void;
}

/**
 * Takes the blocks that a volume wrote without encryption off the disk, dead ones too, once none of them is live:
 *
 *   1. Files that are kept for reuse go, and none is kept meanwhile.
 *   2. The journal and the streams beside it go on in segments whose files are new.
 *   3. Every older segment that holds such blocks is emptied of what lives in it, and its file is removed. Of the others what
 *      lies behind their records goes, which is of an earlier use.
 */
export class PlainSegments {
  readonly #io: PlainSegmentsDependencies;
  readonly #scan: VictimScan;

  constructor(dependencies: PlainSegmentsDependencies) {
    this.#io = dependencies;
    const { files, checksums, engine } = dependencies;
    this.#scan = new VictimScan({ files, checksums, segmentFiles: engine.segmentFiles, table: engine.table });
  }

  /** Resolves to how many segments are left that may hold such blocks: they cannot be read to their end. Throws StoreError. */
  async discard(): Promise<number> {
    const { engine, cleaner, leaveSegment, demand } = this.#io;
    const { pool, checkpointer } = engine;
    try {
      await cleaner.alone(async () => {
        await cleaner.leaveSegments();
        await pool.discard();
      });
      await leaveSegment();
      await checkpointer.run();
      const older = this.#olderSegments();
      const held: SegmentRow[] = [];
      for (const row of older) {
        demand();
        // One at a time: the cleaner takes its turns between.
        if (await cleaner.alone(() => this.#isHeld(row))) held.push(row);
      }
      for (let at = 0; at < held.length; at += CLEANER_VICTIMS_MAX) {
        demand();
        const part = held.slice(at, at + CLEANER_VICTIMS_MAX);
        if (await cleaner.alone(() => cleaner.discard(part))) continue;
        await cleaner.makeRoom();
        if (await cleaner.alone(() => cleaner.discard(part))) continue;
        throw new StoreError('the disk is too full to move what lives beside old blocks', { code: 'FULL' });
      }
      return held.filter((row) => this.#isThere(row)).length;
    } finally {
      pool.recycle();
    }
  }

  /** Every segment in use but the ones that are open for appends. */
  #olderSegments(): SegmentRow[] {
    const { table, journal } = this.#io.engine;
    return [...table.rows()].filter(
      ({ slot, state }) =>
        (state === 'chain' || state === 'cold') && slot !== journal.position.slot && !this.#io.cleaner.isOpen(slot),
    );
  }

  #isThere({ slot, generation }: SegmentRow): boolean {
    const { table } = this.#io.engine;
    if (table.generations[slot] !== generation) return false;
    return table.state(slot) === 'chain' || table.state(slot) === 'cold';
  }

  /** Whether a segment holds such blocks, or may: it cannot be read to its end. One that does not gives back what is behind. */
  async #isHeld(row: SegmentRow): Promise<boolean> {
    if (!this.#isThere(row)) return false;
    // Nothing says where its records end. One beside the chain holds nothing that is published, and goes.
    if (row.usedBytes === 0) return true;
    const { files, engine } = this.#io;
    const { map, segmentFiles } = engine;
    const shown = new Set<number>();
    for (const id of this.#io.own()) {
      const layer = map.layers.get(id);
      if (layer !== undefined) for (const each of chainOf(map.layers, layer)) shown.add(each.id);
    }
    const isWhole = await this.#scan.run(row.slot, ({ layer, count, places }, bytes) => {
      if (!this.#concerns(layer, shown)) return Promise.resolve(true);
      const view = viewOf(bytes);
      for (let n = 0; n < count; n += 1) {
        if (view.getUint32(places[n] + BLOCK.KEY_NUMBER_AT, true) === PLAIN_KEY_NUMBER) return Promise.resolve(false);
      }
      return Promise.resolve(true);
    });
    if (!isWhole) return true;
    const file = await segmentFiles.openIfThere(row.slot);
    if (file === null) return false;
    const from = Math.ceil(row.usedBytes / PAGE_BYTES) * PAGE_BYTES;
    const size = await files.sizeBytes(file);
    if (size > from) await files.truncate(file, from);
    return false;
  }

  /** Whether the blocks of a layer were the volume's. Those of one that is gone may have been. */
  #concerns(id: number, shown: ReadonlySet<number>): boolean {
    const { layers } = this.#io.engine.map;
    const layer = standingOf(layers, id);
    return layer === undefined || layer.gone || shown.has(layer.id);
  }
}
