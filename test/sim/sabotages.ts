/**
 * Deliberate mistakes, each of which the simulation must catch. Where it can be, a mistake is made in the world around the
 * store: a disk that lies, randomness that repeats. The rest is put into the store's classes for the time of one run.
 */
import { crc32c } from '../../src/base/crc32c.js';
import type { Files } from '../../src/io/files.js';
import { SealBatch } from '../../src/io/seal-batch.js';
import { AppendBatch } from '../../src/store/journal/append-batch.js';
import { RecordKind } from '../../src/store/journal/record.js';
import { Journal } from '../../src/store/journal/journal.js';
import { SegmentTable } from '../../src/store/journal/segment-table.js';
import { Checkpointer } from '../../src/store/checkpointer.js';
import { Head } from '../../src/store/head.js';
import { LeafWriter } from '../../src/store/leaf-writer.js';
import { ABSENT, HOLE } from '../../src/store/location.js';
import { BlockMap } from '../../src/store/map/block-map.js';
import { LeafMoves } from '../../src/store/map/leaf-moves.js';
import { LayerViews } from '../../src/store/map/layer-views.js';
import type { MapChange, MapEnvironment } from '../../src/store/map/map-environment.js';
import { LEAF_KEYS } from '../../src/store/map/map-keys.js';
import { Replay } from '../../src/store/replay.js';
import { Store } from '../../src/store/store.js';
import { WriteQueue } from '../../src/store/write-queue.js';
import { RangeLock } from '../../src/volume/range-lock.js';
import { CLEANER_SABOTAGES } from './cleaner-sabotages.js';
import { KEY_SABOTAGES } from './key-sabotages.js';
import { altered, replaced } from './sabotage-tools.js';
import type { Sabotage } from './simulated-machine.js';

const inBackground = (work: Promise<unknown>): Promise<void> => {
  work.catch(() => undefined);
  return Promise.resolve();
};

const SEGMENT_HEADER_BYTES = 4096;
/** Of a leaf's key: behind its kind and its layer. */
const LEAF_INDEX_AT = 7;

