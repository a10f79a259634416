import type { BlockKeys, KeyringId, SealingKeyId } from '../io/block-keys.js';

/** A sealing key of this session and its nonce counter. */
export interface SealingKey {
  readonly id: SealingKeyId;
  /** Next counter. It belongs to (data key, session salt): it never resets or steps back, across heads and failed appends. */
  counter: number;
}

/**
 * The sealing keys of one session of the store: one per data key, bound to a salt drawn at this opening, so that a
 * restored old copy of the storage path can never repeat a (key, nonce) pair (P7). A key outlives the heads that used
 * it: opening a volume again in the same session must go on counting where it was.
 */
export class SealingKeys {
  readonly #keys: BlockKeys;
  readonly #salt: Uint8Array;
  readonly #byNumber = new Map<number, SealingKey>();

  constructor(options: { salt: Uint8Array }, dependencies: { keys: BlockKeys }) {
    this.#salt = options.salt;
    this.#keys = dependencies.keys;
  }

  /** The sealing key of a data key; PLAIN_KEY_NUMBER for blocks that are not encrypted. */
  of(keyring: KeyringId, number: number): SealingKey {
    let key = this.#byNumber.get(number);
    if (key === undefined) {
      key = { id: this.#keys.createSealingKey(keyring, number, this.#salt), counter: 0 };
      this.#byNumber.set(number, key);
    }
    return key;
  }

  /** Wipes every key. */
  release(): void {
    for (const key of this.#byNumber.values()) this.#keys.releaseSealingKey(key.id);
    this.#byNumber.clear();
  }
}
