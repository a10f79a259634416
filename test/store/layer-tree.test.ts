import { describe, expect, it, onTestFinished } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import { SeededRandom } from '../base/seeded-random.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { perform, StoreWorld } from './store-world.js';

const BLOCK = 4096;
/** Five leaves and a part of one. */
const BLOCKS = 5 * 128 + 40;
const STEPS = 260;

interface ModelLayer {
  /** By block: the number that fills it, 0 for zeros. */
  readonly shows: Float64Array;
  readonly parent: LayerId | null;
  frozen: boolean;
}

/** Layers in numbers: what each shows, and nothing of how. */
class Model {
  readonly layers = new Map<LayerId, ModelLayer>();
  #last = 0;

  born(id: LayerId, parent: LayerId | null, sizeBlocks = BLOCKS): void {
    const shows = parent === null ? new Float64Array(BLOCKS) : (this.layers.get(parent) as ModelLayer).shows.slice();
    // What a smaller clone does not have it never shows, however it grows.
    this.layers.set(id, { shows: shows.fill(0, sizeBlocks), parent, frozen: false });
  }

  next(): number {
    this.#last += 1;
    return this.#last;
  }

  ids(frozen: boolean): LayerId[] {
    return [...this.layers].filter(([, layer]) => layer.frozen === frozen).map(([id]) => id);
  }
}

class Drive {
  readonly world: StoreWorld;
  readonly random: SeededRandom;
  readonly model = new Model();
  readonly handles = new Map<LayerId, VolumeHandle>();

  constructor(world: StoreWorld, random: SeededRandom) {
    this.world = world;
    this.random = random;
  }

