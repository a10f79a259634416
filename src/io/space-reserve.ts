import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { FileId, Files } from './files.js';

export interface SpaceReserveOptions {
  readonly path: string;
  readonly bytes: number;
  /** What the space is for, to end a sentence with: "a checkpoint". */
  readonly purpose: string;
  /** It is given up and taken again in pieces of so much; all at once unless said otherwise. */
  readonly stepBytes?: number;
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

  /** Takes what is missing of the space; false, and says so, when the disk has no room for all of it. */
  async hold(): Promise<boolean> {
    const { path, bytes, purpose, stepBytes = bytes } = this.#options;
    try {
      const exists = await this.#files.exists(path);
      await this.#with(exists ? 'write' : 'create', async (file) => {
        let held = await this.#files.sizeBytes(file);
        while (held < bytes) {
          const more = Math.min(stepBytes, bytes - held);
          try {
            await this.#files.allocate(file, held, more);
          } catch (thrown) {
            // What was allocated before it failed goes back.
            await this.#files.truncate(file, held);
            throw thrown;
          }
          held += more;
        }
      });
      return true;
    } catch (thrown) {
      this.#log.warn({ error: messageOf(thrown) }, `no room to hold back disk space for ${purpose}; free some`);
      return false;
    }
  }

  /** Gives up a step of what is held beyond `keepBytes`; false when there was nothing to give. */
  async giveUp(keepBytes = 0): Promise<boolean> {
    const { path, purpose, bytes, stepBytes = bytes } = this.#options;
    if (!(await this.#files.exists(path))) return false;
    return this.#with('write', async (file) => {
      const held = await this.#files.sizeBytes(file);
      if (held <= keepBytes) return false;
      await this.#files.truncate(file, Math.max(keepBytes, held - stepBytes));
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
