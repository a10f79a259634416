import { FaultError } from '../base/errors.js';

export type CryptoFault =
  /** The provider's master key is not the one that this was wrapped with. `keyNumber` 0: found by the start-up check. */
  | { readonly code: 'WRONG_KEY'; readonly provider: string; readonly keyNumber: number }
  /** Neither copy of a key, or not the master key file, is what was written. */
  | { readonly code: 'DAMAGED'; readonly subject: string }
  /** A key, a key file or a passphrase that is needed is not there. */
  | { readonly code: 'MISSING'; readonly subject: string }
  /** A secret's file can be read by others. */
  | { readonly code: 'EXPOSED'; readonly path: string }
  /** A data key with this number exists; numbers are never used twice. */
  | { readonly code: 'NUMBER_TAKEN'; readonly keyNumber: number }
  /** The user's program failed. `exitStatus` null: it did not start, was killed, or took too long. */
  | { readonly code: 'COMMAND_FAILED'; readonly exitStatus: number | null; readonly detail: string }
  /** The options cannot work: an empty passphrase, no program, ... */
  | { readonly code: 'OPTIONS'; readonly option: string }
  | { readonly code: 'IO'; readonly path: string }
  /** A change of the master key failed so that only a restart can tell which one is in force. */
  | { readonly code: 'UNDECIDED'; readonly path: string }
  | { readonly code: 'CLOSED' };

/** Messages name files, providers and key numbers, never a key or a passphrase. */
export class CryptoError extends FaultError<CryptoFault> {
  override readonly name = 'CryptoError';
}
