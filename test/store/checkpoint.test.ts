import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import type { Files } from '../../src/io/files.js';
import type { SealBatch } from '../../src/io/seal-batch.js';
import { segmentName } from '../../src/store/journal/segment-files.js';
import type { MapChange } from '../../src/store/map/map-environment.js';
import { StoreError } from '../../src/store/store-error.js';
import { Gate } from './gate.js';
import { MapDisk, MemoryMapEnvironment } from './memory-map-environment.js';
import { MIB, perform, StoreWorld } from './store-world.js';
import { VolatileDisk, VolatileFiles } from './volatile-files.js';

/** Appends stay in flight until they are let go. */
class SlowFiles extends VolatileFiles {
  held: (() => void)[] = [];
  hold = false;
  /** Files that were cut short. */
  truncated: string[] = [];
  readonly #names = new Map<number, string>();
  override async open(...[path, mode]: Parameters<Files['open']>): ReturnType<Files['open']> {
    const file = await super.open(path, mode);
    this.#names.set(file, basename(path));
    return file;
  }
  override appendLater(...values: Parameters<Files['appendLater']>): void {
    const [file, offset, batch, done]: [Parameters<Files['close']>[0], number, SealBatch, (status: number) => void] =
      values;
    super.appendLater(file, offset, batch, (status) => {
      if (this.hold) this.held.push(() => done(status));
      else done(status);
    });
  }
  override async truncate(...[file, length]: Parameters<Files['truncate']>): Promise<void> {
    this.truncated.push(this.#names.get(file) ?? '');
    await super.truncate(file, length);
  }
}

function json(map: MapDisk, key: string): Record<string, number> {
  const row = map.rows.get(key);
  if (row === undefined) throw new Error(`no row ${key}`);
  return JSON.parse(Buffer.from(row.subarray(0, -4)).toString()) as Record<string, number>;
}

describe('a checkpoint', () => {
  let world: StoreWorld;
  afterEach(async () => {
    await world.destroy();
  });

  it('counts no record that stands behind its position', async () => {
    const map = new MapDisk();
    const files = new SlowFiles({ disk: new VolatileDisk() });
    world = await StoreWorld.make({
      files: () => files,
      openEnvironment: () => new MemoryMapEnvironment({ disk: map }),
    });
    await world.open();
    const handle = world.volume(await world.manager.createLayer(4096, 8 * MIB));
    await perform(handle, Operation.WRITE, 0, 4096, { data: new Uint8Array(4096).fill(1) });
    files.hold = true;
    const data = new Uint8Array(768 * 1024).fill(2);
    const write = perform(handle, Operation.WRITE, 0, data.length, { data });
    while (files.held.length === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    const checkpoint = world.manager.checkpoint();
    for (let n = 0; n < 20; n += 1) await new Promise<void>((resolve) => setImmediate(resolve));
    files.hold = false;
    for (const go of files.held) go();
    await write;
    await checkpoint;
    await perform(handle, Operation.WRITE, 4096, 4096, { data: data.subarray(0, 4096) });
    const { slot, offset } = json(map, '00');
    const bytes = readFileSync(join(world.path, 'journal', segmentName(slot)));
    // The first record of the layer behind the position has the ordinal that follows the stored one.
    const at = [...bytes.keys()].find(
      (n) => n >= offset && n % 64 === 0 && bytes.readUInt32LE(n) === 0x43455247 && bytes.readUInt16LE(n + 6) === 1,
    );
    expect(at).toBeDefined();
    expect(bytes.readUInt32LE((at ?? 0) + 40)).toBe(json(map, '01000000000001').ordinal + 1);
  });

  // Writes at the limit of the journal that a start would replay ask for a checkpoint, and get none of their own while another
  // runs. When that was the cleaner's, nobody told them of its end: they waited for ever.
  it('that somebody else wanted lets the writes go on that wait for one', async () => {
    const gate = new Gate();
    class HeldEnvironment extends MemoryMapEnvironment {
      override async commit(changes: readonly MapChange[]): Promise<void> {
        await gate.pass();
        await super.commit(changes);
      }
    }
    const map = new MapDisk();
    world = await StoreWorld.make({
      // The end of a writeback would wake them by chance.
      files: (real): Files => {
        real.writeback = () => Promise.resolve();
        return real;
      },
      openEnvironment: () => new HeldEnvironment({ disk: map }),
      store: { journalReplayBytesMax: MIB },
    });
    await world.open();
    const handle = world.volume(await world.manager.createLayer(4096, 8 * MIB));
    const { checkpointer } = world.store.engine!;
    gate.shut();
    const checkpoint = checkpointer.run();
    await gate.held();
    const data = new Uint8Array(256 * 1024).fill(1);
    const writes = Array.from({ length: 16 }, (_, n) =>
      perform(handle, Operation.WRITE, n * data.length, data.length, { data }),
    );
    while (checkpointer.replayBytes < MIB) await new Promise<void>((resolve) => setImmediate(resolve));
    for (let n = 0; n < 20; n += 1) await new Promise<void>((resolve) => setImmediate(resolve));
    gate.open();
    await checkpoint;
    await Promise.all(writes);
  });

  it('of an opening on a full disk uses what an earlier run held back', async () => {
    const map = new MapDisk();
    const disk = new VolatileDisk();
    let files = new SlowFiles({ disk });
    let full = false;
    class FullEnvironment extends MemoryMapEnvironment {
      override commit(changes: readonly MapChange[]): Promise<void> {
        if (full && !files.truncated.includes('reserve'))
          return Promise.reject(new StoreError('full', { code: 'FULL' }));
        return super.commit(changes);
      }
    }
    world = await StoreWorld.make({
      files: () => (files = new SlowFiles({ disk })),
      openEnvironment: () => new FullEnvironment({ disk: map }),
    });
    await world.open();
    const layer = await world.manager.createLayer(4096, MIB);
    await world.kill();
    full = true;
    await world.open();
    // Beside it, the old tail goes back.
    expect(files.truncated.filter((name) => name === 'reserve')).toHaveLength(1);
    expect(world.manager.layers().map((each) => each.layer)).toEqual([layer]);
    full = false;
  });
});
