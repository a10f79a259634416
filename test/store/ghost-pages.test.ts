import { beforeEach, describe, expect, it } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { SimulatedMachine } from '../sim/simulated-machine.js';
import { SimulatedProcess } from '../sim/simulated-process.js';
import { MIB, perform } from './store-world.js';

const BLOCK = 4096;

/** Each sector of a failed sync counts as clean and is nowhere but in memory; a power cut keeps what is dirty. */
class AllGhosts extends SeededRandom {
  override below(limit: number): number {
    return Math.min(2, limit - 1);
  }
}

// The kernel tells of a failed fdatasync once. From then on a page may be read, and synced without an error, that the
// disk does not hold: a start that replays it promises what a power cut takes.
describe('pages that only memory holds after a failed sync', () => {
  let machine: SimulatedMachine;
  let layer: LayerId;
  let handle: VolumeHandle;

  beforeEach(async () => {
    const bounds = { capacityBytes: 256 * MIB, mapCacheBytes: MIB / 4, journalReplayBytesMax: 64 * MIB };
    const nothing = (): void => undefined;
    machine = new SimulatedMachine(
      1,
      {
        ...bounds,
        ...{ checkpointIntervalMs: 3_600_000, missPercent: 0 },
        ...{ journalBytes: Number.POSITIVE_INFINITY, cleaning: true },
      },
      { sealed: nothing, appended: nothing, syncFailed: nothing, misuse: (what) => expect.fail(what) },
      null,
    );
    machine.random = new AllGhosts(1);
    await machine.open(new SimulatedProcess());
    layer = await machine.manager!.createLayer(BLOCK, MIB);
    openVolume(1);
    await write(1);
    await flush();
    await write(2);
  });

  function openVolume(epoch: number): void {
    handle = machine.manager!.open({ volumeId: 'volume', layer, epoch, keys: [] });
  }

  async function start(epoch: number): Promise<void> {
    await machine.open(new SimulatedProcess());
    openVolume(epoch);
  }

  function write(value: number): Promise<void> {
    return perform(handle, Operation.WRITE, 0, BLOCK, { data: new Uint8Array(BLOCK).fill(value) });
  }

  const flush = (): Promise<void> => perform(handle, Operation.FLUSH, 0, 0);

  async function value(): Promise<number> {
    const data = new Uint8Array(BLOCK);
    await perform(handle, Operation.READ, 0, BLOCK, { data });
    expect(data).toEqual(new Uint8Array(BLOCK).fill(data[0]));
    return data[0];
  }

  function failNextSync(): void {
    machine.faults.arm({ call: 'sync', skip: 0, times: 1, errno: 'EIO' });
  }

  /** What a flush has answered for is there after a power cut. */
  async function expectPromised(): Promise<void> {
    await flush();
    const promised = await value();
    machine.process.die();
    machine.disk.cut(machine.random);
    await start(9);
    expect(await value()).toBe(promised);
    expect(promised).toBe(1);
  }

  it('are not replayed when the store reopens', async () => {
    failNextSync();
    await expect(flush()).rejects.toThrow('fdatasync failed');
    await expect(flush()).rejects.toThrow('lost acknowledged writes');
    await expectPromised();
  });

  it('are not replayed by the next process when the one that was told is killed', async () => {
    failNextSync();
    await expect(flush()).rejects.toThrow('fdatasync failed');
    machine.process.die();
    await start(2);
    await expectPromised();
  });

  it('are not replayed by the next process when the start that was told has failed', async () => {
    machine.process.die();
    failNextSync();
    await expect(start(2)).rejects.toMatchObject({ code: 'IO' });
    machine.process.die();
    await start(3);
    await expectPromised();
  });
});