  handle(id: LayerId): VolumeHandle {
    let handle = this.handles.get(id);
    if (handle === undefined) this.handles.set(id, (handle = this.world.volume(id, undefined, 1)));
    return handle;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.random.below(from.length)];
  }

  async step(): Promise<void> {
    const heads = this.model.ids(false);
    const frozen = this.model.ids(true);
    const dice = this.random.below(100);
    if (heads.length === 0 || dice < 3) {
      const id = await this.world.manager.createLayer(BLOCK, BLOCKS * BLOCK);
      this.model.born(id, null);
    } else if (dice < 55) {
      await this.write(this.pick(heads));
    } else if (dice < 65) {
      await this.hole(this.pick(heads));
    } else if (dice < 77) {
      await this.freeze([...new Set([this.pick(heads), this.pick(heads)])]);
    } else if (dice < 82 && frozen.length > 0) {
      const parent = this.pick(frozen);
      const sizeBlocks = this.random.below(2) === 0 ? BLOCKS : 1 + this.random.below(BLOCKS);
      const id = await this.world.manager.createLayer(BLOCK, sizeBlocks * BLOCK, parent);
      this.model.born(id, parent, sizeBlocks);
      if (sizeBlocks < BLOCKS) await this.handle(id).expand(BLOCKS * BLOCK);
    } else if (dice < 90 && frozen.length > 0) {
      await this.drop(this.pick(frozen));
    } else if (dice < 93) {
      await this.drop(this.pick(heads));
    } else if (dice < 96) {
      await this.world.manager.checkpoint();
    } else {
      await this.reopen(dice < 98);
    }
  }

  async write(id: LayerId): Promise<void> {
    const first = this.random.below(BLOCKS);
    const count = Math.min(BLOCKS - first, 1 + this.random.below(this.random.below(4) === 0 ? 200 : 6));
    const data = new Uint8Array(count * BLOCK);
    const { shows } = this.model.layers.get(id) as ModelLayer;
    for (let n = 0; n < count; n += 1) {
      shows[first + n] = this.model.next();
      new DataView(data.buffer).setFloat64(n * BLOCK, shows[first + n], true);
    }
    await perform(this.handle(id), Operation.WRITE, first * BLOCK, data.length, { data });
  }

  async hole(id: LayerId): Promise<void> {
    const first = this.random.below(BLOCKS);
    const count = 1 + this.random.below(BLOCKS - first);
    await perform(this.handle(id), Operation.TRIM, first * BLOCK, count * BLOCK);
    (this.model.layers.get(id) as ModelLayer).shows.fill(0, first, first + count);
  }

  async freeze(ids: readonly LayerId[]): Promise<void> {
    // With writes under way: those that were submitted before belong to the snapshot, those after it to the head.
    const before = ids.map((id) => this.write(id));
    const children = this.world.manager.freeze(ids);
    await Promise.all(before);
    for (const [n, child] of (await children).entries()) {
      const head = this.model.layers.get(ids[n]) as ModelLayer;
      head.frozen = true;
      this.model.born(child, ids[n]);
      const handle = this.handles.get(ids[n]);
      this.handles.delete(ids[n]);
      if (handle !== undefined) this.handles.set(child, handle);
    }
  }

  async drop(id: LayerId): Promise<void> {
    await this.handles.get(id)?.close();
    this.handles.delete(id);
    await this.world.manager.dropLayer(id);
    this.model.layers.delete(id);
  }

  async reopen(clean: boolean): Promise<void> {
    this.handles.clear();
    if (clean) await this.world.close();
    else await this.world.kill();
    await this.world.open();
  }

  async check(): Promise<void> {
    const into = new Uint8Array(BLOCKS * BLOCK);
    for (const [id, { shows, frozen }] of this.model.layers) {
      const handle = this.handle(id);
      await perform(handle, Operation.READ, 0, into.length, { data: into });
      const view = new DataView(into.buffer);
      for (let n = 0; n < BLOCKS; n += 1) {
        if (view.getFloat64(n * BLOCK, true) === shows[n]) continue;
        throw new Error(
          `layer ${id} (${frozen ? 'frozen' : 'head'}) block ${n}: ${view.getFloat64(n * BLOCK, true)}, not ${shows[n]}`,
        );
      }
      const usage = await this.world.manager.usage(id);
      expect(usage.referencedBytes).toBe(shows.filter((each) => each !== 0).length * BLOCK);
      if (!frozen) continue;
      await handle.close();
      this.handles.delete(id);
    }
  }

  /** Nothing hidden is left but what several layers were made from, and every block that is live belongs to one layer. */
  async checkSums(): Promise<void> {
    const { manager, store } = this.world;
    await store.merged();
    await manager.checkpoint();
    const layers = manager.layers();
    for (const { layer, hidden } of layers) {
      if (!hidden) expect(this.model.layers.has(layer)).toBe(true);
      else expect(layers.filter(({ parent }) => parent === layer).length).toBeGreaterThan(1);
    }
    const own = layers.reduce((sum, layer) => sum + layer.allocatedBytes, 0);
    expect(manager.report().liveBytes).toBe(own);
    let exclusive = 0;
    for (const { layer } of layers) exclusive += (await manager.usage(layer)).exclusiveBytes;
    expect(exclusive).toBeLessThanOrEqual(own);
  }

  rootOf(layer: LayerId): LayerId {
    const parent = this.world.manager.layers().find((each) => each.layer === layer)?.parent ?? null;
    return parent === null ? layer : this.rootOf(parent);
  }

  /** What has changed between two layers, against what their contents say. */
  async checkDifference(): Promise<void> {
    const ids = [...this.model.layers.keys()];
    if (ids.length === 0) return;
    const from = this.random.below(4) === 0 ? null : this.pick(ids);
    const to = this.pick(ids);
    const before = from === null ? new Float64Array(BLOCKS) : (this.model.layers.get(from) as ModelLayer).shows;
    const now = (this.model.layers.get(to) as ModelLayer).shows;
    if (from !== null && this.rootOf(from) !== this.rootOf(to)) {
      const difference = this.world.manager.diff(from, to, 0, 1);
      await expect(difference).rejects.toMatchObject({ code: 'UNRELATED', fault: { from, to } });
      await expect(difference).rejects.toThrow(`layers ${from} and ${to} have no history in common: compare`);
      return;
    }
    const changed = new Set<number>();
    let offset: number | null = 0;
    while (offset !== null) {
      const page = await this.world.manager.diff(from, to, offset, 1 + this.random.below(5));
      for (const range of page.ranges) {
        for (let at = range.offsetBytes; at < range.offsetBytes + range.lengthBytes; at += BLOCK) {
          expect(changed.has(at / BLOCK)).toBe(false);
          changed.add(at / BLOCK);
          expect(range.data).toBe(now[at / BLOCK] !== 0);
        }
      }
      offset = page.nextOffsetBytes;
    }
    const expected = [...now.keys()].filter((n) => now[n] !== before[n]);
    expect([...changed].toSorted((a, b) => a - b)).toEqual(expected);
  }
}

describe('layers that are frozen, cloned and dropped at random', () => {
  it.each([1, 2, 3, 4, 5, 6])('show what was written to them and nothing else (seed %i)', async (seed) => {
    const world = await StoreWorld.make({ store: { mapCacheBytes: 64 * 1024 } });
    onTestFinished(() => world.destroy());
    await world.open();
    const drive = new Drive(world, new SeededRandom(seed));
    for (let step = 0; step < STEPS; step += 1) {
      await drive.step();
      if (step % 20 === 19) {
        await drive.check();
        await drive.checkDifference();
      }
    }
    await drive.reopen(false);
    await drive.check();
    await drive.checkSums();
    expect(world.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });
});
