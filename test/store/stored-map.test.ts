import { expect, it, onTestFinished } from 'vitest';
import { FileError } from '../../src/io/file-error.js';
import type { Files } from '../../src/io/files.js';
import { MapDisk, MemoryMapEnvironment } from './memory-map-environment.js';
import { StoreWorld } from './store-world.js';

it('closes the database of the map again when its folder cannot be synced', async () => {
  const map = new MapDisk();
  let open = 0;
  let broken = true;
  class CountedEnvironment extends MemoryMapEnvironment {
    override async close(): Promise<void> {
      await super.close();
      open -= 1;
    }
  }
  const world = await StoreWorld.make({
    files: (real): Files => {
      const { syncDirectory } = real;
      real.syncDirectory = (path) => {
        if (!broken || !path.endsWith('map')) return syncDirectory.call(real, path);
        return Promise.reject(new FileError(`cannot sync ${path}`, { code: 'IO', path, errno: 'EIO' }));
      };
      return real;
    },
    openEnvironment: () => {
      open += 1;
      return new CountedEnvironment({ disk: map });
    },
  });
  onTestFinished(() => world.destroy());
  await expect(world.open()).rejects.toThrow('sync');
  expect(open).toBe(0);
  broken = false;
  await world.open();
  expect(open).toBe(1);
});
