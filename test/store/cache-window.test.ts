import { describe, expect, it, onTestFinished } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import type { FileId, Files } from '../../src/io/files.js';
import { CacheWindow } from '../../src/store/journal/cache-window.js';
import type { SegmentFiles } from '../../src/store/journal/segment-files.js';
import { MIB, perform, StoreWorld } from './store-world.js';

interface Dropped {
  readonly file: number;
  readonly offset: number;
  readonly length: number;
}

function windowOver(bytesMax: number, gone: ReadonlySet<number> = new Set()) {
  const dropped: Dropped[] = [];
  const pins = new Map<number, number>();
  const failures = new Set<number>();
  const files = {
    dropCache: (file: number, offset: number, length: number): Promise<void> => {
      expect(pins.get(file)).toBe(1);
      dropped.push({ file, offset, length });
      return failures.has(offset) ? Promise.reject(new Error('no')) : Promise.resolve();
    },
  } as unknown as Files;
  const segmentFiles = {
    openIfThere: (slot: number) => Promise.resolve(gone.has(slot) ? null : (slot as FileId)),
    pin: (slot: number) => pins.set(slot, (pins.get(slot) ?? 0) + 1),
    unpin: (slot: number) => pins.set(slot, (pins.get(slot) ?? 0) - 1),
  } as unknown as SegmentFiles;
  return { window: new CacheWindow({ bytesMax }, { files, segmentFiles }), dropped, pins, failures };
}

describe('the journal in the page cache', () => {
  it('keeps the newest bytes and drops the oldest, range by range', async () => {
    const { window, dropped, pins } = windowOver(3 * MIB);
    for (let n = 0; n < 5; n += 1) window.written(1, n * MIB, MIB);
    await window.settled();
    expect(dropped).toEqual([
      { file: 1, offset: 0, length: MIB },
      { file: 1, offset: MIB, length: MIB },
    ]);
    window.written(2, 4096, MIB);
    await window.settled();
    expect(dropped.at(-1)).toEqual({ file: 1, offset: 2 * MIB, length: MIB });
    expect([...pins.values()]).toEqual([0]);
  });

  it('drops whole pages: one that two ranges share goes with the later one', async () => {
    const { window, dropped } = windowOver(0);
    window.written(1, 0, 10_000);
    window.written(1, 10_000, 5000);
    await window.settled();
    expect(dropped).toEqual([
      { file: 1, offset: 0, length: 10_000 },
      { file: 1, offset: 8192, length: 6808 },
    ]);
  });

  it('goes on when a segment is gone, and after a failure', async () => {
    const { window, dropped, failures } = windowOver(0, new Set([1]));
    window.written(1, 0, 4096);
    failures.add(4096);
    window.written(2, 4096, 4096);
    window.written(2, 8192, 4096);
    await window.settled();
    expect(dropped.map(({ offset }) => offset)).toEqual([4096, 8192]);
  });

  it('takes over what the window held before a start, in steps', async () => {
    const { window, dropped } = windowOver(20 * MIB);
    window.found([5, 7, 6], 9 * MIB);
    await window.settled();
    expect(dropped).toEqual([]);
    window.written(8, 4096, 3 * MIB);
    window.written(8, 4096 + 3 * MIB, 5 * MIB);
    await window.settled();
    // Of three old segments the window had room for the newest two.
    expect(dropped).toEqual([
      { file: 7, offset: 0, length: 4 * MIB },
      { file: 7, offset: 4 * MIB, length: 4 * MIB },
    ]);
    window.written(8, 4096 + 8 * MIB, 3 * MIB);
    await window.settled();
    expect(dropped.at(-1)).toEqual({ file: 7, offset: 8 * MIB, length: MIB });
  });

  it('knows the segments of the last start', async () => {
    let dropped = 0;
    const world = await StoreWorld.make({
      store: { journalCacheBytes: 8 * MIB, segmentBytes: 4 * MIB },
      files: (real) => {
        const drop = real.dropCache.bind(real);
        real.dropCache = (file, offset, length) => {
          // A start drops whole files, before it reads them.
          if (length > 0) dropped += length;
          return drop(file, offset, length);
        };
        return real;
      },
    });
    onTestFinished(() => world.destroy());
    await world.open();
    const layer = await world.manager.createLayer(4096, 32 * MIB);
    for (let at = 0; at < 7; at += 1) {
      await perform(world.volume(layer), Operation.WRITE, at * MIB, MIB, { data: new Uint8Array(MIB).fill(at + 1) });
    }
    await world.close();
    dropped = 0;
    await world.open();
    const again = world.volume(layer);
    for (let at = 0; at < 4; at += 1) {
      await perform(again, Operation.WRITE, at * MIB, MIB, { data: new Uint8Array(MIB).fill(at + 1) });
    }
    await world.store.engine?.journal.drain();
    expect(dropped).toBeGreaterThan(0);
  });

  it('is bounded by the setting while a store writes, and costs no data', async () => {
    let dropped = 0;
    let highest = 0;
    const world = await StoreWorld.make({
      store: { journalCacheBytes: 8 * MIB, segmentBytes: 16 * MIB },
      files: (real) => {
        const drop = real.dropCache.bind(real);
        real.dropCache = (file, offset, length) => {
          dropped += length;
          highest = Math.max(highest, length);
          return drop(file, offset, length);
        };
        return real;
      },
    });
    onTestFinished(() => world.destroy());
    await world.open();
    const layer = await world.manager.createLayer(4096, 32 * MIB);
    const volume = world.volume(layer);
    for (let at = 0; at < 32; at += 1) {
      await perform(volume, Operation.WRITE, at * MIB, MIB, { data: new Uint8Array(MIB).fill(at + 1) });
    }
    await world.store.engine?.journal.drain();
    // 32 MiB and their headers were written, in ranges of at least 4 MiB; what is not yet a range was not counted yet.
    expect(dropped).toBeGreaterThan(32 * MIB - 8 * MIB - 2 * highest);
    const into = new Uint8Array(MIB);
    for (let at = 0; at < 32; at += 1) {
      await perform(volume, Operation.READ, at * MIB, MIB, { data: into });
      expect(into.every((byte) => byte === at + 1)).toBe(true);
    }
  });
});
