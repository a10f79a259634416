import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { FileId, Files } from './files.js';

export interface SpaceReserveOptions {
  readonly path: string;
  readonly bytes: number;
  /** What the space is for, to end a sentence with: "a checkpoint". */
  readonly purpose: string;
}

/**
 * Disk space held back by a preallocated file that is given up when a full disk is met, and taken again when there is
 * room. Without one a full disk could not even be emptied (P5). What an earlier process held counts as held.
 */
export class SpaceReserve {
  readonly #options: SpaceReserveOptions;
  readonly #files: Files;
  readonly #log: Log;

  constructor(options: SpaceReserveOptions, dependencies: { files: Files; log: Log }) {
    this.#options = options;
    this.#files = dependencies.files;
    this.#log = dependencies.log;
  }

  /** Takes the space if it is not held; says so when the disk has no room for it. */
  async hold(): Promise<void> {
    const { path, bytes, purpose } = this.#options;
    try {
      const exists = await this.#files.exists(path);
      await this.#with(exists ? 'write' : 'create', async (file) => {
        if ((await this.#files.sizeBytes(file)) >= bytes) return;
        try {
          await this.#files.allocate(file, 0, bytes);
        } catch (thrown) {
          // What was allocated before it failed goes back.
          await this.#files.truncate(file, 0);
          throw thrown;
        }
      });
    } catch (thrown) {
      this.#log.warn({ error: messageOf(thrown) }, `no room to hold back disk space for ${purpose}; free some`);
    }
  }

  /** Gives the space up; false when there was none to give. */
  async giveUp(): Promise<boolean> {
    const { path, purpose } = this.#options;
    if (!(await this.#files.exists(path))) return false;
    return this.#with('write', async (file) => {
      if ((await this.#files.sizeBytes(file)) === 0) return false;
      await this.#files.truncate(file, 0);
      this.#log.warn({}, `the disk is full; the space held back for ${purpose} is being used`);
      return true;
    });
  }

  async #with<T>(mode: 'write' | 'create', use: (file: FileId) => Promise<T>): Promise<T> {
    const file = await this.#files.open(this.#options.path, mode);
    try {
      return await use(file);
    } finally {
      await this.#files.close(file);
    }
  }
}
