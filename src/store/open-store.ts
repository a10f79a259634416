import { join } from 'node:path';
import type { Clock } from '../base/clock.js';
import { LmdbMapEnvironment } from './map/lmdb-map-environment.js';
import { probeMap } from './map/map-verdict.js';
import { Store, type StoreDependencies, type StoreOptions } from './store.js';

/** The dependencies of a store whose map is on LMDB. */
export interface OpenStoreDependencies extends Omit<StoreDependencies, 'openEnvironment' | 'probeEnvironment'> {
  /** What `probeStoredMap` will say, if it was started early. */
  readonly mapProbe?: Promise<string>;
}

/**
 * Looks at the map of a storage path from a child process, '' or what is wrong with it: for a start that has other things
 * to wait for meanwhile. Nobody may have the store open.
 */
export function probeStoredMap(storagePath: string, clock: Clock): Promise<string> {
  return probeMap(join(storagePath, 'map'), clock);
}

/** Opens the store of a storage path with its map on LMDB, looked at from a child process first. */
export function openStore(options: StoreOptions, dependencies: OpenStoreDependencies): Promise<Store> {
  const { mapProbe, ...others } = dependencies;
  let early = mapProbe;
  return Store.open(options, {
    ...others,
    openEnvironment: (path) => Promise.resolve(new LmdbMapEnvironment({ path })),
    probeEnvironment: (path) => {
      // It is true of the first opening only: a reopening finds what was written since.
      const verdict = early ?? probeMap(path, dependencies.clock);
      early = undefined;
      return verdict;
    },
  });
}
