import { afterEach, describe, expect, it } from 'vitest';
import { Operation, RequestFlag } from '../../src/device/block-device.js';
import { InnerRequest } from '../../src/volume/inner-request.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MapDisk, MemoryMapEnvironment } from './memory-map-environment.js';
import { MIB, perform, StoreWorld } from './store-world.js';
import { VolatileDisk, VolatileFiles } from './volatile-files.js';

const seeds =
  process.env['GFS_SEEDS'] === undefined
    ? Array.from({ length: 16 }, (_, n) => n + 1)
    : process.env['GFS_SEEDS'].split(',').map(Number);
const ROUNDS = 8;
const BLOCKS = 192;

/** One block of one accepted change, in the order in which changes were accepted. */
interface Event {
  readonly volume: number;
  readonly block: number;
  /** What the block holds from then on; 0: zeros. */
  readonly id: number;
}

interface Twin {
  readonly layer: LayerId;
  readonly blockBytes: number;
  handle: VolumeHandle;
  /** Events up to here were acknowledged to the clients of this volume. */
  acknowledged: number;
}

/** The node, its clients, and what they may expect after a crash. */
class Machine {
  readonly random: SeededRandom;
  readonly disk = new VolatileDisk();
  readonly map = new MapDisk();
  readonly twins: Twin[] = [];
  files = new VolatileFiles({ disk: this.disk });
  world!: StoreWorld;
  /** What every volume held when the store last opened. */
  base: Int32Array[] = [];
  events: Event[] = [];
  /** Events that a power loss may not take, and those that a kill may not take. */
  durable = 0;
  acknowledged = 0;
  #nextId = 1;
  #stepsLeft = Number.MAX_SAFE_INTEGER;
  #died: () => void = () => undefined;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  async make(): Promise<void> {
    this.world = await StoreWorld.make({
      store: { journalReplayBytesMax: 3 * MIB },
      files: () => this.files,
      openEnvironment: () => {
        const { files } = this;
        return new MemoryMapEnvironment({ disk: this.map, dead: () => files.dead });
      },
      random: this.random,
    });
    await this.world.open();
    for (const blockBytes of [4096, 4096, 16384]) {
      const layer = await this.world.manager.createLayer(blockBytes, BLOCKS * blockBytes);
      this.twins.push({ layer, blockBytes, handle: this.world.volume(layer), acknowledged: 0 });
      this.base.push(new Int32Array(BLOCKS));
    }
  }

  /** Resolves when the machine has died, at the step of this number from now. */
  dieAfter(steps: number): Promise<void> {
    this.#stepsLeft = steps;
    const died = new Promise<void>((resolve) => (this.#died = resolve));
    const { files } = this;
    const step = (): void => {
      if (files.dead || files !== this.files) return;
      this.#stepsLeft -= 1;
      if (this.#stepsLeft > 0) return;
      files.die();
      this.#died();
    };
    files.onStep = step;
    this.map.onStep = step;
    return died;
  }

  /** The process is gone; with `power` the machine too. */
  async bury(power: boolean): Promise<void> {
    await this.files.settle();
    if (power) this.disk.cut(this.random);
    this.world.abandon();
    this.files = new VolatileFiles({ disk: this.disk });
    this.map.onStep = () => undefined;
  }

  /** Opens the volumes of a store that has opened. */
  openVolumes(): void {
    for (const twin of this.twins) {
      twin.handle = this.world.volume(twin.layer);
      twin.acknowledged = 0;
    }
  }

  /** Submits a random request; resolves when it was answered. A dead machine answers nothing. */
  change(): Promise<void> {
    const { random, files } = this;
    const volume = random.below(this.twins.length);
    const twin = this.twins[volume];
    const first = random.below(BLOCKS);
    const count = Math.min(BLOCKS - first, 1 + random.below(random.below(8) === 0 ? 64 : 6));
    const choice = random.below(100);
    const fua = random.below(12) === 0;
    if (choice < 12) return this.#flush(twin);
    const zeros = choice < 30;
    const { blockBytes } = twin;
    const data = new Uint8Array(zeros ? 0 : count * blockBytes);
    const view = new DataView(data.buffer);
    for (let n = 0; n < count; n += 1) {
      const id = zeros || random.below(10) === 0 ? 0 : this.#nextId++;
      this.events.push({ volume, block: first + n, id });
      if (id === 0) continue;
      view.setUint32(n * blockBytes, id, true);
      view.setUint32((n + 1) * blockBytes - 4, id, true);
    }
    const end = this.events.length;
    const operation = !zeros ? Operation.WRITE : choice < 20 ? Operation.TRIM : Operation.WRITE_ZEROES;
    return new Promise((resolve) => {
      const request = new InnerRequest(
        operation,
        first * blockBytes,
        count * blockBytes,
        (fault) => {
          if (files.dead) return;
          expect(fault).toBeNull();
          this.acknowledged = Math.max(this.acknowledged, end);
          twin.acknowledged = Math.max(twin.acknowledged, end);
          if (fua) this.durable = Math.max(this.durable, end);
          resolve();
        },
        { data, flags: fua ? RequestFlag.FUA : 0 },
      );
      twin.handle.submit(request);
    });
  }

  #flush(twin: Twin): Promise<void> {
    const { files } = this;
    const covered = twin.acknowledged;
    return new Promise((resolve) => {
      twin.handle.submit(
        new InnerRequest(Operation.FLUSH, 0, 0, (fault) => {
          if (files.dead) return;
          expect(fault).toBeNull();
          this.durable = Math.max(this.durable, covered);
          resolve();
        }),
      );
    });
  }

  /** What the volumes hold now; every block must be one that was written whole. */
  async read(): Promise<Int32Array[]> {
    const found: Int32Array[] = [];
    for (const twin of this.twins) {
      const { blockBytes } = twin;
      const data = new Uint8Array(BLOCKS * blockBytes);
      await perform(twin.handle, Operation.READ, 0, data.length, { data });
      const ids = new Int32Array(BLOCKS);
      const view = new DataView(data.buffer);
      for (let block = 0; block < BLOCKS; block += 1) {
        const at = block * blockBytes;
        ids[block] = view.getUint32(at, true);
        expect(view.getUint32(at + blockBytes - 4, true)).toBe(ids[block]);
      }
      found.push(ids);
    }
    return found;
  }

  /** P3: all volumes together equal one prefix of what was accepted, at least `least` events long. */
  settleOn(found: Int32Array[], least: number): void {
    const state = this.base.map((ids) => ids.slice());
    let wrong = 0;
    for (let v = 0; v < state.length; v += 1) {
      for (let block = 0; block < BLOCKS; block += 1) if (state[v][block] !== found[v][block]) wrong += 1;
    }
    let prefix = wrong === 0 ? 0 : -1;
    for (const [n, { volume, block, id }] of this.events.entries()) {
      if (state[volume][block] === found[volume][block]) wrong += 1;
      state[volume][block] = id;
      if (id === found[volume][block]) wrong -= 1;
      if (wrong === 0) prefix = n + 1;
    }
    expect(prefix, 'the volumes equal one prefix of the journal').toBeGreaterThanOrEqual(0);
    expect(prefix, 'nothing that was promised is lost').toBeGreaterThanOrEqual(least);
    this.base = found;
    this.events = [];
    this.durable = 0;
    this.acknowledged = 0;
  }

  /** Clients at work until the machine dies. */
  async work(died: Promise<void>): Promise<void> {
    const { files, random } = this;
    const client = async (): Promise<void> => {
      for (;;) {
        await this.change();
        if (files.dead) return;
      }
    };
    const clients = Array.from({ length: 1 + random.below(6) }, () => client());
    const checkpoints = async (): Promise<void> => {
      while (!files.dead) {
        for (let n = random.below(40); n > 0; n -= 1) await new Promise<void>((resolve) => setImmediate(resolve));
        if (!files.dead) await this.world.manager.checkpoint().catch(() => undefined);
      }
    };
    if (random.below(2) === 0) clients.push(checkpoints());
    await Promise.race([died, ...clients]);
    await died;
  }
}

describe('a machine that loses its power or its process', () => {
  let machine: Machine;
  afterEach(async (context) => {
    if (context.task.result?.state === 'fail') {
      console.error(
        machine.world.lines.slice(-14).map((line) => `${line.level} ${line.message} ${JSON.stringify(line.fields)}`),
      );
    }
    machine.files.die();
    await machine.files.settle();
    machine.world.abandon();
    await machine.world.destroy();
  });

  it.each(seeds)('keeps its promises (seed %i)', async (seed) => {
    machine = new Machine(seed);
    const { random } = machine;
    await machine.make();
    for (let round = 0; round < ROUNDS; round += 1) {
      await machine.work(machine.dieAfter(1 + random.below(random.below(3) === 0 ? 900 : 150)));
      let power = random.below(3) > 0;
      let least = power ? machine.durable : machine.acknowledged;
      await machine.bury(power);
      // Recovery may die as well, several times, killed or by another loss of power.
      for (let deaths = random.below(4); deaths > 0; deaths -= 1) {
        const died = machine.dieAfter(1 + random.below(60));
        const outcome = await Promise.race([died.then(() => 'died'), machine.world.open().then(() => 'opened')]);
        if (outcome === 'opened') {
          // It was faster. What it found holds from now on, power or not.
          if (machine.files.dead) continue;
          machine.files.die();
        }
        power = random.below(2) === 0;
        if (power) least = Math.min(least, machine.durable);
        await machine.bury(power);
      }
      await machine.world.open();
      machine.openVolumes();
      machine.settleOn(await machine.read(), least);
      for (const layer of machine.world.manager.layers()) expect(layer.damage).toBe('');
    }
  });
});
