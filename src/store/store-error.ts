import { FaultError } from '../base/errors.js';

export type StoreFault =
  /** No segment can be allocated and the reserve may not be used for this. */
  | { readonly code: 'FULL' }
  /** Something that was durable cannot be read back or proven. */
  | { readonly code: 'DAMAGED'; readonly subject: string }
  /** The disk said no: the store stops acknowledging until it has reopened. */
  | { readonly code: 'IO'; readonly detail: string }
  /** Written by a newer version of the program. */
  | { readonly code: 'NEWER_FORMAT'; readonly subject: string }
  | { readonly code: 'UNKNOWN_LAYER'; readonly layer: number }
  /** It changes no more. */
  | { readonly code: 'FROZEN'; readonly layer: number }
  /** It is still written to, or is being removed: nothing can be made from it. */
  | { readonly code: 'NOT_FROZEN'; readonly layer: number }
  /** Neither was made from the other, nor both from a third. */
  | { readonly code: 'UNRELATED'; readonly from: number; readonly to: number }
  | { readonly code: 'CLOSED' };

export class StoreError extends FaultError<StoreFault> {
  override readonly name = 'StoreError';
}
