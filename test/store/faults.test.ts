import { closeSync, fstatSync, openSync, readdirSync, writeSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Operation, RequestFlag } from '../../src/device/block-device.js';
import { FileError } from '../../src/io/file-error.js';
import type { Files } from '../../src/io/files.js';
import { segmentName } from '../../src/store/journal/segment-files.js';
import { READY_SEGMENTS, RESERVE_SEGMENTS } from '../../src/store/limits.js';
import { StoreError } from '../../src/store/store-error.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { FaultyEnvironment } from './faulty-environment.js';
import { faultyFiles, type Fault } from './faulty-files.js';
import { HastyClock } from './hasty-clock.js';
import { MIB, perform, StoreWorld, type WorldOptions } from './store-world.js';

const EIO = new FileError('injected', { code: 'IO', path: '', errno: 'EIO' });
const NO_FAULT: Fault = () => null;

/** A disk that fails once at the next call of this name that the journal makes, then works. */
function failOnce(call: keyof Files): Fault {
  let left = 1;
  return (name, path) => {
    if (name !== call || !path.includes('segment-') || left === 0) return null;
    left -= 1;
    return EIO;
  };
}

/** The next fdatasync of this file fails, and the kernel drops the dirty pages behind this offset. */
function loseFrom(path: string, offset: number): Fault {
  let left = 1;
  return (name, file) => {
    if (name !== 'sync' || file !== path || left === 0) return null;
    left -= 1;
    const descriptor = openSync(path, 'r+');
    const length = fstatSync(descriptor).size - offset;
    writeSync(descriptor, new Uint8Array(length), 0, length, offset);
    closeSync(descriptor);
    return EIO;
  };
}

const failAlways = (...calls: (keyof Files)[]): Fault => {
  return (name, path) => (calls.includes(name) && path.includes('segment-') ? EIO : null);
};

const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);

