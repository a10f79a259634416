import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import { FileError } from '../../src/io/file-error.js';
import type { Files } from '../../src/io/files.js';
import { RecordKind } from '../../src/store/journal/record.js';
import { Layer } from '../../src/store/map/layer.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { faultyFiles } from './faulty-files.js';
import { Gate } from './gate.js';
import { MapDisk, MemoryMapEnvironment } from './memory-map-environment.js';
import { MIB, perform, StoreWorld, type WorldOptions } from './store-world.js';
import { VolatileDisk, VolatileFiles } from './volatile-files.js';

const BLOCK = 4096;
const EIO = new FileError('injected', { code: 'IO', path: '', errno: 'EIO' });

async function make(options: WorldOptions = {}): Promise<StoreWorld> {
  const world = await StoreWorld.make(options);
  onTestFinished(() => world.destroy());
  await world.open();
  return world;
}

const write = (handle: VolumeHandle, block: number, value: number): Promise<void> =>
  perform(handle, Operation.WRITE, block * BLOCK, BLOCK, { data: new Uint8Array(BLOCK).fill(value) });

async function valueAt(handle: VolumeHandle, block: number): Promise<number> {
  const data = new Uint8Array(BLOCK);
  await perform(handle, Operation.READ, block * BLOCK, BLOCK, { data });
  return data[0];
}

describe('a snapshot that meets something', () => {
  it('lets a growth through that was asked for before it was answered', async () => {
    const world = await make();
    const layer = await world.manager.createLayer(BLOCK, MIB);
    const handle = world.volume(layer);
    const freezing = world.manager.freeze([layer]);
    await handle.expand(2 * MIB);
    const [head] = await freezing;
    expect(handle.sizeBytes).toBe(2 * MIB);
    const sizes = world.manager.layers().map(({ layer: id, sizeBytes }) => [id, sizeBytes]);
    expect(sizes).toEqual([
      [layer, MIB],
      [head, 2 * MIB],
    ]);
  });

  it('has been taken when its append fails and its record is there all the same', async () => {
    let failing = false;
    // The bytes are in the file, and the call fails: an error of a later page, or of the machine between.
    const files = (real: Files): Files =>
      new Proxy(real, {
        get(target, name: keyof Files): unknown {
          if (name !== 'appendNow') return (target[name] as (...values: unknown[]) => unknown).bind(target);
          return (...[file, offset, batch]: Parameters<Files['appendNow']>) => {
            const status = target.appendNow(file, offset, batch);
            if (!failing || batch.blockCount > 0) return status;
            failing = false;
            return -5;
          };
        },
      });
    const world = await make({ files });
    const layer = await world.manager.createLayer(BLOCK, MIB);
    const handle = world.volume(layer);
    await write(handle, 0, 1);
    failing = true;
    const freezing = world.manager.freeze([layer]);
    // Its record has its place in the queue; what comes now is behind it.
    for (let n = 0; n < 5; n += 1) await Promise.resolve();
    const behind = write(handle, 0, 2);
    await expect(freezing).rejects.toMatchObject({ fault: { code: 'IO' } });
    await behind;
    await write(handle, 1, 3);
    expect([await valueAt(handle, 0), await valueAt(handle, 1)]).toEqual([2, 3]);
    const snapshot = world.volume(layer);
    expect([await valueAt(snapshot, 0), await valueAt(snapshot, 1)]).toEqual([1, 0]);
  });
});

describe('a map that is rebuilt from the whole journal', () => {
  it('goes through the merges that the journal tells of in an order that is right', async () => {
    const world = await make();
    const { manager } = world;
    const first = await manager.createLayer(BLOCK, MIB);
    const handle = world.volume(first);
    await write(handle, 0, 1);
    await write(handle, 1, 1);
    const [second] = await manager.freeze([first]);
    await write(handle, 0, 2);
    const [head] = await manager.freeze([second]);
    await write(handle, 2, 3);
    // The newer one goes first: then the older one's child is the head as well, and both have the same heir.
    for (const layer of [second, first]) {
      await manager.dropLayer(layer);
      await world.store.merged();
    }
    expect(manager.layers().map(({ layer, parent }) => [layer, parent])).toEqual([[head, null]]);
    await world.kill();
    await rm(join(world.path, 'map'), { recursive: true });
    await world.open();
    await world.store.merged();
    expect(world.manager.layers().map(({ layer, parent }) => [layer, parent])).toEqual([[head, null]]);
    const again = world.volume(head, undefined, first);
    expect([await valueAt(again, 0), await valueAt(again, 1), await valueAt(again, 2)]).toEqual([2, 1, 3]);
  });
});

describe('a layer that was merged', () => {
  // A child of it whose DROP was lost in damaged journal can be dropped again: with it went the name by which the cleaner finds
  // the blocks that the heir has.
  it('stays known when what looks like its last child is dropped', async () => {
    const world = await make();
    const { manager } = world;
    const layer = await manager.createLayer(BLOCK, MIB);
    const handle = world.volume(layer);
    await write(handle, 0, 1);
    await manager.freeze([layer]);
    await manager.dropLayer(layer);
    await world.store.merged();
    const { map } = await world.store.ready();
    expect(map.layers.get(layer)?.state).toBe('merged');
    const born = { id: 99, parent: layer, blockBytes: BLOCK, sizeBlocks: MIB / BLOCK };
    expect(map.dropLayer(map.addLayer(Layer.born(born).row()), 1000)).toHaveLength(1);
    expect(map.layers.get(layer)?.state).toBe('merged');
    expect(await valueAt(handle, 0)).toBe(1);
  });
});

