import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Operation, RequestFlag } from '../../src/device/block-device.js';
import { FileError } from '../../src/io/file-error.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { faultyFiles } from './faulty-files.js';
import { Gate } from './gate.js';
import { MapDisk, MemoryMapEnvironment } from './memory-map-environment.js';
import { MIB, perform, StoreWorld } from './store-world.js';
import { VolatileDisk, VolatileFiles } from './volatile-files.js';

const BLOCK = 4096;
const EIO = new FileError('injected', { code: 'IO', path: '', errno: 'EIO' });

/** More turns of the event loop than anything here takes that waits for nothing. */
async function aWhile(): Promise<void> {
  for (let n = 0; n < 200; n += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}

// A closed lmdb that is read ends the process: in its native code, or with an exception from a timer of its own.
describe('a fetch of a leaf', () => {
  let world: StoreWorld;
  let layer: LayerId;
  let handle: VolumeHandle;
  let failing: boolean;
  let fetches: Gate;
  /** What happened to the map's database: a fetch has ended, it was closed. */
  let events: string[];

  class HeldEnvironment extends MemoryMapEnvironment {
    override async prefetch(): Promise<void> {
      await fetches.pass();
      await super.prefetch();
      events.push('fetched');
    }
    override async close(): Promise<void> {
      events.push('closed');
      await super.close();
    }
  }

  beforeEach(async () => {
    [failing, fetches, events] = [false, new Gate(), []];
    const [disk, map] = [new VolatileDisk(), new MapDisk()];
    const fault = (name: string): FileError | null => {
      if (name !== 'sync' || !failing) return null;
      failing = false;
      return EIO;
    };
    world = await StoreWorld.make({
      files: () => faultyFiles(new VolatileFiles({ disk }), fault),
      openEnvironment: () => new HeldEnvironment({ disk: map }),
    });
    await world.open();
    layer = await world.manager.createLayer(BLOCK, 4 * MIB);
    handle = world.volume(layer);
    await write(0, 1);
    await world.close();
    // Its leaf is in the map's database alone.
    await world.open();
    handle = world.volume(layer);
    fetches.shut();
    events = [];
  });

  afterEach(async () => {
    fetches.open();
    await world.destroy();
  });

  function write(offset: number, value: number, flags = 0): Promise<void> {
    return perform(handle, Operation.WRITE, offset, BLOCK, { data: new Uint8Array(BLOCK).fill(value), flags });
  }

  it('has ended before a stop closes the map', async () => {
    const looking = handle.extents(0, BLOCK, 1).then(
      () => 'told',
      (thrown: unknown) => (thrown as Error).name,
    );
    await fetches.held();
    const closed = world.close();
    await aWhile();
    expect(events).toEqual([]);
    fetches.open();
    await closed;
    expect(events).toEqual(['fetched', 'closed']);
    expect(await looking).toMatch(/told|DeviceError/);
  });

  it('has ended before the store closes the map to reopen, and the read that wanted it is answered', async () => {
    const data = new Uint8Array(BLOCK);
    const read = perform(handle, Operation.READ, 0, BLOCK, { data });
    await fetches.held();
    failing = true;
    await expect(write(2 * MIB, 2, RequestFlag.FUA)).rejects.toThrow('IO');
    expect(world.store.state).toBe('reopening');
    await aWhile();
    expect(events).toEqual([]);
    fetches.open();
    await read;
    expect(data).toEqual(new Uint8Array(BLOCK).fill(1));
    expect(events.slice(0, 2)).toEqual(['fetched', 'closed']);
  });
});
