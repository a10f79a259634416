import type { MetaOutcome, MetaStore, MetaTransaction } from '../../src/meta/meta-store.js';
import type { CrashSwitch } from './crash-switch.js';

/** A meta store whose transactions are steps of the crash switch, and which counts them. */
export class SteppedMeta implements MetaStore {
  readonly #inner: MetaStore;
  readonly #crash: CrashSwitch;
  transactions = 0;
  /** Makes transactions fail with this. */
  trouble: Error | null = null;
  damaged: readonly string[] = [];

  constructor(inner: MetaStore, crash: CrashSwitch) {
    this.#inner = inner;
    this.#crash = crash;
  }

  get: MetaStore['get'] = (key) => this.#inner.get(key);
  watch: MetaStore['watch'] = (...of) => this.#inner.watch(...of);
  grantLease: MetaStore['grantLease'] = (ttlMs) => this.#inner.grantLease(ttlMs);
  close: MetaStore['close'] = () => this.#inner.close();

  async list(prefix: string): ReturnType<MetaStore['list']> {
    const listing = await this.#inner.list(prefix);
    const damaged = this.damaged.filter((key) => key.startsWith(prefix));
    return { ...listing, entries: listing.entries.filter((entry) => !damaged.includes(entry.key)), damaged };
  }

  transaction(transaction: MetaTransaction): Promise<MetaOutcome> {
    this.transactions += 1;
    if (this.trouble !== null) return Promise.reject(this.trouble);
    return this.#crash.step('meta', () => this.#inner.transaction(transaction));
  }

  scrub(): Promise<void> {
    return this.#crash.step('meta scrub', () => this.#inner.scrub());
  }
}
