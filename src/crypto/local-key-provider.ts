import { assert } from '../base/assert.js';
import { CryptoError } from './crypto-error.js';
import type { KeyProvider } from './key-provider.js';
import { unwrapKey, wrapKey } from './key-wrap.js';
import { MASTER_KEY_BYTES } from './limits.js';

/** A provider whose master key is in this process: from a file, or stretched from a passphrase. */
export class LocalKeyProvider implements KeyProvider {
  readonly name: 'file' | 'passphrase';
  readonly #description: string;
  readonly #masterKey: Uint8Array;
  #closed = false;

  /** Takes the master key over: `close` wipes it. */
  constructor(name: 'file' | 'passphrase', description: string, masterKey: Uint8Array) {
    assert(masterKey.length === MASTER_KEY_BYTES, 'a master key has 256 bits');
    this.name = name;
    this.#description = description;
    this.#masterKey = masterKey;
  }

  describe(): string {
    return this.#description;
  }

  wrap(dataKey: Uint8Array): Promise<Uint8Array> {
    if (this.#closed) return Promise.reject(providerClosed());
    return Promise.resolve(wrapKey(this.#masterKey, dataKey));
  }

  unwrap(wrapped: Uint8Array): Promise<Uint8Array> {
    if (this.#closed) return Promise.reject(providerClosed());
    const dataKey = unwrapKey(this.#masterKey, wrapped);
    if (dataKey !== null) return Promise.resolve(dataKey);
    const message = `the master key of provider "${this.name}" is not the one this was wrapped with`;
    return Promise.reject(new CryptoError(message, { code: 'WRONG_KEY', provider: this.name, keyNumber: 0 }));
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#masterKey.fill(0);
    return Promise.resolve();
  }
}

/** What every provider says after `close`. */
export function providerClosed(): CryptoError {
  return new CryptoError('the key provider is closed', { code: 'CLOSED' });
}
