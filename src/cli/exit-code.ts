import { UnitError } from '../base/unit-error.js';
import { ClientError, type ClientFault } from '../ipc/client-error.js';
import { CliError, type CliFault } from './cli-error.js';

/** The exit statuses that scripts may rely on. */
export const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3, notFound: 4, interrupted: 130 } as const;

const STATUS: Record<ClientFault['code'] | CliFault['code'], number> = {
  USAGE: EXIT.usage,
  INVALID: EXIT.usage,
  AMBIGUOUS: EXIT.usage,
  NO_TOKEN: EXIT.usage,
  UNREACHABLE: EXIT.unreachable,
  NOT_FOUND: EXIT.notFound,
  // 128 + SIGINT, as shells report it.
  CANCELLED: EXIT.interrupted,
  TIMEOUT: EXIT.failed,
  UNAUTHENTICATED: EXIT.failed,
  EXISTS: EXIT.failed,
  REFUSED: EXIT.failed,
  NO_SPACE: EXIT.failed,
  DAMAGED: EXIT.failed,
  INTERNAL: EXIT.failed,
  FAILED: EXIT.failed,
};

/** The exit status of a command that threw this; 1 for what is no error of ours. */
export function exitCodeOf(thrown: unknown): number {
  if (thrown instanceof CliError || thrown instanceof ClientError) return STATUS[thrown.code];
  if (thrown instanceof UnitError) return EXIT.usage;
  return EXIT.failed;
}
