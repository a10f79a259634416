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
import { Head } from '../../src/store/head.js';
import { LeafWriter } from '../../src/store/leaf-writer.js';
import { BlockMap } from '../../src/store/map/block-map.js';
import type { MapChange, MapEnvironment } from '../../src/store/map/map-environment.js';
import { Replay } from '../../src/store/replay.js';
import { WriteQueue } from '../../src/store/write-queue.js';
import { RangeLock } from '../../src/volume/range-lock.js';
import type { Sabotage } from './simulated-machine.js';

/** The same object with some methods replaced; the others are bound to the real one. */
function altered<T extends object>(real: T, changes: Partial<T>): T {
  return new Proxy(real, {
    get(target, name): unknown {
      const value: unknown = Reflect.get(name in changes ? changes : target, name);
      return typeof value === 'function' ? (value as (...values: unknown[]) => unknown).bind(target) : value;
    },
  });
}

/** Replaces a method of a class until the result is called. */
function replaced<T extends object, K extends keyof T>(prototype: T, name: K, make: (real: T[K]) => T[K]): () => void {
  const real = prototype[name];
  prototype[name] = make(real);
  return () => {
    prototype[name] = real;
  };
}

const inBackground = (work: Promise<unknown>): Promise<void> => {
  work.catch(() => undefined);
  return Promise.resolve();
};

const SEGMENT_HEADER_BYTES = 4096;

export const SABOTAGES: readonly Sabotage[] = [
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
    caughtBy: 25,
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
    caughtBy: 4,
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
  { name: 'the generation of a block is not compared', caughtBy: 211, anyGeneration: true },
  {
    name: 'a commit of the map is answered before it has happened',
    caughtBy: 1,
    environment: (environment) =>
      altered<MapEnvironment>(environment, { commit: (changes) => inBackground(environment.commit(changes)) }),
  },
  {
    name: 'a commit of the map is two',
    caughtBy: 12,
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
    caughtBy: 4,
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
    caughtBy: 321,
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
    caughtBy: 7,
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
    caughtBy: 8,
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
];

/** The predecessor's cut in a segment header becomes the segment's length, under a right checksum. */
function forgetCut(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(32, true) === 0xffffffff) return;
  view.setBigUint64(48, BigInt(view.getUint32(36, true)), true);
  view.setUint32(4092, crc32c(bytes.subarray(0, 4092)), true);
}
