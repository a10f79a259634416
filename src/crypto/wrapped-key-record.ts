import { z } from 'zod';
import { decodeChecked, encodeChecked } from './checked-json.js';
import { DATA_KEY_NUMBER_MAX, WRAPPED_BYTES_MAX } from './limits.js';

/** A wrapped data key as both copies hold it: see checked-json.ts. */
export interface WrappedKeyRecord {
  readonly format: 1;
  /** 0 in the check of the master key, which is wrapped like a data key but seals nothing. */
  readonly number: number;
  readonly provider: 'file' | 'passphrase' | 'command';
  /** When the key was made, wall clock; of the check: when the master key was set. */
  readonly madeAtMs: number;
  /** Base64. */
  readonly wrapped: string;
  /** keyCheckOf the data key. */
  readonly check: string;
}

const shape = z.strictObject({
  format: z.literal(1),
  number: z.number().int().min(0).max(DATA_KEY_NUMBER_MAX),
  provider: z.enum(['file', 'passphrase', 'command']),
  madeAtMs: z.number().int().min(0),
  wrapped: z.base64().max(Math.ceil((WRAPPED_BYTES_MAX * 4) / 3) + 4),
  check: z.string().regex(/^[0-9a-f]{32}$/),
});

/** One line of checked JSON. */
export function encodeWrappedKey(record: WrappedKeyRecord): Uint8Array {
  return encodeChecked(record);
}

/** null: damaged, or the record of another key. */
export function decodeWrappedKey(bytes: Uint8Array, number: number): WrappedKeyRecord | null {
  const result = shape.safeParse(decodeChecked(bytes));
  return result.success && result.data.number === number ? result.data : null;
}
