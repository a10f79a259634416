import { FaultError } from '../base/errors.js';

export type CliFault =
  /** The command line itself is wrong; the message says what to type. */
  | { readonly code: 'USAGE' }
  /** Something on this machine refused: a file, a program. */
  | { readonly code: 'FAILED' }
  /** The user pressed Ctrl-C, or answered no. */
  | { readonly code: 'CANCELLED' };

/** The error class of the command line. */
export class CliError extends FaultError<CliFault> {
  override readonly name = 'CliError';
}

/** `message` says what to type instead. */
export function usageError(message: string): CliError {
  return new CliError(message, { code: 'USAGE' });
}

/** `message` says what failed and what to do. */
export function failure(message: string, cause?: unknown): CliError {
  return new CliError(message, { code: 'FAILED' }, { cause });
}
