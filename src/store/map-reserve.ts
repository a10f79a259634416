import { join } from 'node:path';
import type { Log } from '../base/log.js';
import { Mutex } from '../base/mutex.js';
import type { Files } from '../io/files.js';
import { SpaceReserve } from '../io/space-reserve.js';
import { MAP_OPENING_BYTES, MAP_RESERVE_BYTES, MAP_RESERVE_STEP_BYTES } from './limits.js';
import type { MapChange } from './map/map-environment.js';
import type { MapRows } from './map/map-rows.js';
import { StoreError } from './store-error.js';

/** The file's name in the map's folder. */
export const RESERVE_NAME = 'reserve';

/**
 * Disk space held back for one full checkpoint: trims and deletes must be able to end on a full disk. The last part is for
 * starts alone. Nothing but the map may take what is given up: while some is missing, no segment is made.
 */
export class MapReserve {
  readonly #space: SpaceReserve;
  /** Given up down to here. */
  #keepBytes = 0;
  #whole = false;
  /** Its size changes one step at a time. */
  readonly #changes = new Mutex();

  constructor(options: { directory: string }, dependencies: { files: Files; log: Log }) {
    const path = join(options.directory, RESERVE_NAME);
    this.#space = new SpaceReserve(
      { path, bytes: MAP_RESERVE_BYTES, purpose: 'a checkpoint', stepBytes: MAP_RESERVE_STEP_BYTES },
      dependencies,
    );
  }

  /** The start is over: its part is kept from now on. */
  opened(): void {
    this.#keepBytes = MAP_OPENING_BYTES;
  }

  /** Takes again what is missing, as far as there is room; whether it is whole. */
  hold(): Promise<boolean> {
    return this.#changes.run(async () => {
      if (!this.#whole) this.#whole = await this.#space.hold();
      return this.#whole;
    });
  }

  /** Gives up a part; false when there was none to give. */
  giveUp(): Promise<boolean> {
    return this.#changes.run(() => {
      this.#whole = false;
      return this.#space.giveUp(this.#keepBytes);
    });
  }

  /** Commits; on a full disk gives up as much of the reserve as it takes. */
  async commit(rows: MapRows, changes: readonly MapChange[]): Promise<void> {
    for (;;) {
      try {
        await rows.commit(changes);
        return;
      } catch (thrown) {
        if (!(thrown instanceof StoreError) || thrown.code !== 'FULL' || !(await this.giveUp())) throw thrown;
      }
    }
  }
}