describe('a layer of which the journal has lost', () => {
  /** Damages the first record of a kind. */
  async function damage(world: StoreWorld, kind: number): Promise<void> {
    const path = join(world.path, 'journal', 'segment-00000000');
    const bytes = await readFile(path);
    for (let at = 4096; at < bytes.length; at += 64) {
      if (bytes.toString('latin1', at, at + 4) !== 'GREC' || bytes.readUInt16LE(at + 6) !== kind) continue;
      bytes[at + 24] ^= 1;
      await writeFile(path, bytes);
      return;
    }
    throw new Error(`no record of kind ${kind} is in the first segment`);
  }

  it.each([
    ['the birth', RecordKind.OPEN],
    ['the birth of its parent', RecordKind.BARRIER],
  ])('%s is refused and shows no zeros in place of data', async (_, kind) => {
    const world = await make();
    const { manager } = world;
    const first = await manager.createLayer(BLOCK, MIB);
    const handle = world.volume(first);
    await write(handle, 0, 1);
    const [second] = await manager.freeze([first]);
    await write(handle, 0, 2);
    await manager.freeze([second]);
    const clone = await manager.createLayer(BLOCK, MIB, second);
    await handle.expand(2 * MIB);
    // Later records say that it was durable: no torn end explains the damage away.
    const flush = (): Promise<void> => perform(handle, Operation.FLUSH, 0, 0);
    for (let n = 0; n < 3; n += 1) {
      await write(handle, 1, n);
      await flush();
    }
    await world.kill();
    await damage(world, kind);
    await world.open();
    const served = world.manager.layers().filter((layer) => layer.damage === '');
    expect(served.map(({ layer }) => layer)).toEqual([]);
    expect(() => world.volume(clone, undefined, first)).toThrow();
  });
});

// A closed lmdb that is read ends the process.
describe('a walk over the map', () => {
  const fetches = new Gate();
  let events: string[];
  let failing: boolean;

  class HeldEnvironment extends MemoryMapEnvironment {
    #closed = false;
    override get(key: Uint8Array): Uint8Array | null {
      if (this.#closed) events.push('read when closed');
      return super.get(key);
    }
    override async prefetch(): Promise<void> {
      if (this.#closed) events.push('fetched when closed');
      await fetches.pass();
      await super.prefetch();
      events.push('fetched');
    }
    override async close(): Promise<void> {
      this.#closed = true;
      events.push('closed');
      await super.close();
    }
  }

  async function worldWithLayer(): Promise<{ world: StoreWorld; layer: LayerId; handle: VolumeHandle }> {
    [events, failing] = [[], false];
    const [disk, map] = [new VolatileDisk(), new MapDisk()];
    const fault = (name: string): FileError | null => {
      if (name !== 'sync' || !failing) return null;
      failing = false;
      return EIO;
    };
    const world = await make({
      files: () => faultyFiles(new VolatileFiles({ disk }), fault),
      openEnvironment: () => new HeldEnvironment({ disk: map }),
    });
    const layer = await world.manager.createLayer(BLOCK, 4 * MIB);
    await write(world.volume(layer), 0, 1);
    await world.close();
    await world.open();
    events.length = 0;
    return { world, layer, handle: world.volume(layer) };
  }

  it('begins again with the map of a store that has reopened', async () => {
    const { world, layer, handle } = await worldWithLayer();
    fetches.shut();
    const difference = world.manager.diff(null, layer, 0, 10);
    await fetches.held();
    failing = true;
    await write(handle, 1, 2);
    await expect(perform(handle, Operation.FLUSH, 0, 0)).rejects.toThrow('IO');
    expect(events).toEqual([]);
    fetches.open();
    expect((await difference).ranges).toEqual([{ offsetBytes: 0, lengthBytes: 2 * BLOCK, data: true }]);
    expect(events.slice(0, 2)).toEqual(['fetched', 'closed']);
    expect(events).not.toContain('read when closed');
    expect(events).not.toContain('fetched when closed');
  });

  it('goes past what a child that is dropped meanwhile had stored', async () => {
    const { world, layer, handle } = await worldWithLayer();
    const { manager } = world;
    await manager.freeze([layer]);
    await write(handle, 0, 2);
    const clone = await manager.createLayer(BLOCK, 4 * MIB, layer);
    await write(world.volume(clone), 0, 3);
    await world.close();
    await world.open();
    fetches.shut();
    const usage = world.manager.usage(layer);
    await fetches.held();
    await world.manager.dropLayer(clone);
    await world.manager.checkpoint();
    fetches.open();
    expect(await usage).toEqual({ exclusiveBytes: BLOCK, referencedBytes: BLOCK });
  });

  it('ends when the store is closed', async () => {
    const { world, layer } = await worldWithLayer();
    fetches.shut();
    const usage = expect(world.manager.usage(layer)).rejects.toMatchObject({ fault: { code: 'CLOSED' } });
    await fetches.held();
    const closing = world.close();
    for (let n = 0; n < 200; n += 1) await new Promise<void>((resolve) => setImmediate(resolve));
    expect(events).not.toContain('closed');
    fetches.open();
    await usage;
    await closing;
    expect(events).not.toContain('read when closed');
  });
});
