import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Operation, RequestFlag } from '../../src/device/block-device.js';
import { FileError } from '../../src/io/file-error.js';
import type { FileId, Files, OpenMode } from '../../src/io/files.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { READ_ATTEMPTS_MAX } from '../../src/store/limits.js';
import { MapDisk, MemoryMapEnvironment } from './memory-map-environment.js';
import { MIB, perform, StoreWorld } from './store-world.js';

const BLOCK = 4096;
const PAGE = 4096;
const MAGIC = 0x43455247;

/** A page of a segment that a disk cannot read, so many times. */
interface BadPage {
  readonly name: string;
  readonly page: number;
  times: number;
}

function withBadPages(real: Files, bad: BadPage[]): Files {
  const names = new Map<FileId, string>();
  return new Proxy(real, {
    get(target, name: keyof Files): unknown {
      if (name === 'open') {
        return async (path: string, mode: OpenMode): Promise<FileId> => {
          const file = await target.open(path, mode);
          names.set(file, basename(path));
          return file;
        };
      }
      if (name === 'read') {
        return async (...[file, offset, into, at, length]: Parameters<Files['read']>): Promise<number> => {
          for (const each of bad) {
            if (each.name !== names.get(file) || each.times === 0) continue;
            if (each.page + PAGE <= offset || each.page >= offset + length) continue;
            each.times -= 1;
            throw new FileError('bad', { code: 'IO', path: each.name, errno: 'EIO' });
          }
          return target.read(file, offset, into, at, length);
        };
      }
      const method = target[name] as (...values: unknown[]) => unknown;
      return method.bind(target);
    },
  });
}

describe('a page that a start cannot read', () => {
  let world: StoreWorld;
  const bad: BadPage[] = [];
  const map = new MapDisk();
  let layers: LayerId[] = [];

  afterEach(async () => {
    await world.destroy();
    map.rows.clear();
    bad.length = 0;
  });

  function written(handle: VolumeHandle, at: number, fua: boolean): Promise<void> {
    const data = new Uint8Array(BLOCK).fill(1 + at);
    return perform(handle, Operation.WRITE, at * BLOCK, BLOCK, { data, flags: fua ? RequestFlag.FUA : 0 });
  }

  /** Two volumes with 24 blocks each, durable or merely appended, and a kill. Returns where records are. */
  async function history(fua: boolean): Promise<{ name: string; offset: number }[]> {
    world = await StoreWorld.make({
      files: (real) => withBadPages(real, bad),
      openEnvironment: () => new MemoryMapEnvironment({ disk: map }),
    });
    await world.open();
    layers = [await world.manager.createLayer(BLOCK, MIB), await world.manager.createLayer(BLOCK, MIB)];
    const handles = layers.map((layer) => world.volume(layer));
    for (let at = 0; at < 24; at += 1) for (const handle of handles) await written(handle, at, fua);
    await world.kill();
    return records();
  }

  /** Every record of the journal's first segment. */
  function records(): { name: string; offset: number }[] {
    const journal = join(world.path, 'journal');
    const name = readdirSync(journal)[0];
    const bytes = readFileSync(join(journal, name));
    const found: { name: string; offset: number }[] = [];
    for (let offset = PAGE; offset + 64 <= bytes.length; offset += 64) {
      if (bytes.readUInt32LE(offset) === MAGIC) found.push({ name, offset });
    }
    return found;
  }

  function spoil({ name, offset }: { name: string; offset: number }, times: number): BadPage {
    const page = { name, page: Math.floor(offset / PAGE) * PAGE, times };
    bad.push(page);
    return page;
  }

  async function expectWhole(): Promise<void> {
    const found = world.manager.layers();
    expect(found.map((layer) => layer.damage)).toEqual(['', '']);
    for (const layer of layers) {
      const data = new Uint8Array(24 * BLOCK);
      await perform(world.volume(layer), Operation.READ, 0, data.length, { data });
      for (let at = 0; at < 24; at += 1) expect(data[at * BLOCK]).toBe(1 + at);
    }
  }

  it('is read again, and nothing comes of it', async () => {
    const found = await history(false);
    for (const at of [0, 5, found.length - 1]) spoil(found[at], READ_ATTEMPTS_MAX - 1);
    spoil({ name: found[0].name, offset: 0 }, READ_ATTEMPTS_MAX - 1);
    await world.open();
    await expectWhole();
    expect(bad.every((page) => page.times === 0)).toBe(true);
  });

  it('is no torn end: the start is refused, by segment and offset, and the next one is whole', async () => {
    const found = await history(false);
    for (const at of [20, found.length - 1, -1]) {
      // The last one lies behind everything: it might say that what stands before it was durable.
      const page = spoil(at < 0 ? { name: found[0].name, offset: MIB - PAGE } : found[at], Number.POSITIVE_INFINITY);
      const refusal = await world.open().then(
        () => 'opened',
        (thrown: unknown) => (thrown as Error).message,
      );
      expect(refusal).toContain(`${page.name} at offset ${page.page} cannot be read`);
      expect(refusal).toContain('start again when the disk can read it');
      page.times = 0;
    }
    await world.open();
    await expectWhole();
  });

  it('in the header of a segment may hide where the journal goes on: the start is refused, and the next one is whole', async () => {
    await history(false);
    for (const name of readdirSync(join(world.path, 'journal')).slice(0, 2)) {
      const page = spoil({ name, offset: 0 }, Number.POSITIVE_INFINITY);
      await expect(world.open()).rejects.toMatchObject({ code: 'IO' });
      page.times = 0;
    }
    await world.open();
    await expectWhole();
  });

  it('in durable records is a refused volume for this start, and nothing of that lasts', async () => {
    const found = await history(true);
    // Of the first volume: the one that the other one's next record does not clear.
    const page = spoil(found[20], Number.POSITIVE_INFINITY);
    await world.open();
    const refused = world.manager.layers().filter((layer) => layer.damage !== '');
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0].damage).toContain(`${page.name} at offset ${page.page} cannot be read`);
    await expect(world.manager.checkpoint()).rejects.toThrow('no checkpoint is written before a start has read it');
    await world.close();
    // Once more with the page as it is, then with the disk well again.
    await world.open();
    expect(world.manager.layers().filter((layer) => layer.damage !== '')).toHaveLength(refused.length);
    await world.kill();
    page.times = 0;
    await world.open();
    await expectWhole();
    await world.manager.checkpoint();
    await world.close();
    await world.open();
    await expectWhole();
  });

  it('in a map that is rebuilt stops it', async () => {
    const found = await history(true);
    map.rows.clear();
    const page = spoil(found[20], Number.POSITIVE_INFINITY);
    await expect(world.open()).rejects.toMatchObject({ code: 'IO' });
    page.times = 0;
    await world.open();
    await expectWhole();
  });
});
