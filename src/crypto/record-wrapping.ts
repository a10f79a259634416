import { CryptoError } from './crypto-error.js';
import type { KeyProvider } from './key-provider.js';
import { keyCheckMatches, keyCheckOf } from './key-wrap.js';
import { encodeWrappedKey, type WrappedKeyRecord } from './wrapped-key-record.js';

/**
 * The bytes of a record of `secret` (32 bytes, only read) under a number. `madeAtMs`: when the key was made, which a new
 * master key does not change. Throws what the provider throws.
 */
export async function wrapRecord(
  provider: KeyProvider,
  number: number,
  secret: Uint8Array,
  madeAtMs: number,
): Promise<Uint8Array> {
  const wrapped = await provider.wrap(secret);
  return encodeWrappedKey({
    format: 1,
    number,
    provider: provider.name,
    madeAtMs: Math.trunc(madeAtMs),
    wrapped: Buffer.from(wrapped).toString('base64'),
    check: keyCheckOf(secret),
  });
}

/** The data key of a record, 32 bytes that the caller wipes. Throws CryptoError WRONG_KEY (keyNumber 0), also when a program unwraps to another key. */
export async function unwrapRecord(provider: KeyProvider, record: WrappedKeyRecord): Promise<Uint8Array> {
  const secret = await provider.unwrap(Uint8Array.from(Buffer.from(record.wrapped, 'base64')));
  if (keyCheckMatches(secret, record.check)) return secret;
  secret.fill(0);
  const message = `provider "${provider.name}" unwraps to a key that is not the one that was wrapped`;
  throw new CryptoError(message, { code: 'WRONG_KEY', provider: provider.name, keyNumber: 0 });
}
