import { lstat, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, messageOf } from '../../base/errors.js';
import { CliError, failure, usageError } from '../cli-error.js';

/**
 * A file in the making, under a name of its own beside the final one: whoever looks sees the whole image or none. It
 * is readable for its owner only, since it may hold what an encrypted volume held.
 */
export class PartialFile {
  /** Where to write. */
  readonly path: string;
  readonly #final: string;
  readonly #shown: string;
  readonly #overwrite: boolean;

  private constructor(final: string, shown: string, overwrite: boolean) {
    this.path = `${final}.partial-${String(process.pid)}`;
    this.#final = final;
    this.#shown = shown;
    this.#overwrite = overwrite;
  }

  /** Refuses at once what would be refused at the end. */
  static async create(final: string, shown: string, overwrite: boolean): Promise<PartialFile> {
    const partial = new PartialFile(final, shown, overwrite);
    await partial.#checkFinal();
    try {
      await rm(partial.path, { force: true });
      await (await open(partial.path, 'wx', 0o600)).close();
    } catch (thrown) {
      if (errnoOf(thrown) === 'ENOENT') throw failure(`there is no folder ${dirname(shown)}`, thrown);
      throw failure(`${shown} cannot be written: ${messageOf(thrown)}`, thrown);
    }
    return partial;
  }

  /** Makes the content durable, then gives it its name. */
  async finish(): Promise<void> {
    const file = await open(this.path, 'r');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
    await this.#checkFinal();
    await rename(this.path, this.#final);
  }

  /** Takes away what was written. Fine after `finish`. */
  async discard(): Promise<void> {
    await rm(this.path, { force: true });
  }

  async #checkFinal(): Promise<void> {
    try {
      const stat = await lstat(this.#final);
      if (stat.isBlockDevice() || stat.isCharacterDevice()) {
        throw usageError(`${this.#shown} is a device; export to a file, or copy the volume with nbdcopy`);
      }
      if (stat.isDirectory()) throw usageError(`${this.#shown} is a folder; name a file in it`);
      if (!this.#overwrite) throw failure(`${this.#shown} exists; add --force to replace it`);
    } catch (thrown) {
      if (thrown instanceof CliError) throw thrown;
      if (errnoOf(thrown) !== 'ENOENT') throw failure(`${this.#shown}: ${messageOf(thrown)}`, thrown);
    }
  }
}
