import { LmdbMapEnvironment } from './map/lmdb-map-environment.js';
import { probeMap } from './map/map-verdict.js';
import { Store, type StoreDependencies, type StoreOptions } from './store.js';

/** The dependencies of a store whose map is on LMDB. */
export type OpenStoreDependencies = Omit<StoreDependencies, 'openEnvironment' | 'probeEnvironment'>;

/** Opens the store of a storage path with its map on LMDB, looked at from a child process first. */
export function openStore(options: StoreOptions, dependencies: OpenStoreDependencies): Promise<Store> {
  return Store.open(options, {
    ...dependencies,
    openEnvironment: (path) => Promise.resolve(new LmdbMapEnvironment({ path })),
    probeEnvironment: (path) => probeMap(path, dependencies.clock),
  });
}
