import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Operation, RequestFlag } from '../../src/device/block-device.js';
import { FileError } from '../../src/io/file-error.js';
import { NativeFiles } from '../../src/io/native-files.js';
import {
  FULL_DISK_CHANGES_MIN,
  MAP_OPENING_BYTES,
  MAP_RESERVE_BYTES,
  MAP_RESERVE_STEP_BYTES,
} from '../../src/store/limits.js';
import { MapReserve } from '../../src/store/map-reserve.js';
import type { MapChange } from '../../src/store/map/map-environment.js';
import type { MapRows } from '../../src/store/map/map-rows.js';
import { StoreError } from '../../src/store/store-error.js';
import type { VolumeHandle } from '../../src/volume/volume-host.js';
import { temporaryFolder } from '../base/temporary-folder.js';
import { faultyFiles } from './faulty-files.js';
import { MapDisk, MemoryMapEnvironment } from './memory-map-environment.js';
import { LeapingClock } from './hasty-clock.js';
import { MIB, perform, StoreWorld } from './store-world.js';

const BLOCK = 4096;
const block = new Uint8Array(BLOCK).fill(5);

/** '' or the fault. */
async function outcome(done: Promise<unknown>): Promise<string> {
  return done.then(
    () => '',
    (thrown: unknown) => (thrown instanceof StoreError ? thrown.code : (thrown as Error).message),
  );
}

function trim(handle: VolumeHandle, at: number): Promise<string> {
  return outcome(perform(handle, Operation.TRIM, at * BLOCK, BLOCK, { flags: RequestFlag.FUA }));
}

