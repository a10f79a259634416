import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { Mutex } from '../base/mutex.js';
import { SharedMutex } from '../base/shared-mutex.js';
import type { ForeignKey, KeyVault, MadeKey, RotationOutcome } from '../crypto/data-key-vault.js';
import type { KeyProviderOptions } from '../crypto/key-provider.js';
import { decodeJson, encodeJson } from '../meta/json-value.js';
import { TRANSACTION_OPERATIONS_MAX } from '../meta/limits.js';
import type { MetaStore } from '../meta/meta-store.js';
import type { DataKey } from '../volume/volume-host.js';
import { codeOf, ControlError, refused } from './control-error.js';
import { DATA_KEY_COUNTER, DATA_KEY_PREFIX, dataKeyKey } from './meta-keys.js';

/** A data key and how it is kept. */
export interface WrappedDataKey extends DataKey {
  readonly record: Uint8Array;
}

/**
 * Data keys of volumes: their numbers, and their wrapped copies in the MetaStore (the vault keeps the other copy).
 * Numbers only grow. A number whose key never came to be used is lost, never given again.
 */
export class DataKeys {
  readonly #meta: MetaStore;
  readonly #vault: KeyVault;
  readonly #log: Log;
  readonly #making = new Mutex();
  /** What is wrapped, opened or erased while the master key changes would be so under the old one. */
  readonly #use = new SharedMutex();
  #last = 0;
  #counterRevision = 0;

  constructor({ meta, vault, log }: { meta: MetaStore; vault: KeyVault; log: Log }) {
    this.#meta = meta;
    this.#vault = vault;
    this.#log = log;
  }

