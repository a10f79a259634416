import type { BlockKeys, KeyringId, SealingKeyId } from '../io/block-keys.js';

/** A sealing key of this session and its nonce counter. */
export interface SealingKey {
  readonly number: number;
  readonly id: SealingKeyId;
  /** Next counter. It belongs to (data key, session salt): it never resets or steps back, across heads and failed appends. */
  counter: number;
}

/**
 * The sealing keys of one session of the store: one per data key, bound to a salt drawn at this opening, so that a
 * restored old copy of the storage path can never repeat a (key, nonce) pair (P7). Counters outlive the heads that used
 * them: opening a volume again in the same session must go on counting where it was.
 */
export class SealingKeys {
  readonly #keys: BlockKeys;
  readonly #salt: Uint8Array;
  readonly #byNumber = new Map<number, { key: SealingKey; users: number }>();
  readonly #counters = new Map<number, number>();

  constructor(options: { salt: Uint8Array }, dependencies: { keys: BlockKeys }) {
    this.#salt = options.salt;
    this.#keys = dependencies.keys;
  }

  /** The sealing key of a data key, held until `letGo`; PLAIN_KEY_NUMBER for blocks that are not encrypted. */
  hold(keyring: KeyringId, number: number): SealingKey {
    let held = this.#byNumber.get(number);
    if (held === undefined) {
      const id = this.#keys.createSealingKey(keyring, number, this.#salt);
      held = { key: { number, id, counter: this.#counters.get(number) ?? 0 }, users: 0 };
      this.#byNumber.set(number, held);
    }
    held.users += 1;
    return held.key;
  }

  /** The last user wipes the key; its counter stays. */
  letGo(key: SealingKey): void {
    const held = this.#byNumber.get(key.number);
    if (held?.key !== key) return;
    held.users -= 1;
    if (held.users > 0) return;
    this.#counters.set(key.number, key.counter);
    this.#byNumber.delete(key.number);
    this.#keys.releaseSealingKey(key.id);
  }

  /** Wipes every key. */
  release(): void {
    for (const { key } of this.#byNumber.values()) this.#keys.releaseSealingKey(key.id);
    this.#byNumber.clear();
  }
}
