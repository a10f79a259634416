import { join } from 'node:path';
import type { Log } from '../base/log.js';
import type { Files } from '../io/files.js';
import { SpaceReserve } from '../io/space-reserve.js';
import { MAP_RESERVE_BYTES } from './limits.js';
import type { MapChange } from './map/map-environment.js';
import type { MapRows } from './map/map-rows.js';
import { StoreError } from './store-error.js';

/** The file's name in the map's folder. */
export const RESERVE_NAME = 'reserve';

/** Disk space held back for one full checkpoint: trims and deletes must be able to end on a full disk. */
export class MapReserve {
  readonly #space: SpaceReserve;

  constructor(options: { directory: string }, dependencies: { files: Files; log: Log }) {
    const path = join(options.directory, RESERVE_NAME);
    this.#space = new SpaceReserve({ path, bytes: MAP_RESERVE_BYTES, purpose: 'a checkpoint' }, dependencies);
  }

  hold(): Promise<void> {
    return this.#space.hold();
  }

  /** Commits; on a full disk gives up the reserve and tries once more. */
  async commit(rows: MapRows, changes: readonly MapChange[]): Promise<void> {
    try {
      await rows.commit(changes);
    } catch (thrown) {
      if (!(thrown instanceof StoreError) || thrown.code !== 'FULL' || !(await this.#space.giveUp())) throw thrown;
      await rows.commit(changes);
    }
  }
}
