import { SEGMENT_BYTES_DEFAULT } from '../store/limits.js';
import { openStore, type OpenStoreDependencies } from '../store/open-store.js';
import type { StoreOptions } from '../store/store.js';
import { VolumeManager } from './volume-manager.js';

/**
 * Opens the store of a storage path, recovering what a crash left, and puts the volumes over it. Throws StoreError or
 * FileError; damage to sealed data is no reason, it is reported volume by volume.
 */
export async function openVolumeHost(
  options: StoreOptions,
  dependencies: OpenStoreDependencies,
): Promise<VolumeManager> {
  const store = await openStore(options, dependencies);
  return new VolumeManager(
    { segmentBytes: options.segmentBytes ?? SEGMENT_BYTES_DEFAULT, space: await store.space() },
    { store, clock: dependencies.clock },
  );
}
