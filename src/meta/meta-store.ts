/**
 * The control plane's memory: revisioned keys with compare-and-set transactions, watches and leases. The words and
 * their meaning are etcd's (https://etcd.io/docs/v3.5/learning/api/), so that a cluster can put etcd behind it.
 *
 * Keys are 1 to KEY_LENGTH_MAX printable ASCII characters without spaces, by custom `room/thing/name`; values are
 * bytes, at most VALUE_BYTES_MAX (`json-value.ts` turns objects into bytes and back). Keys come from our own code, so
 * a wrong one is an assertion, not an error. Every method rejects with MetaError; after `close` with code CLOSED.
 */
import type { Closable } from '../base/lifecycle.js';
import type { MetaError } from './meta-error.js';

export interface MetaEntry {
  readonly key: string;
  /** The caller's own copy. */
  readonly value: Uint8Array;
  /** Revision of the transaction that last set the key; at least 1. */
  readonly revision: number;
  /** Revision of the transaction that made the key; it starts anew after a deletion. */
  readonly createRevision: number;
  /** Lease that the key ends with, or 0. */
  readonly lease: number;
}

export interface MetaListing {
  /** Sorted by key, in byte order. */
  readonly entries: readonly MetaEntry[];
  /** Keys whose record is damaged. They are not among the entries. */
  readonly damaged: readonly string[];
  /** Revision of the store that the listing shows; a watch from here misses nothing. */
  readonly revision: number;
}

export interface MetaCompare {
  readonly key: string;
  /** The revision that the key must have; 0: it must not exist. */
  readonly revision: number;
}

export interface MetaSet {
  readonly key: string;
  readonly value: Uint8Array;
  /** Id of a lease that the key ends with. Absent or 0: the key stays. */
  readonly lease?: number;
}

/** All of it or nothing. A key stands in `set` or in `delete`, once. */
export interface MetaTransaction {
  readonly compare?: readonly MetaCompare[];
  readonly set?: readonly MetaSet[];
  /** Keys to delete; fine if they are not there. */
  readonly delete?: readonly string[];
}

export type MetaOutcome =
  /** `revision` is the transaction's own, if it changed anything; all that it set carries it. */
  | { readonly committed: true; readonly revision: number }
  /** Nothing was changed. `conflicts` names every key whose revision was another. */
  | { readonly committed: false; readonly revision: number; readonly conflicts: readonly string[] };

export type MetaChange =
  | { readonly kind: 'set'; readonly entry: MetaEntry }
  | { readonly kind: 'delete'; readonly key: string; readonly revision: number };

export interface WatchListener {
  /** Everything one transaction changed under the prefix, in key order; revisions ascend. Must not throw. */
  onChanges(changes: readonly MetaChange[], revision: number): void;
  /** The watch has ended by itself, COMPACTED or IO: list again and watch anew. Must not throw. */
  onLost(reason: MetaError): void;
}

export interface Watch {
  /** No listener is called after this returns. Idempotent. */
  close(): void;
}

export interface MetaLease {
  /** Greater than 0. */
  readonly id: number;
  readonly ttlMs: number;
  /** Starts the time anew. Rejects LEASE_LOST when it has already run out. */
  keepAlive(): Promise<void>;
  /** Ends it and deletes its keys. Fine when it has already ended. */
  revoke(): Promise<void>;
}

export interface MetaStore extends Closable {
  /** null: no such key. Rejects DAMAGED when its record does not pass its checksum. */
  get(key: string): Promise<MetaEntry | null>;
  /** Every key that starts with `prefix`, of one revision. */
  list(prefix: string): Promise<MetaListing>;
  /**
   * Resolves when the outcome is durable. Rejects FULL or IO with nothing changed, LEASE_LOST when a lease is not
   * there, DAMAGED when a compared record is damaged; setting or deleting a damaged record without comparing replaces it.
   */
  transaction(transaction: MetaTransaction): Promise<MetaOutcome>;
  /**
   * Resolves when nothing of what was deleted or replaced before this call is left in the store's own files, freed space
   * included (as far as the file system overwrites in place). For erased keys; too dear for ordinary deletions. Rejects
   * FULL or IO, with the store as it was; to be called again then, also after a restart.
   */
  scrub(): Promise<void>;
  /**
   * Calls the listener for every change under `prefix` after `afterRevision` (0: from the beginning, if the store
   * still has it), in order, never inside this call. A revision that is no longer kept ends it with COMPACTED.
   */
  watch(prefix: string, afterRevision: number, listener: WatchListener): Watch;
  /**
   * A lease that ends `ttlMs` after its last `keepAlive`. It never ends early; it may end late. In a store that one
   * process holds, it ends at the latest when that process does.
   */
  grantLease(ttlMs: number): Promise<MetaLease>;
}
