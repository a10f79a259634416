import type { Clock } from '../base/clock.js';
import { ChangeHistory, copyOfEntry } from './change-history.js';
import { LeaseTable } from './lease-table.js';
import { HISTORY_CHANGES_MAX } from './limits.js';
import type {
  MetaChange,
  MetaEntry,
  MetaLease,
  MetaListing,
  MetaOutcome,
  MetaStore,
  MetaTransaction,
  Watch,
  WatchListener,
} from './meta-store.js';
import {
  assertKey,
  assertTransaction,
  changedKey,
  compareKeys,
  planTransaction,
  storeClosed,
} from './transaction-plan.js';

export interface MemoryMetaStoreOptions {
  readonly historyChangesMax?: number;
}

/** A MetaStore that forgets: for tests, and for anything that wants its contract without a disk. */
export class MemoryMetaStore implements MetaStore {
  readonly #entries = new Map<string, MetaEntry>();
  readonly #history: ChangeHistory;
  readonly #leases: LeaseTable;
  #closed = false;

  constructor(options: MemoryMetaStoreOptions, dependencies: { readonly clock: Clock }) {
    this.#history = new ChangeHistory(options.historyChangesMax ?? HISTORY_CHANGES_MAX, 0);
    this.#leases = new LeaseTable(dependencies.clock, (lease) => this.#deleteKeysOf(lease));
  }

  async get(key: string): Promise<MetaEntry | null> {
    await this.#turn();
    assertKey(key);
    const entry = this.#entries.get(key);
    return entry === undefined ? null : copyOfEntry(entry);
  }

  async list(prefix: string): Promise<MetaListing> {
    await this.#turn();
    const entries = [...this.#entries.values()]
      .filter((entry) => entry.key.startsWith(prefix))
      .sort((left, right) => compareKeys(left.key, right.key))
      .map(copyOfEntry);
    return { entries, damaged: [], revision: this.#history.revision };
  }

  async transaction(transaction: MetaTransaction): Promise<MetaOutcome> {
    assertTransaction(transaction);
    await this.#turn();
    const { conflicts, changes } = planTransaction(
      transaction,
      this.#history.revision + 1,
      (key) => this.#entries.get(key) ?? null,
      (lease) => this.#leases.isAlive(lease),
    );
    if (conflicts.length > 0) return { committed: false, revision: this.#history.revision, conflicts };
    this.#apply(changes);
    return { committed: true, revision: this.#history.revision };
  }

  /** Deleted values are the collector's: there is no disk to scrub. */
  async scrub(): Promise<void> {
    await this.#turn();
  }

  watch(prefix: string, afterRevision: number, listener: WatchListener): Watch {
    if (this.#closed) throw storeClosed();
    return this.#history.watch(prefix, afterRevision, listener);
  }

  async grantLease(ttlMs: number): Promise<MetaLease> {
    await this.#turn();
    return this.#leases.grant(ttlMs);
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#history.close();
    this.#leases.close();
    return Promise.resolve();
  }

  /** Nothing here waits, but callers must not come to rely on that. */
  async #turn(): Promise<void> {
    await Promise.resolve();
    if (this.#closed) throw storeClosed();
  }

  async #deleteKeysOf(lease: number): Promise<void> {
    await this.#turn();
    const revision = this.#history.revision + 1;
    const bound = [...this.#entries.values()].filter((entry) => entry.lease === lease).map((entry) => entry.key);
    this.#apply(bound.sort(compareKeys).map((key): MetaChange => ({ kind: 'delete', key, revision })));
  }

  #apply(changes: readonly MetaChange[]): void {
    const [first] = changes;
    if (first === undefined) return;
    for (const change of changes) {
      if (change.kind === 'set') this.#entries.set(change.entry.key, change.entry);
      else this.#entries.delete(changedKey(change));
    }
    this.#history.append(first.kind === 'set' ? first.entry.revision : first.revision, changes);
  }
}
