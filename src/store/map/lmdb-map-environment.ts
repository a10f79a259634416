import { open, type RootDatabase } from 'lmdb';
import { messageOf } from '../../base/errors.js';
import { lmdbFailure } from '../../base/lmdb-failure.js';
import { MAP_ADDRESS_BYTES, MAP_FULL_BELOW_BYTES } from '../limits.js';
import { StoreError } from '../store-error.js';
import type { MapChange, MapEnvironment } from './map-environment.js';

/**
 * The map's database on LMDB. `overlappingSync: false` makes a commit durable before its promise resolves; every
 * other mode would let a checkpoint be believed that a power loss takes back.
 */
export class LmdbMapEnvironment implements MapEnvironment {
  readonly #rows: RootDatabase<Buffer, Buffer>;
  readonly #path: string;
  #closed = false;

  /** `mapBytes`: address space taken at first; what is beyond it is taken as it is needed. */
  constructor(options: { path: string; readOnly?: boolean; mapBytes?: number }) {
    this.#path = options.path;
    // A variable: lmdb's types do not know permissionsMode.
    const settings = {
      path: options.path,
      readOnly: options.readOnly ?? false,
      encoding: 'binary' as const,
      keyEncoding: 'binary' as const,
      overlappingSync: false,
      // With batching by turn a failed commit would reject a promise that nobody can reach, which ends the process.
      eventTurnBatching: false,
      commitDelay: 0,
      noSubdir: false,
      cache: false,
      permissionsMode: 0o600,
      mapSize: options.mapBytes ?? MAP_ADDRESS_BYTES,
    };
    this.#rows = open<Buffer, Buffer>(settings);
  }

  get(key: Uint8Array): Uint8Array | null {
    this.#checkOpen();
    const value = this.#rows.getBinary(key as Buffer);
    return value === undefined ? null : value;
  }

  async prefetch(keys: readonly Uint8Array[]): Promise<void> {
    this.#checkOpen();
    await this.#rows.prefetch(keys as Buffer[]);
  }

  range(from: Uint8Array, to: Uint8Array, limit: number): { key: Uint8Array; value: Uint8Array }[] {
    this.#checkOpen();
    const rows: { key: Uint8Array; value: Uint8Array }[] = [];
    for (const { key, value } of this.#rows.getRange({ start: from as Buffer, end: to as Buffer, limit })) {
      rows.push({ key: Uint8Array.from(key), value: Uint8Array.from(value) });
    }
    return rows;
  }

  async commit(changes: readonly MapChange[]): Promise<void> {
    if (changes.length === 0) return;
    this.#checkOpen();
    try {
      await this.#rows.batch(() => {
        for (const change of changes) {
          if (change.value === null) void this.#rows.remove(change.key as Buffer);
          else void this.#rows.put(change.key as Buffer, change.value as Buffer);
        }
      });
    } catch (thrown) {
      throw await this.#translate(thrown);
    }
    // A read transaction of this turn would still show the state before the commit.
    this.#rows.resetReadTxn();
  }

  async #translate(thrown: unknown): Promise<StoreError> {
    const { cause, full } = await lmdbFailure(this.#path, thrown, MAP_FULL_BELOW_BYTES);
    if (full) return new StoreError('the disk is full: the map could not be written', { code: 'FULL' }, { cause });
    const detail = messageOf(cause);
    return new StoreError(`the map could not be written: ${detail}`, { code: 'IO', detail }, { cause });
  }

  /** lmdb throws from a timer of its own, where nobody can catch it, when a closed database is read. */
  #checkOpen(): void {
    if (this.#closed) throw new StoreError('the map is closed', { code: 'CLOSED' });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#rows.close();
  }
}