export const SABOTAGES: readonly Sabotage[] = [
  ...CLEANER_SABOTAGES,
  ...KEY_SABOTAGES,
  {
    name: 'fdatasync does nothing',
    caughtBy: 1,
    files: (files) => altered<Files>(files, { sync: () => Promise.resolve() }),
  },
  {
    name: 'a failed fdatasync is ignored',
    caughtBy: 1,
    files: (files) => altered<Files>(files, { sync: (file) => files.sync(file).catch(() => undefined) }),
  },
  {
    name: 'fdatasync is answered before it has ended',
    caughtBy: 1,
    files: (files) => altered<Files>(files, { sync: (file) => inBackground(files.sync(file)) }),
  },
  {
    name: 'a directory sync does nothing',
    caughtBy: 1,
    files: (files) => altered<Files>(files, { syncDirectory: () => Promise.resolve() }),
  },
  {
    name: 'a page that cannot be read counts as zeros',
    caughtBy: 4,
    files: (files) =>
      altered<Files>(files, {
        read: (file, offset, into, intoOffset, length) =>
          files.read(file, offset, into, intoOffset, length).catch(() => {
            into.fill(0, intoOffset, intoOffset + length);
            return length;
          }),
      }),
  },
  {
    name: 'recovery does not sync what it has replayed',
    caughtBy: 6,
    files: (files, opening) =>
      altered<Files>(files, { sync: (file) => (opening() ? Promise.resolve() : files.sync(file)) }),
  },
  {
    name: 'a failed append counts as done',
    caughtBy: 4,
    files: (files) =>
      altered<Files>(files, {
        appendNow: (file, offset, batch) => Math.max(0, files.appendNow(file, offset, batch)),
        appendLater: (file, offset, batch, done) => files.appendLater(file, offset, batch, () => done(0)),
      }),
  },
  {
    name: 'a write is acknowledged before its append',
    caughtBy: 1,
    files: (files) =>
      altered<Files>(files, {
        appendNow: (file, offset, batch) => {
          const copy = Object.assign(new SealBatch(), structuredClone(batch));
          setImmediate(() => files.appendNow(file, offset, copy));
          return 0;
        },
      }),
  },
  {
    name: 'the cut of a segment is written as its end, and its tail is kept',
    caughtBy: 4,
    files: (files) =>
      altered<Files>(files, {
        write: (file, offset, bytes) => {
          if (offset === 0 && bytes.length === SEGMENT_HEADER_BYTES) forgetCut(bytes);
          return files.write(file, offset, bytes);
        },
        punch: () => Promise.resolve(),
      }),
  },
  { name: 'no checksum is compared', caughtBy: 2, checksums: (real) => altered(real, { crc32c: () => 0 }) },
  { name: 'every block counts as zeros', caughtBy: 1, checksums: (real) => altered(real, { isZero: () => true }) },
  {
    name: 'the salt of a session repeats',
    caughtBy: 1,
    random: (real) => ({ bytes: (count) => (count === 16 ? new Uint8Array(16).fill(5) : real.bytes(count)) }),
  },
  { name: 'the generation of a block is not compared', caughtBy: 203, anyGeneration: true },
  {
    name: 'a commit of the map is answered before it has happened',
    caughtBy: 1,
    environment: (environment) =>
      altered<MapEnvironment>(environment, { commit: (changes) => inBackground(environment.commit(changes)) }),
  },
  {
    name: 'a commit of the map is two',
    caughtBy: 2,
    environment: (environment) =>
      altered<MapEnvironment>(environment, {
        commit: async (changes: readonly MapChange[]) => {
          await environment.commit(changes.slice(Math.floor(changes.length / 2)));
          await environment.commit(changes.slice(0, Math.floor(changes.length / 2)));
        },
      }),
  },
  {
    name: 'a flush does not wait for its sync',
    caughtBy: 1,
    install: () => replaced(Journal.prototype, 'sync', () => (_sequence, done) => done(null)),
  },
  {
    name: 'a checkpoint does not write its leaves',
    caughtBy: 1,
    install: () => replaced(LeafWriter.prototype, 'writeDirty', () => () => Promise.resolve()),
  },
  {
    name: 'leaves do not wait for the journal',
    caughtBy: 23,
    install: () =>
      replaced(
        LeafWriter.prototype,
        'writeDirty',
        (real) =>
          function (this: LeafWriter) {
            return real.call(this, () => Promise.resolve());
          },
      ),
  },
  {
    name: 'a segment in use is freed at the start',
    caughtBy: 1,
    install: () =>
      replaced(
        SegmentTable.prototype,
        'put',
        (real) =>
          function (this: SegmentTable, row) {
            real.call(this, row.state === 'chain' ? { ...row, state: 'free' } : row);
          },
      ),
  },
  {
    name: 'holes are not written',
    caughtBy: 1,
    install: () => replaced(AppendBatch.prototype, 'addZeros', () => () => undefined),
  },
  {
    name: 'holes are not replayed',
    caughtBy: 1,
    install: () =>
      replaced(
        Replay.prototype,
        'record',
        (real) =>
          function (this: Replay, header, slot, offset, damaged) {
            if (header.kind === RecordKind.HOLE) return undefined;
            return real.call(this, header, slot, offset, damaged);
          },
      ),
  },
  {
    name: 'holes are not published',
    caughtBy: 1,
    install: () => replaced(BlockMap.prototype, 'setHole', () => () => undefined),
  },
  {
    name: 'unaligned writes do not exclude each other',
    caughtBy: 1,
    install: () => replaced(RangeLock.prototype, 'free', () => () => true),
  },
  {
    name: 'parts of an unaligned write outlive a reopening',
    caughtBy: 10,
    install: () =>
      replaced(
        Head.prototype,
        'submit',
        (real) =>
          function (this: Head, request) {
            real.call(this, request, false);
          },
      ),
  },
  {
    name: 'lost writes are not reported by the next flush',
    caughtBy: 1,
    install: () =>
      replaced(
        Head.prototype,
        'rebind',
        (real) =>
          function (this: Head, engine) {
            real.call(this, { ...engine, recovery: { ...engine.recovery, sequence: Number.MAX_SAFE_INTEGER } });
          },
      ),
  },
  {
    name: 'changes fail on a disk that is well again after a failed fdatasync',
    caughtBy: 14,
    install: () => {
      const spoilt = new WeakSet<WriteQueue>();
      const undo = [
        replaced(
          WriteQueue.prototype,
          'restart',
          (real) =>
            function (this: WriteQueue, error) {
              real.call(this, error);
              if (JSON.stringify(error.fault).includes('fdatasync failed')) spoilt.add(this);
            },
        ),
        replaced(
          WriteQueue.prototype,
          'submit',
          (real) =>
            function (this: WriteQueue, request, source, bound) {
              if (spoilt.has(this)) request.done({ code: 'IO', detail: 'sabotaged' });
              else real.call(this, request, source, bound);
            },
        ),
      ];
      return () => {
        for (const each of undo) each();
      };
    },
  },
  {
    name: 'a group is frozen by its first head alone at a start',
    caughtBy: 2,
    install: () =>
      replaced(
        Replay.prototype,
        'record',
        (real) =>
          function (this: Replay, header, slot, offset, damaged) {
            const barrier = header.kind === RecordKind.BARRIER;
            const extents = barrier ? header.extents.slice(0, 2) : header.extents;
            return real.call(this, { ...header, extents }, slot, offset, damaged);
          },
      ),
  },
  {
    name: 'a replayed child forgets its parent',
    caughtBy: 1,
    install: () => {
      let replaying = false;
      const undo = [
        replaced(
          Replay.prototype,
          'record',
          (real) =>
            function (this: Replay, header, slot, offset, damaged) {
              replaying = true;
              try {
                return real.call(this, header, slot, offset, damaged);
              } finally {
                replaying = false;
              }
            },
        ),
        replaced(
          BlockMap.prototype,
          'addLayer',
          (real) =>
            function (this: BlockMap, row) {
              return real.call(this, replaying ? { ...row, parent: 0 } : row);
            },
        ),
      ];
      return () => {
        for (const each of undo) each();
      };
    },
  },
  {
    name: 'a merge removes leaves before their heir has them',
    caughtBy: 7,
    environment: (environment) =>
      altered<MapEnvironment>(environment, {
        commit: async (changes: readonly MapChange[]) => {
          const removed = changes.filter(({ key, value }) => value === null && key[0] === LEAF_KEYS.from[0]);
          const moves = removed.some((each) => changes.some((other) => movesTo(each, other)));
          if (moves) await environment.commit(removed);
          await environment.commit(moves ? changes.filter((each) => !removed.includes(each)) : changes);
        },
      }),
  },
  {
    name: 'a merge writes over what its heir has',
    caughtBy: 1,
    install: () =>
      replaced(
        LeafMoves.prototype,
        'takeOver',
        (real) =>
          function (this: LeafMoves, layer, heir, leaf) {
            const { cache, views } = this.map;
            const given = views.own(layer, leaf)?.slice() ?? [];
            const taken = real.call(this, layer, heir, leaf);
            if (taken.row === null) return taken;
            const entries = cache.entriesOf(taken.row);
            for (const [n, entry] of given.entries()) {
              if (entry !== ABSENT) entries[cache.baseOf(taken.row) + n] = entry;
            }
            return taken;
          },
      ),
  },
  {
    name: 'a merge begins before a checkpoint covers what it moves',
    caughtBy: 1,
    install: () => {
      const real = Object.getOwnPropertyDescriptor(Checkpointer.prototype, 'coveredBefore')!;
      Object.defineProperty(Checkpointer.prototype, 'coveredBefore', { ...real, get: () => Number.MAX_SAFE_INTEGER });
      return () => {
        Object.defineProperty(Checkpointer.prototype, 'coveredBefore', real);
      };
    },
  },
  ...(['write', 'trim'] as const).map((what) => ({
    name: `what a child shows is not changed by a ${what}`,
    caughtBy: 1,
    install: () =>
      replaced(
        LayerViews.prototype,
        'published',
        (real) =>
          function (this: LayerViews, layer, leaf, row, from, to) {
            const hole = this.own(layer, leaf)?.[from] === HOLE;
            if (hole !== (what === 'trim')) real.call(this, layer, leaf, row, from, to);
          },
      ),
  })),
  {
    name: 'a trim of what only a parent has does nothing',
    caughtBy: 1,
    install: () =>
      replaced(
        BlockMap.prototype,
        'isVoid',
        () =>
          function (this: BlockMap, layer, leaf) {
            return !layer.leaves.has(leaf) && !layer.filter.has(leaf);
          },
      ),
  },
  {
    name: 'a dropped layer is gone although others were made from it',
    caughtBy: 1,
    install: () =>
      replaced(
        BlockMap.prototype,
        'dropLayer',
        (real) =>
          function (this: BlockMap, layer, sequence) {
            const gone = real.call(this, layer, sequence);
            if (!layer.hidden) return gone;
            layer.state = 'dropped';
            return [layer];
          },
      ),
  },
  {
    name: 'a head writes on into the layer that was frozen',
    caughtBy: 1,
    install: () => {
      const undo = [
        replaced(Head.prototype, 'moveTo', () => () => undefined),
        replaced(
          Head.prototype,
          'submit',
          (real) =>
            function (this: Head, request, bound) {
              const { layer } = this;
              const state = layer.state;
              layer.state = 'head';
              real.call(this, request, bound);
              layer.state = state;
            },
        ),
      ];
      return () => {
        for (const each of undo) each();
      };
    },
  },
  {
    name: 'a freeze is answered before it is durable',
    caughtBy: 1,
    install: () => replaced(Journal.prototype, 'synced', () => () => Promise.resolve()),
  },
  {
    name: 'a head does not follow a snapshot whose append failed',
    caughtBy: 3214467168,
    install: () =>
      replaced(
        Head.prototype,
        'rebind',
        (real) =>
          function (this: Head, engine) {
            const { layerId } = this;
            real.call(this, engine);
            const layer = engine.map.layers.get(layerId);
            if (layer === undefined) return;
            this.layerId = layerId;
            this.layer = layer;
          },
      ),
  },
  {
    name: 'a difference leaves out what has become zeros',
    caughtBy: 1,
    install: () =>
      replaced(
        Store.prototype,
        'difference',
        (real) =>
          async function (this: Store, from, to, first, rangesMax) {
            const { ranges, next } = await real.call(this, from, to, first, rangesMax);
            return { ranges: ranges.filter(({ data }) => data), next };
          },
      ),
  },
  {
    name: 'what others show of a layer counts as its own alone',
    caughtBy: 1,
    install: () =>
      replaced(
        Store.prototype,
        'usage',
        (real) =>
          async function (this: Store, id) {
            const usage = await real.call(this, id);
            const layer = this.engine?.map.layers.get(id);
            return { ...usage, exclusiveBlocks: layer?.mappedBlocks ?? usage.exclusiveBlocks };
          },
      ),
  },
];

/** Whether one change removes a leaf that the other stores for another layer. */
function movesTo(removal: MapChange, other: MapChange): boolean {
  const leaf = (key: Uint8Array): string => Buffer.from(key.subarray(LEAF_INDEX_AT)).toString('hex');
  return other.value !== null && other.key[0] === removal.key[0] && leaf(other.key) === leaf(removal.key);
}

/** The predecessor's cut in a segment header becomes the segment's length, under a right checksum. */
function forgetCut(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(32, true) === 0xffffffff) return;
  view.setBigUint64(48, BigInt(view.getUint32(36, true)), true);
  view.setUint32(4092, crc32c(bytes.subarray(0, 4092)), true);
}
