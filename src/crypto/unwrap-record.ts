import { CryptoError } from './crypto-error.js';
import type { KeyProvider } from './key-provider.js';
import { keyCheckMatches } from './key-wrap.js';
import type { WrappedKeyRecord } from './wrapped-key-record.js';

/** The data key of a record. Throws CryptoError WRONG_KEY (keyNumber 0), also when a program unwraps to another key. */
export async function unwrapRecord(provider: KeyProvider, record: WrappedKeyRecord): Promise<Uint8Array> {
  const secret = await provider.unwrap(Uint8Array.from(Buffer.from(record.wrapped, 'base64')));
  if (keyCheckMatches(secret, record.check)) return secret;
  secret.fill(0);
  const message = `provider "${provider.name}" unwraps to a key that is not the one that was wrapped`;
  throw new CryptoError(message, { code: 'WRONG_KEY', provider: provider.name, keyNumber: 0 });
}
