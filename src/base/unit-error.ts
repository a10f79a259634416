import { FaultError } from './errors.js';

export type UnitFault =
  { readonly code: 'SIZE'; readonly text: string } | { readonly code: 'DURATION'; readonly text: string };

/** A size or a duration that the user wrote cannot be read. The message names the text and what would be right. */
export class UnitError extends FaultError<UnitFault> {
  override readonly name = 'UnitError';
}
