import type { LmdbReader } from '../../base/lmdb-reader.js';
import type { MapChange, MapEnvironment } from './map-environment.js';

/**
 * The map's database as its file is, without a change to it: for a look from outside. What is committed is kept in memory and
 * `get` shows it; ranges show the file.
 */
export class FileMapEnvironment implements MapEnvironment {
  readonly #reader: LmdbReader | null;
  readonly #changed = new Map<string, Uint8Array | null>();

  /** null: an empty database. */
  constructor(reader: LmdbReader | null) {
    this.#reader = reader;
  }

  get(key: Uint8Array): Uint8Array | null {
    const changed = this.#changed.get(nameOf(key));
    return changed === undefined ? (this.#reader?.get(key) ?? null) : changed;
  }

  prefetch(): Promise<void> {
    return Promise.resolve();
  }

  range(from: Uint8Array, to: Uint8Array, limit: number): { key: Uint8Array; value: Uint8Array }[] {
    const rows: { key: Uint8Array; value: Uint8Array }[] = [];
    if (this.#reader === null) return rows;
    for (const row of this.#reader.rows(from)) {
      if (rows.length === limit || Buffer.compare(row.key, to) >= 0) break;
      rows.push(row);
    }
    return rows;
  }

  commit(changes: readonly MapChange[]): Promise<void> {
    for (const { key, value } of changes) this.#changed.set(nameOf(key), value);
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.#reader?.close();
    return Promise.resolve();
  }
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key).toString('latin1');
}
