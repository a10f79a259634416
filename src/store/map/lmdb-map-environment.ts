import { type Database, open, type RootDatabase } from 'lmdb';
import { errnoOf, messageOf } from '../../base/errors.js';
import { StoreError } from '../store-error.js';
import type { MapChange, MapEnvironment } from './map-environment.js';

/**
 * The map's database on LMDB. `overlappingSync: false` makes a commit durable before its promise resolves; every
 * other mode would let a checkpoint be believed that a power loss takes back.
 */
export class LmdbMapEnvironment implements MapEnvironment {
  readonly #root: RootDatabase<Buffer, Buffer>;
  readonly #rows: Database<Buffer, Buffer>;
  #closed = false;

  constructor(options: { path: string; readOnly?: boolean }) {
    this.#root = open<Buffer, Buffer>({
      path: options.path,
      readOnly: options.readOnly ?? false,
      encoding: 'binary',
      keyEncoding: 'binary',
      overlappingSync: false,
      eventTurnBatching: false,
      commitDelay: 0,
      noSubdir: false,
    });
    this.#rows = this.#root;
  }

  get(key: Uint8Array): Uint8Array | null {
    const value = this.#rows.getBinary(key as Buffer);
    return value === undefined ? null : value;
  }

  async prefetch(keys: readonly Uint8Array[]): Promise<void> {
    await this.#rows.prefetch(keys as Buffer[]);
  }

  range(from: Uint8Array, to: Uint8Array, limit: number): { key: Uint8Array; value: Uint8Array }[] {
    const rows: { key: Uint8Array; value: Uint8Array }[] = [];
    for (const { key, value } of this.#rows.getRange({ start: from as Buffer, end: to as Buffer, limit })) {
      rows.push({ key: Uint8Array.from(key), value: Uint8Array.from(value) });
    }
    return rows;
  }

  async commit(changes: readonly MapChange[]): Promise<void> {
    if (changes.length === 0) return;
    try {
      await this.#rows.batch(() => {
        for (const change of changes) {
          if (change.value === null) void this.#rows.remove(change.key as Buffer);
          else void this.#rows.put(change.key as Buffer, change.value as Buffer);
        }
      });
    } catch (thrown) {
      const detail = messageOf(thrown);
      if (errnoOf(thrown) === 'ENOSPC' || /no space|ENOSPC|MDB_MAP_FULL/i.test(detail)) {
        throw new StoreError('the disk is full: the map could not be written', { code: 'FULL' }, { cause: thrown });
      }
      throw new StoreError(`the map could not be written: ${detail}`, { code: 'IO', detail }, { cause: thrown });
    }
    // A read transaction of this turn would still show the state before the commit.
    this.#root.resetReadTxn();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#root.close();
  }
}
