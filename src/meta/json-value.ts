import { messageOf } from '../base/errors.js';
import type { MetaEntry } from './meta-store.js';
import { MetaError } from './meta-error.js';

/** Value bytes of a JSON object. */
export function encodeJson(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

/** The JSON that an entry holds, of unknown shape. Throws MetaError DAMAGED when it holds none. */
export function decodeJson(entry: MetaEntry): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(entry.value)) as unknown;
  } catch (thrown) {
    throw new MetaError(`the value of ${entry.key} is not JSON: ${messageOf(thrown)}`, {
      code: 'DAMAGED',
      key: entry.key,
    });
  }
}
