import { FaultError } from '../base/errors.js';

export type DaemonFault =
  /** The command line, the environment or the configuration file: exit status 2. */
  | { readonly code: 'CONFIG' }
  /** Everything else that keeps a node from starting: exit status 1. */
  | { readonly code: 'START'; readonly subject: string };

/** Why a daemon does not start, in one line that names the thing and what to do. */
export class DaemonError extends FaultError<DaemonFault> {
  override readonly name = 'DaemonError';
}
