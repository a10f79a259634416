import { basename } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Operation, RequestFlag } from '../../src/device/block-device.js';
import type { FileId, Files } from '../../src/io/files.js';
import type { Engine } from '../../src/store/engine.js';
import { segmentName } from '../../src/store/journal/segment-files.js';
import type { MapChange } from '../../src/store/map/map-environment.js';
import { segmentKey } from '../../src/store/map/map-keys.js';
import type { LayerId } from '../../src/volume/volume-host.js';
import { ALL_LOST } from './all-lost.js';
import { Gate } from './gate.js';
import { MapDisk, MemoryMapEnvironment } from './memory-map-environment.js';
import { MIB, perform, StoreWorld } from './store-world.js';
import { VolatileDisk, VolatileFiles } from './volatile-files.js';

const BLOCK = 4096;
/** Where the block lies that must not be lost. */
const PLACE = 4 * MIB;

// A free slot is taken into use again: its row in the map says under which generation. A checkpoint whose rows were taken
// before must not put 'free' over it, or the next start does not look at the segment.
describe('a segment that is registered while a checkpoint is written', () => {
  let world: StoreWorld;
  let files: HeldFiles;
  let layer: LayerId;
  /** A slot that is free, and the first to be prepared. */
  let slot: number;
  /** Holds the sync of the segment of this name before it happens. */
  let syncs: Gate;
  let syncName: string;
  /** Holds the answer to the registration of `slot`; it is in the map by then. */
  let registrations: Gate;

  class HeldFiles extends VolatileFiles {
    readonly #names = new Map<FileId, string>();
    override async open(...[path, mode]: Parameters<Files['open']>): Promise<FileId> {
      const file = await super.open(path, mode);
      this.#names.set(file, basename(path));
      return file;
    }
    override async sync(file: FileId): Promise<void> {
      if (this.#names.get(file) === syncName) await syncs.pass();
      await super.sync(file);
    }
  }

  class HeldEnvironment extends MemoryMapEnvironment {
    override async commit(changes: readonly MapChange[]): Promise<void> {
      await super.commit(changes);
      const [{ key }] = changes;
      if (changes.length === 1 && Buffer.compare(key, segmentKey(slot)) === 0) await registrations.pass();
    }
  }

  beforeEach(async () => {
    [slot, syncName, syncs, registrations] = [-1, '', new Gate(), new Gate()];
    const [disk, map] = [new VolatileDisk(), new MapDisk()];
    world = await StoreWorld.make({
      files: () => (files = new HeldFiles({ disk })),
      openEnvironment: () => {
        const own = files;
        return new HeldEnvironment({ disk: map, dead: () => own.dead });
      },
    });
    await world.open();
    layer = await world.manager.createLayer(BLOCK, 8 * MIB);
    await world.manager.checkpoint();
    // The power takes segments that had joined the chain: the next start finds more free ones than it keeps ready.
    for (let n = 0; n < 3; n += 1) await write(0, MIB, 1);
    await files.settle();
    disk.cut(ALL_LOST);
    world.abandon();
    await world.open();
    slot = [...engine().table.rows()].find((row) => row.state === 'free')?.slot ?? -1;
    expect(slot).toBeGreaterThan(0);
  });

  afterEach(async () => {
    syncs.open();
    registrations.open();
    await world.destroy();
  });

  function engine(): Engine {
    if (world.store.engine === null) throw new Error('the store has no engine');
    return world.store.engine;
  }

  function write(offset: number, length: number, value: number, flags = 0): Promise<void> {
    const handle = world.volume(layer);
    const data = new Uint8Array(length).fill(value);
    return perform(handle, Operation.WRITE, offset, length, { data, flags }).finally(() => handle.close());
  }

  /** Writes on until the segment takes records, and one that is durable; it must be there after a kill. */
  async function expectKept(): Promise<void> {
    while (engine().journal.position.slot !== slot) await write(0, MIB / 4, 2);
    await write(PLACE, BLOCK, 3, RequestFlag.FUA);
    expect(engine().journal.position.slot).toBe(slot);
    await world.kill();
    await world.open();
    const data = new Uint8Array(BLOCK);
    await perform(world.volume(layer), Operation.READ, PLACE, BLOCK, { data });
    expect(data).toEqual(new Uint8Array(BLOCK).fill(3));
  }

  it('keeps its row when it is registered between the rows of the checkpoint and their commit', async () => {
    syncName = segmentName(engine().journal.position.slot);
    syncs.shut();
    const verb = world.manager.createLayer(BLOCK, MIB);
    await syncs.held();
    // It takes the rows at once, since no leaf is dirty, and then waits for the record of the layer to become durable.
    const checkpoint = world.manager.checkpoint();
    expect(engine().map.dirtyLeaves).toBe(0);
    // The journal moves on to a ready segment, and the free one is prepared in its place.
    await write(0, MIB, 2);
    while (engine().table.state(slot) !== 'ready') await new Promise<void>((resolve) => setImmediate(resolve));
    expect(engine().checkpointer.count).toBe(0);
    syncs.open();
    await Promise.all([verb, checkpoint]);
    await expectKept();
  });

  it('keeps its row when the checkpoint is written before the registration is answered', async () => {
    registrations.shut();
    await write(0, MIB, 2);
    await registrations.held();
    await world.manager.checkpoint();
    registrations.open();
    await expectKept();
  });

  // What lies behind the end that its row names would be given up with the rest of the segment; a file that is gone would be
  // looked for.
  it.each(['grows', 'is freed'])('keeps its row when it holds moved blocks and %s before the commit', async (how) => {
    const { table, pool, register } = engine();
    const cold = (await pool.take('moving')) ?? -1;
    table.chill(cold, 1);
    table.setUsed(cold, BLOCK);
    await register(table.row(cold));
    syncName = segmentName(engine().journal.position.slot);
    syncs.shut();
    const verb = world.manager.createLayer(BLOCK, MIB);
    await syncs.held();
    const takeChanged = table.takeChanged.bind(table);
    let checkpoint = Promise.resolve();
    await new Promise<void>((resolve) => {
      table.takeChanged = () => {
        resolve();
        return takeChanged();
      };
      checkpoint = world.manager.checkpoint();
    });
    if (how === 'grows') table.setUsed(cold, 2 * BLOCK);
    else table.free(cold);
    await register(table.row(cold));
    syncs.open();
    await Promise.all([verb, checkpoint]);
    await world.kill();
    await world.open();
    const row = engine().table.row(cold);
    if (how === 'grows') expect(row).toMatchObject({ state: 'cold', usedBytes: 2 * BLOCK });
    else expect(row.state).not.toBe('cold');
  });
});
