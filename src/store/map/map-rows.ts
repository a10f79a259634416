import { viewOf } from '../../base/bytes.js';
import type { Checksums } from '../../io/block-keys.js';
import { StoreError } from '../store-error.js';
import type { MapChange, MapEnvironment } from './map-environment.js';
import type { KeyRange } from './map-keys.js';

const CRC_BYTES = 4;
const RANGE_ROWS = 512;
/** Memory that values of changes share: alone each would be an allocation outside of the heap, with its own upkeep. */
const ARENA_BYTES = 256 * 1024;

/**
 * Rows of the map's database with what LMDB pages lack: a CRC32C over key and value behind each value. A row that
 * does not match is reported as DAMAGED and never handed out.
 */
export class MapRows {
  readonly #environment: MapEnvironment;
  readonly #checksums: Pick<Checksums, 'crc32c'>;
  #arena = new Uint8Array(0);
  #arenaAt = 0;

  constructor(dependencies: { environment: MapEnvironment; checksums: Pick<Checksums, 'crc32c'> }) {
    this.#environment = dependencies.environment;
    this.#checksums = dependencies.checksums;
  }

  #crc(key: Uint8Array, value: Uint8Array, length: number): number {
    return this.#checksums.crc32c(value, 0, length, this.#checksums.crc32c(key, 0, key.length, 0));
  }

  /** A change that stores a copy of `value` under `key`. */
  put(key: Uint8Array, value: Uint8Array): MapChange {
    const sealed = this.#take(value.length + CRC_BYTES);
    sealed.set(value);
    const crc = this.#crc(key, value, value.length);
    for (let byte = 0; byte < CRC_BYTES; byte += 1) sealed[value.length + byte] = crc >>> (8 * byte);
    return { key, value: sealed };
  }

  #take(bytes: number): Uint8Array {
    if (this.#arena.length - this.#arenaAt < bytes) {
      this.#arena = new Uint8Array(Math.max(ARENA_BYTES, bytes));
      this.#arenaAt = 0;
    }
    this.#arenaAt += bytes;
    return this.#arena.subarray(this.#arenaAt - bytes, this.#arenaAt);
  }

  remove(key: Uint8Array): MapChange {
    return { key, value: null };
  }

  /** The value of a row, null when there is none. */
  get(key: Uint8Array): Uint8Array | null {
    const sealed = this.#environment.get(key);
    return sealed === null ? null : this.#open(key, sealed);
  }

  prefetch(keys: readonly Uint8Array[]): Promise<void> {
    return this.#environment.prefetch(keys);
  }

  /** All rows of a range, in order, read in bounded steps. */
  *range(keys: KeyRange): Generator<{ key: Uint8Array; value: Uint8Array }> {
    let from = keys.from;
    for (;;) {
      const rows = this.#environment.range(from, keys.to, RANGE_ROWS);
      for (const row of rows) yield { key: row.key, value: this.#open(row.key, row.value) };
      if (rows.length < RANGE_ROWS) return;
      // The smallest key after the last one.
      const last = rows[rows.length - 1].key;
      from = new Uint8Array(last.length + 1);
      from.set(last);
    }
  }

  /** The first rows of a range, unverified: for removing them. A damaged value comes back as null. */
  take(keys: KeyRange, limit: number): { key: Uint8Array; value: Uint8Array | null }[] {
    return this.#environment.range(keys.from, keys.to, limit).map((row) => ({
      key: row.key,
      value: this.#matches(row.key, row.value) ? row.value.subarray(0, row.value.length - CRC_BYTES) : null,
    }));
  }

  commit(changes: readonly MapChange[]): Promise<void> {
    return this.#environment.commit(changes);
  }

  close(): Promise<void> {
    return this.#environment.close();
  }

  #matches(key: Uint8Array, sealed: Uint8Array): boolean {
    const length = sealed.length - CRC_BYTES;
    if (length < 0) return false;
    return viewOf(sealed).getUint32(length, true) === this.#crc(key, sealed, length);
  }

  #open(key: Uint8Array, sealed: Uint8Array): Uint8Array {
    if (!this.#matches(key, sealed)) {
      const subject = `map row ${Buffer.from(key).toString('hex')}`;
      throw new StoreError(`${subject} does not match its checksum`, { code: 'DAMAGED', subject });
    }
    return sealed.subarray(0, sealed.length - CRC_BYTES);
  }
}
