import type { Clock, Random } from '../base/clock.js';
import type { Log } from '../base/log.js';
import type { BlockKeys, Checksums } from '../io/block-keys.js';
import type { Files } from '../io/files.js';
import { SEGMENT_BYTES_DEFAULT } from '../store/limits.js';
import { LmdbMapEnvironment } from '../store/map/lmdb-map-environment.js';
import { probeMap } from '../store/map/map-verdict.js';
import { Store, type StoreOptions } from '../store/store.js';
import { VolumeManager } from './volume-manager.js';

export interface VolumeHostDependencies {
  readonly files: Files;
  readonly keys: BlockKeys;
  readonly checksums: Checksums;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/**
 * Opens the store of a storage path, recovering what a crash left, with the map on LMDB, and puts the volumes over it.
 * Throws StoreError or FileError; damage to sealed data is no reason, it is reported volume by volume.
 */
export async function openVolumeHost(
  options: StoreOptions,
  dependencies: VolumeHostDependencies,
): Promise<VolumeManager> {
  const store = await Store.open(options, {
    ...dependencies,
    openEnvironment: (path) => Promise.resolve(new LmdbMapEnvironment({ path })),
    probeEnvironment: (path) => probeMap(path, dependencies.clock),
  });
  return new VolumeManager(
    { segmentBytes: options.segmentBytes ?? SEGMENT_BYTES_DEFAULT, space: await store.space() },
    { store, keys: dependencies.keys, clock: dependencies.clock },
  );
}
