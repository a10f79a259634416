import type { MetaCopies, MetaCopy } from '../crypto/meta-copies.js';
import { TRANSACTION_OPERATIONS_MAX } from '../meta/limits.js';
import type { MetaStore } from '../meta/meta-store.js';
import { DATA_KEY_PREFIX, dataKeyKey } from './meta-keys.js';

/** The wrapped data keys that the MetaStore holds, as the vault sees them. */
export class DataKeyCopies implements MetaCopies {
  readonly #meta: MetaStore;

  constructor(meta: MetaStore) {
    this.#meta = meta;
  }

  async list(): Promise<readonly MetaCopy[]> {
    const { entries, damaged } = await this.#meta.list(DATA_KEY_PREFIX);
    const numberOf = (key: string): number => Number(key.slice(DATA_KEY_PREFIX.length));
    return [
      ...entries.map(({ key, value }) => ({ number: numberOf(key), record: value })),
      ...damaged.map((key) => ({ number: numberOf(key), record: new Uint8Array(0) })),
    ];
  }

  async store(copies: readonly MetaCopy[]): Promise<void> {
    for (let at = 0; at < copies.length; at += TRANSACTION_OPERATIONS_MAX) {
      const batch = copies.slice(at, at + TRANSACTION_OPERATIONS_MAX);
      await this.#meta.transaction({
        set: batch.map(({ number, record }) => ({ key: dataKeyKey(number), value: record })),
      });
    }
  }

  scrub(): Promise<void> {
    return this.#meta.scrub();
  }
}
