import { CliError } from './cli-error.js';

/** Waits for `work`, but no longer than until the user interrupts: then throws CANCELLED and leaves `work` alone. */
export function interruptible<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const interrupted = (): void => {
      reject(new CliError('interrupted', { code: 'CANCELLED' }));
    };
    if (signal.aborted) interrupted();
    signal.addEventListener('abort', interrupted, { once: true });
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', interrupted);
    });
  });
}
