/** What a transaction would change. Pure: both stores decide by this one function, inside their own isolation. */
import { assert } from '../base/assert.js';
import { KEY_LENGTH_MAX, TRANSACTION_OPERATIONS_MAX, VALUE_BYTES_MAX } from './limits.js';
import { MetaError } from './meta-error.js';
import type { MetaChange, MetaEntry, MetaTransaction } from './meta-store.js';

/** The present state of a key; 'damaged' when its record cannot be believed. */
export type LookUp = (key: string) => MetaEntry | null | 'damaged';

export interface TransactionPlan {
  readonly conflicts: readonly string[];
  /** Empty when there are conflicts, or when nothing changes (a compare alone, a deletion of what is not there). */
  readonly changes: readonly MetaChange[];
}

const KEY_PATTERN = /^[\x21-\x7e]+$/;

/** Asserts the rules of meta-store.ts that callers keep. */
export function assertTransaction(transaction: MetaTransaction): void {
  const changed = new Set<string>();
  let operations = 0;
  const visit = (key: string): void => {
    assertKey(key);
    assert(!changed.has(key), `key ${key} stands once in a transaction`);
    changed.add(key);
    operations++;
  };
  for (const set of transaction.set ?? []) {
    visit(set.key);
    assert(set.value.length <= VALUE_BYTES_MAX, `the value of ${set.key} has at most ${String(VALUE_BYTES_MAX)} bytes`);
  }
  for (const key of transaction.delete ?? []) visit(key);
  for (const compare of transaction.compare ?? []) {
    assertKey(compare.key);
    assert(Number.isSafeInteger(compare.revision) && compare.revision >= 0, 'a revision is a whole number from 0');
  }
  assert(
    operations <= TRANSACTION_OPERATIONS_MAX,
    `a transaction has at most ${String(TRANSACTION_OPERATIONS_MAX)} operations`,
  );
}

/** Asserts the rule for keys of meta-store.ts. */
export function assertKey(key: string): void {
  assert(key.length >= 1 && key.length <= KEY_LENGTH_MAX && KEY_PATTERN.test(key), `"${key}" is a well-formed key`);
}

/**
 * `revision` is what the transaction gets if it changes anything. Throws MetaError DAMAGED when a compared record is
 * damaged, LEASE_LOST when a lease is not alive.
 */
export function planTransaction(
  transaction: MetaTransaction,
  revision: number,
  lookUp: LookUp,
  leaseAlive: (lease: number) => boolean,
): TransactionPlan {
  const conflicts: string[] = [];
  for (const { key, revision: expected } of transaction.compare ?? []) {
    const present = lookUp(key);
    if (present === 'damaged') throw damagedRecord(key);
    if ((present?.revision ?? 0) !== expected) conflicts.push(key);
  }
  if (conflicts.length > 0) return { conflicts, changes: [] };

  const changes: MetaChange[] = [];
  for (const { key, value, lease = 0 } of transaction.set ?? []) {
    if (lease !== 0 && !leaseAlive(lease)) throw leaseLost(lease);
    const present = lookUp(key);
    const createRevision = present === null || present === 'damaged' ? revision : present.createRevision;
    // The store keeps its own copy: the caller may go on using its array.
    changes.push({ kind: 'set', entry: { key, value: Uint8Array.from(value), revision, createRevision, lease } });
  }
  for (const key of transaction.delete ?? []) {
    if (lookUp(key) !== null) changes.push({ kind: 'delete', key, revision });
  }
  changes.sort((left, right) => compareKeys(changedKey(left), changedKey(right)));
  return { conflicts, changes };
}

export function changedKey(change: MetaChange): string {
  return change.kind === 'set' ? change.entry.key : change.key;
}

/** Byte order; for ASCII the order of code units is the same. */
export function compareKeys(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

export function damagedRecord(key: string): MetaError {
  return new MetaError(`the record of ${key} is damaged (its checksum does not match)`, { code: 'DAMAGED', key });
}

export function leaseLost(lease: number): MetaError {
  return new MetaError(`lease ${String(lease)} has ended`, { code: 'LEASE_LOST', lease });
}

export function storeClosed(): MetaError {
  return new MetaError('the metadata store is closed', { code: 'CLOSED' });
}