describe('a disk that fails', () => {
  let world: StoreWorld;
  let fault: Fault;
  let commitFault: () => StoreError | null;
  let rejections: unknown[];
  const onRejection = (reason: unknown): void => {
    rejections.push(reason);
  };

  async function make(options: WorldOptions = {}): Promise<void> {
    world = await StoreWorld.make({
      files: (real) => faultyFiles(real, (name, path) => fault(name, path)),
      environment: (real) => new FaultyEnvironment(real, () => commitFault()),
      clock: new HastyClock(),
      ...options,
    });
    await world.open();
  }

  async function volume(sizeBytes = 32 * MIB): Promise<VolumeHandle> {
    return world.volume(await world.manager.createLayer(4096, sizeBytes));
  }

  const write = (handle: VolumeHandle, offset: number, length: number, value: number, flags = 0): Promise<void> =>
    perform(handle, Operation.WRITE, offset, length, { data: filled(length, value), flags });

  async function valueAt(handle: VolumeHandle, offset: number): Promise<number> {
    const data = new Uint8Array(4096);
    await perform(handle, Operation.READ, offset, 4096, { data });
    expect(data.every((byte) => byte === data[0])).toBe(true);
    return data[0];
  }

  function enginePosition(): { readonly slot: number; readonly offset: number } {
    const { engine } = world.store;
    if (engine === null) throw new Error('the store has no engine');
    return engine.journal.position;
  }

  const flush = (handle: VolumeHandle): Promise<void> => perform(handle, Operation.FLUSH, 0, 0);

  beforeEach(() => {
    fault = NO_FAULT;
    commitFault = () => null;
    rejections = [];
    process.on('unhandledRejection', onRejection);
  });

  afterEach(async () => {
    fault = NO_FAULT;
    commitFault = () => null;
    await world.destroy();
    await new Promise<void>((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', onRejection);
    expect(rejections).toEqual([]);
  });

  it('answers a flush with EIO when fdatasync fails, and serves what it reads back', async () => {
    await make();
    const handle = await volume();
    await write(handle, 0, 4096, 1);
    await flush(handle);
    await write(handle, 0, 4096, 2);
    fault = failOnce('sync');
    await expect(flush(handle)).rejects.toThrow('IO');
    await write(handle, 4096, 4096, 3);
    await flush(handle);
    // The process lives on, so the page cache did: here nothing was lost.
    expect(await valueAt(handle, 0)).toBe(2);
    expect(await valueAt(handle, 4096)).toBe(3);
    await world.kill();
    await world.open();
  });

  it('fails the next flush once when acknowledged writes are gone', async () => {
    await make();
    const handle = await volume();
    await write(handle, 0, 4096, 1);
    await flush(handle);
    const from = enginePosition();
    await write(handle, 0, 4096, 2);
    // The kernel drops the dirty pages of the failed sync: what was acknowledged is no more.
    const path = join(world.path, 'journal', segmentName(from.slot));
    fault = loseFrom(path, from.offset);
    await expect(flush(handle)).rejects.toThrow('IO');
    await write(handle, 8192, 4096, 7);
    expect(await valueAt(handle, 0)).toBe(1);
    // Less than a block: changes nothing, and must not take the news that are for the flush.
    await perform(handle, Operation.TRIM, 512, 2048, { flags: RequestFlag.FUA });
    await expect(flush(handle)).rejects.toThrow('lost acknowledged writes');
    await flush(handle);
    expect(await valueAt(handle, 8192)).toBe(7);
  });

  it.each(['appendNow', 'appendLater'] as const)('fails the write whose %s fails, and goes on', async (call) => {
    await make();
    const handle = await volume();
    const length = call === 'appendNow' ? 4096 : 768 * 1024;
    await write(handle, 0, length, 1, RequestFlag.FUA);
    fault = failOnce(call);
    const first = write(handle, 0, length, 2);
    const later = [write(handle, 16 * MIB, length, 3), write(handle, 17 * MIB, 4096, 4)];
    await Promise.allSettled([first, ...later]);
    // A part of it may have gone into the rest of the segment before.
    expect([1, 2]).toContain(await valueAt(handle, 0));
    expect(await valueAt(handle, length - 4096)).toBe(1);
    await write(handle, 0, length, 5);
    expect(await valueAt(handle, length - 4096)).toBe(5);
    await world.kill();
    await world.open();
    expect(await valueAt(world.volume(1 as LayerId), 0)).toBe(5);
  });

  it('acknowledges no request whose first parts were lost', async () => {
    await make();
    const handle = await volume();
    await write(handle, 0, 24 * MIB, 1);
    await flush(handle);
    // It takes many batches and segments; what fails in the middle has the store reopen.
    for (const skip of [2, 5, 9]) {
      let appends = 0;
      fault = (name) => ((name === 'appendLater' || name === 'appendNow') && (appends += 1) === skip ? EIO : null);
      const big = write(handle, 0, 24 * MIB, skip + 10);
      const outcome = await big.then(
        () => 'acknowledged',
        () => 'failed',
      );
      fault = NO_FAULT;
      if (outcome === 'acknowledged') {
        for (let at = 0; at < 24 * MIB; at += MIB) expect(await valueAt(handle, at)).toBe(skip + 10);
      }
    }
  });

  it('starts a request anew whose first parts were appended when a sync failed', async () => {
    await make();
    const handle = await volume();
    await write(handle, 0, 4096, 1);
    await flush(handle);
    await write(handle, 16 * MIB, 4096, 1);
    await flush(handle);
    const from = enginePosition();
    const lose = loseFrom(join(world.path, 'journal', segmentName(from.slot)), from.offset);
    let appends = 0;
    fault = (name, path) => {
      if (name === 'appendLater') appends += 1;
      return lose(name, path);
    };
    const big = write(handle, 0, 24 * MIB, 9);
    const outcome = big.then(
      () => 'acknowledged',
      () => 'failed',
    );
    while (appends < 4) await new Promise<void>((resolve) => setImmediate(resolve));
    // Somebody else's FUA write waits behind; its sync cannot cover the parts that are there already.
    world.store.engine?.journal.sync(world.store.engine.journal.appended, () => undefined);
    const answer = await outcome;
    if (answer === 'acknowledged') {
      for (let at = 0; at < 24 * MIB; at += 256 * 1024) expect(await valueAt(handle, at)).toBe(9);
    }
    expect(world.store.state).toBe('ready');
  });

  it('keeps trying while the disk goes on failing, and makes requests wait', async () => {
    await make();
    const handle = await volume();
    await write(handle, 0, 4096, 1, RequestFlag.FUA);
    let tries = 0;
    fault = (name, path) => {
      if (name === 'allocate' && path.includes('segment-')) tries += 1;
      return failAlways('sync', 'allocate')(name, path);
    };
    await expect(write(handle, 0, 4096, 2, RequestFlag.FUA)).rejects.toThrow('IO');
    const waiting = write(handle, 4096, 4096, 3, RequestFlag.FUA);
    const reading = valueAt(handle, 0);
    const layer = world.manager.createLayer(4096, MIB);
    const handled = layer.then(
      () => 'made',
      () => 'failed',
    );
    while (!world.store.stateReason.includes('tried again'))
      await new Promise<void>((resolve) => setImmediate(resolve));
    expect(world.manager.report().state).toBe('reopening');
    fault = NO_FAULT;
    await waiting;
    expect([1, 2]).toContain(await reading);
    expect(await valueAt(handle, 4096)).toBe(3);
    await handled;
    expect(tries).toBeGreaterThanOrEqual(0);
  });

  it('serves on when the sync of a segment fails that nothing was written to', async () => {
    let failing = '';
    let failed = 0;
    await make();
    const handle = await volume();
    // Everything that is to be ready is: what is prepared from here on is prepared in the background.
    while ((world.store.engine?.table.count('ready') ?? 0) < RESERVE_SEGMENTS + READY_SEGMENTS) {
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    const known = new Set(readdirSync(join(world.path, 'journal')));
    // As the kernel has it: what has failed once goes on failing for whoever has the file open.
    fault = (name, path) => {
      if (name === 'close' && path === failing) failing = '';
      if (name !== 'sync' || !path.includes('segment-') || known.has(basename(path))) return null;
      if (failed === 0) failing = path;
      if (path !== failing) return null;
      failed += 1;
      return EIO;
    };
    for (let n = 0; n < 12; n += 1) await write(handle, n * MIB, MIB, n + 1);
    await flush(handle);
    expect(failed).toBe(1);
    expect(world.lines.filter((line) => line.level === 'error')).toEqual([]);
    expect(world.lines.some((line) => line.message.includes('could not be prepared'))).toBe(true);
    expect(await valueAt(handle, 11 * MIB)).toBe(12);
  });

  it('closes although the disk never comes back', async () => {
    await make();
    const handle = await volume();
    await write(handle, 0, 4096, 1, RequestFlag.FUA);
    fault = failAlways('sync', 'open', 'allocate');
    await expect(write(handle, 0, 4096, 2, RequestFlag.FUA)).rejects.toThrow('IO');
    const waiting = [write(handle, 4096, 4096, 3), write(handle, 512, 512, 3), flush(handle)].map((promise) =>
      promise.then(
        () => 'done',
        (thrown: unknown) => String(thrown),
      ),
    );
    await world.close();
    for (const outcome of await Promise.all(waiting)) expect(outcome).toMatch(/CLOSED|IO/);
  });

  it('answers, when it closes, every unaligned write that waits for another', async () => {
    await make();
    const handle = await volume();
    await write(handle, 0, 4096, 1, RequestFlag.FUA);
    fault = failAlways('sync', 'open', 'allocate');
    await expect(write(handle, 0, 4096, 2, RequestFlag.FUA)).rejects.toThrow('IO');
    // Each gets the block only when the one before it has failed.
    const waiting = [3, 4, 5, 6, 7].map((value) =>
      write(handle, 512, 512, value).then(
        () => 'done',
        (thrown: unknown) => String(thrown),
      ),
    );
    await world.close();
    for (const outcome of await Promise.all(waiting)) expect(outcome).toMatch(/CLOSED|IO/);
  });

  it('closes when the disk fails under the last checkpoint', async () => {
    await make();
    const handle = await volume();
    await write(handle, 0, 4096, 1, RequestFlag.FUA);
    await write(handle, 0, 4096, 2);
    fault = failAlways('sync');
    await world.close();
    fault = NO_FAULT;
    await world.open();
    expect([1, 2]).toContain(await valueAt(world.volume(1 as LayerId), 0));
  });

  it('gives no layer id twice when a layer verb meets the failure', async () => {
    await make();
    const handle = await volume();
    await write(handle, 0, 4096, 1);
    fault = failOnce('sync');
    const outcomes = await Promise.allSettled([
      world.manager.createLayer(4096, MIB),
      world.manager.createLayer(65536, MIB),
      flush(handle),
    ]);
    const made: number[] = outcomes.flatMap((outcome) =>
      outcome.status === 'fulfilled' && typeof outcome.value === 'number' ? [outcome.value] : [],
    );
    for (const blockBytes of [16384, 65536]) {
      const layer = await world.manager.createLayer(blockBytes, MIB);
      expect(made).not.toContain(layer);
      made.push(layer);
      const fresh = world.volume(layer);
      expect(fresh.blockBytes).toBe(blockBytes);
      await write(fresh, 0, 65536, layer, RequestFlag.FUA);
    }
    await world.kill();
    await world.open();
    for (const layer of made.slice(-2)) expect(await valueAt(world.volume(layer as LayerId), 0)).toBe(layer);
  });

  it('writes on when commits of the map fail, and keeps them for the next checkpoint', async () => {
    await make({ store: { journalReplayBytesMax: 64 * MIB } });
    const handle = await volume();
    await write(handle, 0, 4096, 1);
    commitFault = () => new StoreError('injected', { code: 'IO', detail: 'injected' });
    for (let n = 0; n < 5; n += 1) await expect(world.manager.checkpoint()).rejects.toThrow('injected');
    await write(handle, 4096, 4096, 2);
    commitFault = () => null;
    await world.manager.checkpoint();
    await world.kill();
    await world.open();
    const again = world.volume(1 as LayerId);
    expect(await valueAt(again, 0)).toBe(1);
    expect(await valueAt(again, 4096)).toBe(2);
    await world.manager.checkpoint();
    expect(again.allocatedBytes).toBe(8192);
  });

  it('loses nothing durable to a commit that fails in the middle of a checkpoint', async () => {
    await make();
    const handle = await volume();
    for (let round = 1; round <= 6; round += 1) {
      for (let leaf = 0; leaf < 40; leaf += 1) await write(handle, leaf * 524_288, 4096, round);
      let commits = 0;
      commitFault = () => ((commits += 1) === 1 + (round % 2) ? new StoreError('injected', { code: 'FULL' }) : null);
      await world.manager.checkpoint().catch(() => undefined);
      commitFault = () => null;
      if (round % 3 === 0) {
        await world.kill();
        await world.open();
        const again = world.volume(1 as LayerId);
        for (let leaf = 0; leaf < 40; leaf += 1) expect(await valueAt(again, leaf * 524_288)).toBe(round);
        break;
      }
    }
  });

  it('does not leave writers waiting when a checkpoint that somebody asked for lifts their limit', async () => {
    await make({ store: { journalReplayBytesMax: 2 * MIB } });
    const handle = await volume();
    await write(handle, 0, MIB, 1);
    const checkpoint = world.manager.checkpoint();
    const writes = Array.from({ length: 12 }, (_, n) => write(handle, n * MIB, MIB, n + 1));
    await checkpoint;
    await Promise.all(writes);
    expect(await valueAt(handle, 11 * MIB)).toBe(12);
  });
});