  /**
   * Puts the counter above every number that either copy has seen. It has to be durable before orphans are erased:
   * afterwards nothing but the counter remembers their numbers. Resolves to all numbers that have a copy somewhere.
   */
  async start(): Promise<Set<number>> {
    const counter = await this.#readCounter();
    const listing = await this.#meta.list(DATA_KEY_PREFIX);
    const known = new Set(await this.#vault.numbers());
    for (const key of [...listing.entries.map((entry) => entry.key), ...listing.damaged]) {
      known.add(Number(key.slice(DATA_KEY_PREFIX.length)));
    }
    const last = Math.max(counter, 0, ...known);
    if (last > counter) await this.#writeCounter(last, {});
    this.#last = last;
    return known;
  }

  /** Both copies are durable when this resolves. The caller wipes `secret` or hands it on. */
  make(): Promise<MadeKey> {
    return this.#use.shared(() => this.#making.run(() => this.#make(null)));
  }

  /** Keeps a data key of another node under a number of this one, as `make` does with its own. Its secret is only read. */
  adopt(key: ForeignKey): Promise<MadeKey> {
    return this.#use.shared(() => this.#making.run(() => this.#make(key)));
  }

  /** As the vault says. */
  unwrapForeign(number: number, record: Uint8Array): Promise<ForeignKey | null> {
    return this.#use.shared(() => this.#vault.unwrapForeign(number, record));
  }

  async #make(foreign: ForeignKey | null): Promise<MadeKey> {
    const { state } = this.#vault;
    if (!state.usable) {
      throw refused(
        'locked',
        `no data key can be made: ${messageOf(state.error)}; ` +
          'mend the key provider and restart the daemon, or use a class without encryption',
      );
    }
    const number = this.#last + 1;
    // From here on the number counts as used, whatever happens.
    this.#last = number;
    const made = await (foreign === null ? this.#vault.create(number) : this.#vault.adopt(number, foreign));
    try {
      await this.#writeCounter(number, { [dataKeyKey(number)]: made.record });
    } catch (thrown) {
      made.secret.fill(0);
      await this.#vault.erase(number).catch((second: unknown) => {
        this.#log.warn(
          { keyNumber: number, error: messageOf(second) },
          'an unused data key is erased at the next start',
        );
      });
      throw thrown;
    }
    return made;
  }

  /** The keys in the order of `numbers`. Heals a damaged copy from the other. Throws what the vault throws. */
  load(numbers: readonly number[]): Promise<WrappedDataKey[]> {
    return this.#use.shared(() => this.#load(numbers));
  }

  async #load(numbers: readonly number[]): Promise<WrappedDataKey[]> {
    const keys: WrappedDataKey[] = [];
    try {
      for (const number of numbers) keys.push(await this.#loadOne(number));
    } catch (thrown) {
      for (const key of keys) key.secret.fill(0);
      throw thrown;
    }
    return keys;
  }

  /**
   * Erases both copies: neither the MetaStore's freed pages nor the file's blocks hold them afterwards. Fine if they are
   * gone. Safe to repeat after a crash in between: the file goes last, and while it is there its number is known.
   */
  async erase(numbers: readonly number[]): Promise<void> {
    if (numbers.length > 0) await this.#use.shared(() => this.#erase(numbers));
  }

  /** Wraps every data key under a new master key; volumes stay in use. As the vault says. */
  rotateMaster(next: KeyProviderOptions): Promise<RotationOutcome> {
    return this.#use.alone(() => this.#vault.rotateMaster(next));
  }

  /** Ends a change of the master key that was left unfinished. */
  finishRotation(): Promise<void> {
    return this.#use.alone(() => this.#vault.finishRotation());
  }

  async #erase(numbers: readonly number[]): Promise<void> {
    for (let at = 0; at < numbers.length; at += TRANSACTION_OPERATIONS_MAX) {
      await this.#meta.transaction({
        delete: numbers.slice(at, at + TRANSACTION_OPERATIONS_MAX).map(dataKeyKey),
      });
    }
    await this.#meta.scrub();
    for (const number of numbers) await this.#vault.erase(number);
  }

  async #loadOne(number: number): Promise<WrappedDataKey> {
    const { state } = this.#vault;
    if (!state.usable) throw state.error;
    let copy: Uint8Array | null = null;
    try {
      copy = (await this.#meta.get(dataKeyKey(number)))?.value ?? null;
    } catch (thrown) {
      // A damaged record is what the second copy is for.
      if (codeOf(thrown) !== 'DAMAGED') throw thrown;
    }
    const loaded = await this.#vault.load(number, copy);
    if (loaded.healed !== null) {
      const text = loaded.healed.failure === undefined ? 'a data key was healed' : 'a data key has only one good copy';
      this.#log.warn({ keyNumber: number, ...loaded.healed }, text);
      if (loaded.healed.copy === 'meta') await this.#storeHealed(number, loaded.record);
    }
    return { number, secret: loaded.secret, record: loaded.record };
  }

  /** One good copy is enough to serve; that the second could not be written is worth a line. */
  async #storeHealed(number: number, record: Uint8Array): Promise<void> {
    try {
      await this.#meta.transaction({ set: [{ key: dataKeyKey(number), value: record }] });
    } catch (thrown) {
      this.#log.warn(
        { keyNumber: number, error: messageOf(thrown) },
        'the healed copy of a data key could not be stored',
      );
    }
  }

  async #readCounter(): Promise<number> {
    try {
      const entry = await this.#meta.get(DATA_KEY_COUNTER);
      if (entry === null) return 0;
      this.#counterRevision = entry.revision;
      const { last } = decodeJson(entry) as { last?: unknown };
      return typeof last === 'number' && Number.isSafeInteger(last) ? last : 0;
    } catch (thrown) {
      if (codeOf(thrown) !== 'DAMAGED') throw thrown;
      // The vault still refuses a number that has a file, and the copies say how far numbers had come.
      this.#log.warn(
        { error: messageOf(thrown) },
        'the counter of data keys is damaged and starts from the keys that are there',
      );
      await this.#meta.transaction({ delete: [DATA_KEY_COUNTER] });
      this.#counterRevision = 0;
      return 0;
    }
  }

  async #writeCounter(last: number, records: Readonly<Record<string, Uint8Array>>): Promise<void> {
    const outcome = await this.#meta.transaction({
      compare: [{ key: DATA_KEY_COUNTER, revision: this.#counterRevision }],
      set: [
        { key: DATA_KEY_COUNTER, value: encodeJson({ last }) },
        ...Object.entries(records).map(([key, value]) => ({ key, value })),
      ],
    });
    if (!outcome.committed) {
      throw new ControlError('the counter of data keys was changed by someone else; restart the daemon', {
        code: 'FAILED',
        step: 'count data keys',
      });
    }
    this.#counterRevision = outcome.revision;
  }
}
