import { createHmac, timingSafeEqual } from 'node:crypto';
import { aeskw } from '@noble/ciphers/aes.js';
import { assert } from '../base/assert.js';
import { DATA_KEY_BYTES, MASTER_KEY_BYTES } from './limits.js';

const CHECK_BYTES = 16;

/** AES-256 key wrap (RFC 3394 section 2.2.1): 40 bytes. Deterministic: the same key wraps to the same bytes. */
export function wrapKey(masterKey: Uint8Array, dataKey: Uint8Array): Uint8Array {
  assert(masterKey.length === MASTER_KEY_BYTES, 'a master key has 256 bits');
  assert(dataKey.length === DATA_KEY_BYTES, 'a data key has 256 bits');
  return aeskw(masterKey).encrypt(dataKey);
}

/** The data key, or null when it was wrapped with another master key, or changed (section 2.2.3: the check is 64 bits). */
export function unwrapKey(masterKey: Uint8Array, wrapped: Uint8Array): Uint8Array | null {
  assert(masterKey.length === MASTER_KEY_BYTES, 'a master key has 256 bits');
  if (wrapped.length !== DATA_KEY_BYTES + 8) return null;
  try {
    return aeskw(masterKey).decrypt(wrapped);
  } catch {
    return null;
  }
}

/**
 * A value by which a key is recognised without being known: the first half of HMAC-SHA256(key, fixed text). A program
 * that unwraps with the wrong key and says nothing is found out by it before a single block is.
 */
export function keyCheckOf(key: Uint8Array): string {
  return createHmac('sha256', key).update('galleon key check v1').digest().subarray(0, CHECK_BYTES).toString('hex');
}

/** Whether `check` is the `keyCheckOf` this key. */
export function keyCheckMatches(key: Uint8Array, check: string): boolean {
  const wanted = Buffer.from(check, 'hex');
  const found = Buffer.from(keyCheckOf(key), 'hex');
  return wanted.length === found.length && timingSafeEqual(wanted, found);
}
