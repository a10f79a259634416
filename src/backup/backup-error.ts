import { FaultError } from '../base/errors.js';

export type BackupFault =
  /** What came is not one of our streams. */
  | { readonly code: 'NOT_A_STREAM' }
  /** A newer program wrote it. */
  | { readonly code: 'VERSION'; readonly version: number }
  /** It ended before its end. */
  | { readonly code: 'CUT'; readonly atBytes: number }
  /** A checksum, an order or a range is not what a sender writes. */
  | { readonly code: 'CORRUPT'; readonly atBytes: number };

/** Why a stream of a snapshot cannot be taken; the message says where, and what to do. */
export class BackupError extends FaultError<BackupFault> {
  override readonly name = 'BackupError';
}
