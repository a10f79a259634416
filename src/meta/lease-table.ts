/** Leases of a store that one process holds: their deadlines live in its memory and end with it. */
import { assert } from '../base/assert.js';
import type { Clock, Timer } from '../base/clock.js';
import { LEASE_RETRY_MS, LEASE_TTL_MS_MAX, LEASE_TTL_MS_MIN } from './limits.js';
import type { MetaLease } from './meta-store.js';
import { leaseLost } from './transaction-plan.js';

interface Held {
  readonly ttlMs: number;
  timer: Timer;
}

/** Leases by id. One that ends, by its time or by `revoke`, takes its keys along. */
export class LeaseTable {
  readonly #clock: Clock;
  readonly #deleteKeysOf: (lease: number) => Promise<void>;
  readonly #held = new Map<number, Held>();
  readonly #retries = new Set<Timer>();
  #lastId = 0;
  #closed = false;

  /** `deleteKeysOf` deletes every key that is bound to the lease; it may reject, and is then tried again. */
  constructor(clock: Clock, deleteKeysOf: (lease: number) => Promise<void>) {
    this.#clock = clock;
    this.#deleteKeysOf = deleteKeysOf;
  }

  isAlive(lease: number): boolean {
    return this.#held.has(lease);
  }

  grant(ttlMs: number): MetaLease {
    assert(ttlMs >= LEASE_TTL_MS_MIN && ttlMs <= LEASE_TTL_MS_MAX, 'a lease lasts from 10 ms to a day');
    const id = ++this.#lastId;
    this.#held.set(id, { ttlMs, timer: this.#arm(id, ttlMs) });
    return {
      id,
      ttlMs,
      keepAlive: () => this.#keepAlive(id),
      revoke: () => this.#revoke(id),
    };
  }

  close(): void {
    this.#closed = true;
    for (const held of this.#held.values()) this.#clock.clear(held.timer);
    for (const timer of this.#retries) this.#clock.clear(timer);
    this.#held.clear();
    this.#retries.clear();
  }

  #keepAlive(id: number): Promise<void> {
    const held = this.#held.get(id);
    if (held === undefined) return Promise.reject(leaseLost(id));
    this.#clock.clear(held.timer);
    held.timer = this.#arm(id, held.ttlMs);
    return Promise.resolve();
  }

  async #revoke(id: number): Promise<void> {
    const held = this.#held.get(id);
    if (held === undefined) return;
    this.#clock.clear(held.timer);
    // Dead before its keys go: a transaction that is queued behind the deletion must not bind new keys to it.
    this.#held.delete(id);
    try {
      await this.#deleteKeysOf(id);
    } catch (thrown) {
      this.#retryLater(id);
      throw thrown;
    }
  }

  #arm(id: number, ttlMs: number): Timer {
    return this.#clock.after(ttlMs, () => {
      this.#held.delete(id);
      this.#expire(id);
    });
  }

  #expire(id: number): void {
    this.#deleteKeysOf(id).catch(() => {
      this.#retryLater(id);
    });
  }

  #retryLater(id: number): void {
    if (this.#closed) return;
    const timer = this.#clock.after(LEASE_RETRY_MS, () => {
      this.#retries.delete(timer);
      this.#expire(id);
    });
    this.#retries.add(timer);
  }
}
