import { readFileSync } from 'node:fs';
import { messageOf } from '../base/errors.js';
import type { ClientTls } from '../ipc/client-channel.js';
import { usageError } from './cli-error.js';

/** Options, their variables, and what their files are. */
const TLS_OPTIONS = ['tls-ca', 'tls-cert', 'tls-key'] as const;
export type TlsOption = (typeof TLS_OPTIONS)[number];

/**
 * The certificates for a daemon that asks for them, or null when none of the three files is named. `fileOf` gives the
 * path that the user named for an option. Throws USAGE when only some are named or one cannot be read.
 */
export function readClientTls(fileOf: (option: TlsOption) => string | undefined): ClientTls | null {
  const files = TLS_OPTIONS.map((option) => ({ option, path: fileOf(option) }));
  const missing = files.filter(({ path }) => path === undefined);
  if (missing.length === files.length) return null;
  if (missing.length > 0) {
    const names = missing.map(({ option }) => `--${option}`).join(' and ');
    throw usageError(`a daemon that uses TLS asks for a certificate: give ${names} too`);
  }
  const [authority, certificate, privateKey] = files.map(({ option, path = '' }) => {
    try {
      return readFileSync(path);
    } catch (thrown) {
      throw usageError(`the file of --${option} cannot be read: ${messageOf(thrown)}`);
    }
  });
  return { authority, certificate, privateKey };
}
