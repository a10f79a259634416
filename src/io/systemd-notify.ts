import { addon } from './addon.js';

/**
 * Tells the service manager `state` (`READY=1`, `STOPPING=1`, `WATCHDOG=1`, `STATUS=...`; sd_notify(3)). `socketPath` is
 * $NOTIFY_SOCKET, an absolute path or '@' and an abstract name. Returns whether it was sent: false without a manager.
 */
export function notifySystemd(state: string, socketPath: string | undefined): boolean {
  if (socketPath === undefined || socketPath === '') return false;
  return addon.notifySystemd(socketPath, state);
}
