import type { SpaceReserve } from '../io/space-reserve.js';
import { MetaError } from '../meta/meta-error.js';
import type {
  MetaEntry,
  MetaLease,
  MetaListing,
  MetaOutcome,
  MetaStore,
  MetaTransaction,
  Watch,
  WatchListener,
} from '../meta/meta-store.js';

/**
 * A MetaStore that meets a full disk with the space held back for it: a node on a full disk must still start, and
 * volumes must still be deleted (P5).
 */
export class ReservedMetaStore implements MetaStore {
  readonly #next: MetaStore;
  readonly #reserve: SpaceReserve;

  constructor(next: MetaStore, reserve: SpaceReserve) {
    this.#next = next;
    this.#reserve = reserve;
  }

  get(key: string): Promise<MetaEntry | null> {
    return this.#next.get(key);
  }

  list(prefix: string): Promise<MetaListing> {
    return this.#next.list(prefix);
  }

  transaction(transaction: MetaTransaction): Promise<MetaOutcome> {
    return this.#reserved(() => this.#next.transaction(transaction));
  }

  scrub(): Promise<void> {
    return this.#reserved(() => this.#next.scrub());
  }

  watch(prefix: string, afterRevision: number, listener: WatchListener): Watch {
    return this.#next.watch(prefix, afterRevision, listener);
  }

  grantLease(ttlMs: number): Promise<MetaLease> {
    return this.#next.grantLease(ttlMs);
  }

  close(): Promise<void> {
    return this.#next.close();
  }

  async #reserved<T>(write: () => Promise<T>): Promise<T> {
    try {
      return await write();
    } catch (thrown) {
      if (!(thrown instanceof MetaError) || thrown.code !== 'FULL' || !(await this.#reserve.giveUp())) throw thrown;
      return write();
    }
  }
}
