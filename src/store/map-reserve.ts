import { join } from 'node:path';
import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { Files } from '../io/files.js';
import { MAP_RESERVE_BYTES } from './limits.js';
import type { MapChange } from './map/map-environment.js';
import type { MapRows } from './map/map-rows.js';
import { StoreError } from './store-error.js';

/** The file's name in the map's folder. */
export const RESERVE_NAME = 'reserve';

/**
 * Disk space held back for one full checkpoint: a preallocated file that is given up when a commit meets a full disk,
 * and taken again when there is room. Without it a full disk could not even be emptied (P5).
 */
export class MapReserve {
  readonly #path: string;
  readonly #files: Files;
  readonly #log: Log;
  #held = false;

  constructor(options: { directory: string }, dependencies: { files: Files; log: Log }) {
    this.#path = join(options.directory, RESERVE_NAME);
    this.#files = dependencies.files;
    this.#log = dependencies.log;
  }

  /** Takes the reserve if it is not held; says so when the disk has no room for it. */
  async hold(): Promise<void> {
    if (this.#held) return;
    try {
      const file = await this.#files.open(this.#path, (await this.#files.exists(this.#path)) ? 'write' : 'create');
      try {
        await this.#files.allocate(file, 0, MAP_RESERVE_BYTES);
        this.#held = true;
      } catch (thrown) {
        await this.#files.truncate(file, 0);
        throw thrown;
      } finally {
        await this.#files.close(file);
      }
    } catch (thrown) {
      this.#log.warn(
        { error: messageOf(thrown) },
        'store: no room to hold back space for a checkpoint; free some disk space',
      );
    }
  }

  async #giveUp(): Promise<boolean> {
    if (!this.#held) return false;
    const file = await this.#files.open(this.#path, 'write');
    try {
      await this.#files.truncate(file, 0);
    } finally {
      await this.#files.close(file);
    }
    this.#held = false;
    return true;
  }

  /** Commits; on a full disk gives up the reserve and tries once more. */
  async commit(rows: MapRows, changes: readonly MapChange[]): Promise<void> {
    try {
      await rows.commit(changes);
    } catch (thrown) {
      if (!(thrown instanceof StoreError) || thrown.code !== 'FULL' || !(await this.#giveUp())) throw thrown;
      this.#log.warn({}, 'store: the disk is full; the space held back for checkpoints is being used');
      await rows.commit(changes);
    }
  }
}