describe('the reserve of a full disk', () => {
  let world: StoreWorld;
  afterEach(async () => {
    await world.destroy();
  });

  /** A disk of so many segments: what a file has it keeps, and nothing comes back. */
  async function diskOf(segments: number): Promise<{ free: boolean }> {
    const disk = { free: false };
    const taken = new Set<string>();
    world = await StoreWorld.make({
      // With it a disk that holds anything dead is not full.
      store: { cleaning: false },
      clock: new LeapingClock(),
      openEnvironment: (() => {
        const map = new MapDisk();
        return () => new MemoryMapEnvironment({ disk: map });
      })(),
      files: (real) =>
        faultyFiles(real, (name, path) => {
          if (name !== 'allocate' || !path.includes('segment-') || taken.has(path)) return null;
          if (taken.size >= segments && !disk.free) return new FileError('full', { code: 'NO_SPACE', path });
          taken.add(path);
          return null;
        }),
    });
    await world.open();
    return disk;
  }

  /** Fills the disk; returns how many blocks it took. */
  async function fill(handle: VolumeHandle): Promise<number> {
    for (let at = 0; at < handle.sizeBytes / BLOCK; at += 1) {
      const fault = await outcome(perform(handle, Operation.WRITE, at * BLOCK, BLOCK, { data: block }));
      if (fault === 'FULL') return at;
      expect(fault).toBe('');
    }
    throw new Error('the disk took everything');
  }

  async function expectBlocks(handle: VolumeHandle, from: number, to: number): Promise<void> {
    const data = new Uint8Array((to - from) * BLOCK);
    await perform(handle, Operation.READ, from * BLOCK, data.length, { data });
    expect(data.every((byte) => byte === 5)).toBe(true);
  }

  it('takes the changes that it promises, refuses the rest, and leaves every start its own part', async () => {
    const disk = await diskOf(8);
    const layer = await world.manager.createLayer(BLOCK, 64 * MIB);
    let handle = world.volume(layer);
    const written = await fill(handle);
    let trims = 0;
    let fault = await trim(handle, 0);
    for (; fault === ''; fault = await trim(handle, trims % written)) trims += 1;
    expect(fault).toBe('FULL');
    expect(trims).toBeGreaterThanOrEqual(FULL_DISK_CHANGES_MIN);
    expect(await outcome(world.manager.createLayer(BLOCK, MIB))).toBe('FULL');
    const kept = Math.min(trims, written);
    for (let n = 0; n < 12; n += 1) {
      if (n % 3 === 0) await world.close();
      else await world.kill();
      await world.open();
      handle = world.volume(layer);
      await expectBlocks(handle, kept, written);
      // The part of the next start is all that is left.
      expect(await trim(handle, kept)).toBe('FULL');
      expect(await outcome(world.manager.dropLayer(layer))).toBe('FULL');
      await perform(handle, Operation.FLUSH, 0, 0);
      if (n % 4 === 0) await world.manager.checkpoint();
    }
    disk.free = true;
    expect(await trim(handle, kept)).toBe('');
    expect(await outcome(perform(handle, Operation.WRITE, 0, BLOCK, { data: block }))).toBe('');
    await world.kill();
    await world.open();
    handle = world.volume(layer);
    await expectBlocks(handle, kept + 1, written);
    await expectBlocks(handle, 0, 1);
  });

  it('with something appended after every start lasts for starts without end', async () => {
    const disk = await diskOf(8);
    const layer = await world.manager.createLayer(BLOCK, 64 * MIB);
    let handle = world.volume(layer);
    const written = await fill(handle);
    let taken = 0;
    for (let n = 0; n < 12; n += 1) {
      if ((await trim(handle, taken)) === '') taken += 1;
      await world.kill();
      await world.open();
      handle = world.volume(layer);
      await expectBlocks(handle, taken, written);
    }
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThan(12);
    disk.free = true;
    expect(await trim(handle, taken)).toBe('');
  });

  it('an empty segment that is taken again holds nothing of before', async () => {
    await diskOf(8);
    const layer = await world.manager.createLayer(BLOCK, 64 * MIB);
    const handle = world.volume(layer);
    await fill(handle);
    for (let n = 0; (await trim(handle, n)) === ''; n += 1);
    await world.kill();
    await world.open();
    const { slot } = (world.store.engine as NonNullable<typeof world.store.engine>).journal.position;
    await world.kill();
    const journal = join(world.path, 'journal');
    const path = join(journal, readdirSync(journal)[slot]);
    const bytes = readFileSync(path);
    expect(bytes.subarray(4096).every((byte) => byte === 0)).toBe(true);
    // As if a power cut had left something behind a lost first record.
    bytes.fill(7, 8192, 16_384);
    writeFileSync(path, bytes);
    await world.open();
    expect(world.store.engine?.journal.position.slot).toBe(slot);
    expect(
      readFileSync(path)
        .subarray(4096)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  it('a map without room refuses what waits for its checkpoint, and lets the store stop', async () => {
    let fault: 'FULL' | 'IO' | null = null;
    class Environment extends MemoryMapEnvironment {
      override commit(changes: readonly MapChange[]): Promise<void> {
        if (fault === 'FULL') return Promise.reject(new StoreError('full', { code: 'FULL' }));
        if (fault === 'IO') return Promise.reject(new StoreError('bad', { code: 'IO', detail: 'bad' }));
        return super.commit(changes);
      }
    }
    const map = new MapDisk();
    world = await StoreWorld.make({
      clock: new LeapingClock(),
      store: { journalReplayBytesMax: MIB / 2 },
      openEnvironment: () => new Environment({ disk: map }),
    });
    for (const kind of ['FULL', 'IO'] as const) {
      await world.open();
      const layer = await world.manager.createLayer(BLOCK, MIB);
      const handle = world.volume(layer);
      fault = kind;
      let failure = '';
      const writes: Promise<string>[] = [];
      for (let at = 0; at < 256; at += 1) {
        writes.push(outcome(perform(handle, Operation.WRITE, at * BLOCK, BLOCK, { data: block })));
      }
      if (kind === 'FULL') failure = (await Promise.all(writes)).find((each) => each !== '') ?? '';
      const create = outcome(world.manager.createLayer(BLOCK, MIB));
      await world.close();
      const answers = await Promise.all([...writes, create]);
      if (kind === 'IO') failure = answers.find((each) => each !== '') ?? '';
      expect(failure).toContain(kind);
      fault = null;
    }
    await world.open();
    expect(world.manager.layers().length).toBeGreaterThanOrEqual(2);
  });
});

describe('what is held back for the map', () => {
  const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

  it('is given up in pieces, its last part to starts alone, and taken again', async () => {
    const directory = await temporaryFolder();
    const files = new NativeFiles();
    const reserve = new MapReserve({ directory }, { files, log });
    expect(await reserve.hold()).toBe(true);
    const size = async (): Promise<number> => {
      const file = await files.open(join(directory, 'reserve'), 'read');
      try {
        return await files.sizeBytes(file);
      } finally {
        await files.close(file);
      }
    };
    let failures = 2;
    const rows = {
      commit: async () => {
        if (failures === 0) return;
        failures -= 1;
        throw new StoreError('full', { code: 'FULL' });
      },
    } as unknown as MapRows;
    await reserve.commit(rows, []);
    expect(await size()).toBe(MAP_RESERVE_BYTES - 2 * MAP_RESERVE_STEP_BYTES);
    reserve.opened();
    failures = Number.POSITIVE_INFINITY;
    await expect(reserve.commit(rows, [])).rejects.toMatchObject({ code: 'FULL' });
    expect(await size()).toBe(MAP_OPENING_BYTES);
    const next = new MapReserve({ directory }, { files, log });
    failures = 4;
    await next.commit(rows, []);
    expect(await size()).toBe(0);
    expect(await next.hold()).toBe(true);
    expect(await size()).toBe(MAP_RESERVE_BYTES);
  });

  it('is not taken by segments', async () => {
    let full = false;
    const map = new MapDisk();
    const made = new Set<string>();
    class Environment extends MemoryMapEnvironment {
      override commit(changes: readonly MapChange[]): Promise<void> {
        if (full) {
          full = false;
          return Promise.reject(new StoreError('full', { code: 'FULL' }));
        }
        return super.commit(changes);
      }
    }
    let room = true;
    const world = await StoreWorld.make({
      clock: new LeapingClock(),
      openEnvironment: () => new Environment({ disk: map }),
      files: (real) =>
        faultyFiles(real, (name, path) => {
          if (name !== 'allocate') return null;
          if (path.includes('segment-')) made.add(path);
          // The disk is full but for what the reserve has given up.
          else if (!room) return new FileError('full', { code: 'NO_SPACE', path });
          return null;
        }),
    });
    try {
      await world.open();
      const handle = world.volume(await world.manager.createLayer(BLOCK, 64 * MIB));
      await perform(handle, Operation.WRITE, 0, BLOCK, { data: block });
      room = false;
      full = true;
      await world.manager.checkpoint();
      const before = made.size;
      let written = 0;
      while ((await outcome(perform(handle, Operation.WRITE, written * BLOCK, BLOCK, { data: block }))) === '') {
        written += 1;
      }
      // What was ready is used up; nothing was made of the map's own room.
      expect(made.size).toBe(before);
      expect(written).toBeGreaterThan(100);
      room = true;
      expect(await outcome(perform(handle, Operation.WRITE, 0, BLOCK, { data: block }))).toBe('');
      expect(made.size).toBeGreaterThan(before);
    } finally {
      await world.destroy();
    }
  });
});

it('a stop whose store fails meanwhile leaves the engine that is gone alone', async () => {
  let broken = false;
  const world = await StoreWorld.make({
    clock: new LeapingClock(),
    files: (real) =>
      faultyFiles(real, (name, path) =>
        broken && name === 'appendNow' ? new FileError('bad', { code: 'IO', path, errno: 'EIO' }) : null,
      ),
  });
  try {
    await world.open();
    const run = vi.spyOn(world.store.engine!.checkpointer, 'run');
    broken = true;
    const create = outcome(world.manager.createLayer(BLOCK, MIB));
    await world.close();
    expect(await create).not.toBe('');
    expect(run).not.toHaveBeenCalled();
  } finally {
    await world.destroy();
  }
});

it('a stop makes durable what was acknowledged, although the map has no room for its checkpoint', async () => {
  let full = false;
  const map = new MapDisk();
  class Environment extends MemoryMapEnvironment {
    override commit(changes: readonly MapChange[]): Promise<void> {
      return full ? Promise.reject(new StoreError('full', { code: 'FULL' })) : super.commit(changes);
    }
  }
  const world = await StoreWorld.make({ openEnvironment: () => new Environment({ disk: map }) });
  try {
    await world.open();
    const handle = world.volume(await world.manager.createLayer(BLOCK, MIB));
    full = true;
    await perform(handle, Operation.WRITE, 0, BLOCK, { data: block });
    const { journal } = world.store.engine!;
    expect(journal.durable).toBeLessThan(journal.appended);
    await world.close();
    expect(journal.durable).toBe(journal.appended);
  } finally {
    await world.destroy();
  }
});
