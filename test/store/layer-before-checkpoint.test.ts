import { afterEach, describe, expect, it } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import type { MapChange } from '../../src/store/map/map-environment.js';
import { StoreError } from '../../src/store/store-error.js';
import { MapDisk, MemoryMapEnvironment } from './memory-map-environment.js';
import { MIB, perform, StoreWorld } from './store-world.js';

const CHECKPOINT = '00';
const hex = (key: Uint8Array): string => Buffer.from(key).toString('hex');

describe('a layer whose leaves are ahead of the checkpoint', () => {
  let world: StoreWorld;
  /** Commits that would publish a position fail; with 'removal' all do after the first one that removes something. */
  let refuse: 'nothing' | 'position' | 'removal' | 'everything';
  afterEach(async () => {
    await world.destroy();
  });

  async function begin(map: MapDisk): Promise<void> {
    class Refusing extends MemoryMapEnvironment {
      override commit(changes: readonly MapChange[]): Promise<void> {
        const position = changes.some(({ key }) => hex(key) === CHECKPOINT);
        if (refuse === 'everything' || (refuse !== 'nothing' && position)) {
          return Promise.reject(new StoreError('not now', { code: 'IO', detail: 'not now' }));
        }
        if (refuse === 'removal' && changes.some(({ value }) => value === null)) refuse = 'everything';
        return super.commit(changes);
      }
    }
    refuse = 'nothing';
    world = await StoreWorld.make({
      store: { mapCacheBytes: 64 * 1024 },
      openEnvironment: () => new Refusing({ disk: map }),
    });
    await world.open();
  }

  /** Kills the store after leaves were stored, and before the position behind them was. */
  async function killBeforeCheckpoint(how: 'position' | 'removal' = 'position'): Promise<void> {
    refuse = how;
    await expect(world.manager.checkpoint()).rejects.toThrow('not now');
    refuse = 'nothing';
    await world.kill();
  }

  it('loses no track of them: a leaf that is emptied later is not said to be stored', async () => {
    const map = new MapDisk();
    await begin(map);
    const layer = await world.manager.createLayer(4096, 2 * MIB);
    await perform(world.volume(layer), Operation.WRITE, 0, 4096, { data: new Uint8Array(4096).fill(1) });
    await killBeforeCheckpoint();
    await world.open();
    await perform(world.volume(layer), Operation.TRIM, 0, 4096);
    await world.manager.checkpoint();
    await world.kill();
    await world.open();
    const again = world.volume(layer);
    const data = new Uint8Array(4096).fill(7);
    await perform(again, Operation.READ, 0, 4096, { data });
    expect(data).toEqual(new Uint8Array(4096));
    expect(again.allocatedBytes).toBe(0);
  });

  it('loses no track of them when a rebuild of the map dies before its first checkpoint', async () => {
    const map = new MapDisk();
    await begin(map);
    const layer = await world.manager.createLayer(4096, 2 * MIB);
    const handle = world.volume(layer);
    await perform(handle, Operation.WRITE, 0, 4096, { data: new Uint8Array(4096).fill(1) });
    await world.manager.checkpoint();
    await perform(handle, Operation.TRIM, 0, 4096);
    await world.kill();
    // What such a rebuild leaves: leaves that it stored to make room in memory, and no checkpoint yet.
    for (const key of [...map.rows.keys()]) if (/^0[012]/.test(key)) map.rows.delete(key);
    await world.open();
    await world.kill();
    await world.open();
    const data = new Uint8Array(4096).fill(7);
    await perform(world.volume(layer), Operation.READ, 0, 4096, { data });
    expect(data).toEqual(new Uint8Array(4096));
  });

  it('is not called damaged when its leaves went before the checkpoint that says so', async () => {
    await begin(new MapDisk());
    const layer = await world.manager.createLayer(4096, 16 * MIB);
    const handle = world.volume(layer);
    const write = async (fill: number): Promise<void> => {
      for (let n = 0; n < 20; n += 1) {
        const data = new Uint8Array(4096).fill(fill);
        await perform(handle, Operation.WRITE, (n * MIB) / 2, 4096, { data });
      }
    };
    await write(1);
    await world.manager.checkpoint();
    // So many leaves that replay must make room in memory, and stores some on the way.
    refuse = 'position';
    await write(2);
    await handle.close();
    await world.manager.dropLayer(layer);
    await killBeforeCheckpoint('removal');
    world.lines.length = 0;
    await world.open();
    expect(world.lines.filter((line) => line.level === 'error')).toEqual([]);
    expect(world.store.engine?.recovery.summary).not.toContain('refused');
    expect(world.manager.layers()).toEqual([]);
  });
});
