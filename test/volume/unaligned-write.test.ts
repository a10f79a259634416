import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import { FileError } from '../../src/io/file-error.js';
import type { FileId, Files } from '../../src/io/files.js';
import { OpenStatus, type OpenBatch } from '../../src/io/open-batch.js';
import type { VolumeHandle } from '../../src/volume/volume-host.js';
import { ALL_LOST } from '../store/all-lost.js';
import { Gate } from '../store/gate.js';
import { MapDisk, MemoryMapEnvironment } from '../store/memory-map-environment.js';
import { MIB, perform, StoreWorld } from '../store/store-world.js';
import { VolatileDisk, VolatileFiles } from '../store/volatile-files.js';

const BLOCK = 4096;
const LOST = 'IO: the disk failed before this was done';

const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);

const outcomeOf = (promise: Promise<void>): Promise<string> =>
  promise.then(
    () => 'acknowledged',
    (thrown: unknown) => (thrown as Error).message,
  );

// Its parts are made from what was read, and are of use only together: a store that goes back to what the disk holds
// must not take those that still wait.
describe('an unaligned write over a sync that fails', () => {
  let world: StoreWorld;
  let handle: VolumeHandle;
  let disk: VolatileDisk;
  /** The next sync fails, and takes back everything that no sync has covered. */
  let failing: boolean;
  let failures: Gate;
  /** Blocks are read by reader threads; their answers can be held. */
  let cold: boolean;
  let answers: Gate;
  /** Told of each append. */
  let appending: () => void;

  class FailingFiles extends VolatileFiles {
    override async sync(file: FileId): Promise<void> {
      if (!failing) return super.sync(file);
      failing = false;
      await failures.pass();
      disk.cut(ALL_LOST);
      throw new FileError('injected', { code: 'IO', path: '', errno: 'EIO' });
    }
    override openNow(batch: OpenBatch): number {
      if (!cold) return super.openNow(batch);
      batch.status.fill(OpenStatus.MISS, 0, batch.count);
      return batch.count;
    }
    override openLater(batch: OpenBatch, done: () => void): void {
      super.openLater(batch, () => void answers.pass().then(done));
    }
    override appendNow(...values: Parameters<Files['appendNow']>): number {
      appending();
      return super.appendNow(...values);
    }
    override appendLater(...values: Parameters<Files['appendLater']>): void {
      appending();
      super.appendLater(...values);
    }
  }

  beforeEach(async () => {
    [failing, cold, failures, answers] = [false, false, new Gate(), new Gate()];
    appending = () => undefined;
    disk = new VolatileDisk();
    const map = new MapDisk();
    world = await StoreWorld.make({
      files: () => new FailingFiles({ disk }),
      openEnvironment: () => new MemoryMapEnvironment({ disk: map }),
    });
    await world.open();
    handle = world.volume(await world.manager.createLayer(BLOCK, 8 * MIB));
  });

  afterEach(async () => {
    failures.open();
    answers.open();
    await world.destroy();
  });

  function write(offset: number, length: number, value: number): Promise<void> {
    return perform(handle, Operation.WRITE, offset, length, { data: filled(length, value) });
  }

  const flush = (): Promise<void> => perform(handle, Operation.FLUSH, 0, 0);

  async function read(offset: number, length: number): Promise<Uint8Array> {
    const data = new Uint8Array(length);
    await perform(handle, Operation.READ, offset, length, { data });
    return data;
  }

  it('does not bring back the bytes around it that the disk has lost', async () => {
    await write(0, BLOCK, 1);
    await flush();
    await write(0, BLOCK, 2);
    // It has read the twos, and learns of it only when the disk has lost them.
    cold = true;
    answers.shut();
    const outcome = outcomeOf(write(512, 512, 3));
    await answers.held();
    failing = true;
    await expect(flush()).rejects.toThrow('IO');
    expect(world.store.state).toBe('reopening');
    answers.open();
    const answer = await outcome;
    expect(await read(0, BLOCK)).toEqual(filled(BLOCK, 1));
    expect(answer).toBe(LOST);
  });

  it('is not acknowledged without the parts that the disk has lost', async () => {
    const length = 3 * MIB;
    await write(0, length + BLOCK, 1);
    await flush();
    // A sync is under way when the write begins, and fails when the blocks at its ends and some of its middle are in the
    // journal. It takes several appends: a segment holds a third of it.
    await write(4 * MIB, BLOCK, 1);
    failing = true;
    failures.shut();
    const flushed = outcomeOf(flush());
    await failures.held();
    let appends = 0;
    appending = () => {
      appends += 1;
      if (appends === 2) failures.open();
    };
    expect(await outcomeOf(write(512, length, 2))).toBe(LOST);
    expect(await flushed).toContain('IO');
    expect(await read(0, BLOCK)).toEqual(filled(BLOCK, 1));
    expect(await read(length, BLOCK)).toEqual(filled(BLOCK, 1));
  });
});
