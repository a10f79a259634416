import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MapDisk, MemoryMapEnvironment } from './memory-map-environment.js';
import { perform, StoreWorld } from './store-world.js';
import { VolatileDisk, VolatileFiles } from './volatile-files.js';

const BLOCKS = 256;
const BLOCK_BYTES = 4096;

/** Everything that the disk holds, to be damaged and put back. */
class Snapshot {
  readonly #path: string;
  readonly #map: MapDisk;
  readonly files = new Map<string, Buffer>();
  readonly #rows: Map<string, Uint8Array>;

  constructor(world: StoreWorld, map: MapDisk) {
    this.#path = join(world.path, 'journal');
    this.#map = map;
    for (const name of readdirSync(this.#path)) this.files.set(name, readFileSync(join(this.#path, name)));
    this.#rows = new Map([...map.rows].map(([key, value]) => [key, value.slice()]));
  }

  restore(): void {
    for (const name of readdirSync(this.#path)) if (!this.files.has(name)) rmSync(join(this.#path, name));
    for (const [name, bytes] of this.files) writeFileSync(join(this.#path, name), bytes);
    this.#map.rows.clear();
    for (const [key, value] of this.#rows) this.#map.rows.set(key, value.slice());
  }

  flip(name: string, offset: number, bit: number): void {
    const bytes = Buffer.from(this.files.get(name) as Buffer);
    bytes[offset] ^= 1 << bit;
    writeFileSync(join(this.#path, name), bytes);
  }

  zero(name: string, from: number, end: number): void {
    writeFileSync(join(this.#path, name), Buffer.from(this.files.get(name) as Buffer).fill(0, from, end));
  }

  remove(name: string): void {
    rmSync(join(this.#path, name));
  }

  /** Offsets of record headers in a segment, by their magic. */
  records(name: string): number[] {
    const bytes = this.files.get(name) as Buffer;
    const found: number[] = [];
    for (let at = 4096; at < bytes.length; at += 64) if (bytes.readUInt32LE(at) === 0x43455247) found.push(at);
    return found;
  }
}

/** A map that is set aside is not there any more. */
class MapWatchingFiles extends VolatileFiles {
  readonly #map: MapDisk;
  constructor(options: { disk: VolatileDisk }, map: MapDisk) {
    super(options);
    this.#map = map;
  }
  override async rename(from: string, to: string): Promise<void> {
    await super.rename(from, to);
    if (from.endsWith('map')) this.#map.rows.clear();
  }
}

describe('damage', () => {
  let world: StoreWorld;
  let map: MapDisk;
  let random: SeededRandom;
  /** What each block of the first two volumes holds. */
  let expected: Uint32Array[];
  let nextId = 1;

  afterEach(async (context) => {
    if (context.task.result?.state === 'fail') {
      console.error(
        world.lines.slice(-30).map((line) => `${line.level} ${line.message} ${JSON.stringify(line.fields)}`),
      );
    }
    await world.destroy();
  });

  async function make(): Promise<void> {
    map = new MapDisk();
    random = new SeededRandom(5);
    expected = [new Uint32Array(BLOCKS), new Uint32Array(BLOCKS)];
    const disk = new VolatileDisk();
    world = await StoreWorld.make({
      files: () => new MapWatchingFiles({ disk }, map),
      openEnvironment: () => new MemoryMapEnvironment({ disk: map }),
      random,
    });
    await world.open();
    for (let n = 0; n < 3; n += 1) await world.manager.createLayer(BLOCK_BYTES, BLOCKS * BLOCK_BYTES);
  }

  const open = (layer: number): VolumeHandle => world.volume(layer as LayerId, layer === 2 ? null : undefined);
  const flush = (handle: VolumeHandle): Promise<void> => perform(handle, Operation.FLUSH, 0, 0);

  async function write(handle: VolumeHandle, volume: number, first: number, count: number): Promise<void> {
    const data = new Uint8Array(count * BLOCK_BYTES);
    const view = new DataView(data.buffer);
    for (let n = 0; n < count; n += 1) {
      expected[volume][first + n] = nextId;
      for (let at = 0; at < BLOCK_BYTES; at += 4) view.setUint32(n * BLOCK_BYTES + at, nextId, true);
      nextId += 1;
    }
    await perform(handle, Operation.WRITE, first * BLOCK_BYTES, data.length, { data });
  }

  async function scribble(times: number): Promise<void> {
    const handles = [open(1), open(2)];
    for (let n = 0; n < times; n += 1) {
      const volume = random.below(2);
      const first = random.below(BLOCKS);
      const count = Math.min(BLOCKS - first, 1 + random.below(20));
      if (random.below(6) === 0) {
        expected[volume].fill(0, first, first + count);
        await perform(handles[volume], Operation.TRIM, first * BLOCK_BYTES, count * BLOCK_BYTES);
      } else {
        await write(handles[volume], volume, first, count);
      }
      if (random.below(5) === 0) await flush(handles[volume]);
    }
    await flush(handles[0]);
    await flush(handles[1]);
  }

  /** A last record of a volume that nobody looks at: it covers all before it. */
  async function cover(): Promise<void> {
    const handle = open(3);
    for (let n = 0; n < 2; n += 1) {
      await perform(handle, Operation.WRITE, 0, BLOCK_BYTES, { data: random.bytes(BLOCK_BYTES) });
      await flush(handle);
    }
  }

  /** Opens the store and reads everything: each block is right or refused. Returns how many were refused. */
  async function judge(what: string): Promise<number> {
    let refused = 0;
    await world.open();
    try {
      for (const [volume, ids] of expected.entries()) {
        let handle: VolumeHandle;
        try {
          handle = open(volume + 1);
        } catch {
          refused += BLOCKS;
          continue;
        }
        const blocks = Array.from({ length: BLOCKS }, async (_, block) => {
          const data = new Uint8Array(BLOCK_BYTES);
          try {
            await perform(handle, Operation.READ, block * BLOCK_BYTES, BLOCK_BYTES, { data });
          } catch (thrown) {
            expect(String(thrown)).toContain('IO');
            return 1;
          }
          const right = new Uint8Array(new Uint32Array(BLOCK_BYTES / 4).fill(ids[block]).buffer);
          if (Buffer.compare(data, right) !== 0) {
            const found = new DataView(data.buffer).getUint32(0, true);
            throw new Error(`${what}: block ${block} of volume ${volume + 1} is ${found}, not ${ids[block]}`);
          }
          return 0;
        });
        for (const bad of await Promise.all(blocks)) refused += bad;
      }
    } finally {
      await world.kill();
    }
    return refused;
  }

  /** A store with checkpoint, several segments behind it, a kill and a restart among them. */
  async function history(): Promise<Snapshot> {
    await make();
    await scribble(30);
    await world.manager.checkpoint();
    await scribble(25);
    await world.kill();
    await world.open();
    await scribble(25);
    await cover();
    await world.kill();
    const snapshot = new Snapshot(world, map);
    expect(await judge('undamaged')).toBe(0);
    return snapshot;
  }

  it('in headers of segments hides nothing', async () => {
    const snapshot = await history();
    for (const name of snapshot.files.keys()) {
      for (const offset of [0, 17, 25, 33, 49, 4093]) {
        snapshot.restore();
        snapshot.flip(name, offset, random.below(8));
        await judge(`${name} at ${offset}`);
      }
    }
  });

  it('in headers of records hides nothing', async () => {
    const snapshot = await history();
    const all = [...snapshot.files.keys()].flatMap((name) => snapshot.records(name).map((at) => ({ name, at })));
    for (let n = 0; n < 30; n += 1) {
      const { name, at } = all[random.below(all.length)];
      const offset = at + random.below(112);
      snapshot.restore();
      snapshot.flip(name, offset, random.below(8));
      await judge(`${name} at ${offset}`);
    }
  });

  it('in payloads and anywhere else hides nothing', async () => {
    const snapshot = await history();
    const names = [...snapshot.files.keys()];
    for (let n = 0; n < 30; n += 1) {
      const name = names[random.below(names.length)];
      const ends = snapshot.records(name);
      const end = ends.length === 0 ? 8192 : ends[ends.length - 1];
      snapshot.restore();
      if (random.below(2) === 0) {
        const offset = random.below(end);
        snapshot.flip(name, offset, random.below(8));
        await judge(`${name} at ${offset}`);
      } else {
        const from = random.below(end / 512) * 512;
        snapshot.zero(name, from, from + 512 * (1 + random.below(24)));
        await judge(`${name} zeros from ${from}`);
      }
    }
  });

  it('of whole segment files is no reason not to start', async () => {
    const snapshot = await history();
    const newest = [...snapshot.files.keys()].filter((name) => snapshot.records(name).length > 0).at(-1);
    for (const name of snapshot.files.keys()) {
      snapshot.restore();
      snapshot.remove(name);
      await judge(`${name} gone`);
      // Nothing can tell a last segment without a trace from one that was never used.
      if (name === newest) continue;
      snapshot.restore();
      snapshot.zero(name, 0, snapshot.files.get(name)?.length ?? 0);
      await judge(`${name} all zeros`);
    }
  });

  it('in what an earlier recovery had found is no torn end', async () => {
    await make();
    await scribble(20);
    await world.kill();
    await world.open();
    await world.kill();
    const snapshot = new Snapshot(world, map);
    expect(await judge('undamaged')).toBe(0);
    for (const name of snapshot.files.keys()) {
      for (const at of snapshot.records(name).slice(-4)) {
        snapshot.restore();
        snapshot.flip(name, at + 30, 1);
        await judge(`${name} at ${at + 30}`);
        snapshot.restore();
        snapshot.flip(name, at + 200, 1);
        await judge(`${name} at ${at + 200}`);
      }
    }
  });

  it('in rows of the map is seen, and the map rebuilt or the leaf refused', async () => {
    const snapshot = await history();
    snapshot.restore();
    const keys = [...map.rows.keys()];
    let leaves = 0;
    for (const key of keys) {
      if (key.startsWith('04') && (leaves += 1) > 3) continue;
      const length = (map.rows.get(key) as Uint8Array).length;
      for (const offset of [0, random.below(length), length - 1]) {
        snapshot.restore();
        (map.rows.get(key) as Uint8Array)[offset] ^= 1 << random.below(8);
        await judge(`row ${key} at ${offset}`);
      }
    }
  });

  it('of the row that names the segment of the checkpoint is no reason not to start', async () => {
    const snapshot = await history();
    snapshot.restore();
    for (const key of [...map.rows.keys()].filter((each) => each.startsWith('02'))) {
      snapshot.restore();
      map.rows.delete(key);
      await judge(`row ${key} gone`);
    }
  });

  it('of the whole map costs nothing: it is rebuilt from the journal', async () => {
    const snapshot = await history();
    map.rows.clear();
    expect(await judge('without map')).toBe(0);
    // And again after a normal life on the rebuilt one.
    await world.open();
    await scribble(10);
    await world.close();
    map.rows.clear();
    expect(await judge('without map, again')).toBe(0);
    snapshot.restore();
  });

  it('of a write that the disk never made is seen, though an older block lies there', async () => {
    await make();
    const handle = open(1);
    await write(handle, 0, 7, 1);
    await write(handle, 0, 7, 1);
    const engine = world.store.engine;
    if (engine === null) throw new Error('the store has no engine');
    await flush(handle);
    await cover();
    await world.kill();
    const snapshot = new Snapshot(world, map);
    // The newer block's sectors hold the older block, header and all: same key, same index.
    const name = [...snapshot.files.keys()].find((each) => snapshot.records(each).length > 0) as string;
    const bytes = snapshot.files.get(name) as Buffer;
    const records = snapshot.records(name).filter((at) => bytes.readUInt16LE(at + 6) === 1);
    const blockAt = (record: number): number => record + bytes.readUInt32LE(record + 64);
    const older = Buffer.from(bytes.subarray(blockAt(records[0]), blockAt(records[0]) + 4160));
    older.copy(bytes, blockAt(records[1]));
    snapshot.restore();
    // Within one segment the generation is the same; the record's own checksum is what tells.
    const refused = await judge('older block').catch(() => -1);
    expect([-1, 1]).toContain(refused);
    expect(world.lines.some((line) => line.message.includes('damaged payload'))).toBe(true);
  });
});
