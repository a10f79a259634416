import { FaultError } from '../base/errors.js';

export type MetaFault =
  /** A record, or the whole environment (key ''), is not what was written. It is never returned as data. */
  | { readonly code: 'DAMAGED'; readonly key: string }
  /** No space on the disk. What was committed before stays readable. */
  | { readonly code: 'FULL' }
  /** The history that a watch asked for is gone: list again, then watch from that revision. */
  | { readonly code: 'COMPACTED'; readonly oldestRevision: number }
  /** The lease has run out or was revoked; its keys are gone. */
  | { readonly code: 'LEASE_LOST'; readonly lease: number }
  /** A newer version of the program wrote the environment. */
  | { readonly code: 'VERSION'; readonly found: number; readonly supported: number }
  | { readonly code: 'IO'; readonly errno: string }
  | { readonly code: 'CLOSED' };

export class MetaError extends FaultError<MetaFault> {
  override readonly name = 'MetaError';
}
