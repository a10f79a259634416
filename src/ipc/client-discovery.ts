import { readFileSync } from 'node:fs';
import { messageOf } from '../base/errors.js';
import { ClientError } from './client-error.js';
import { type DaemonEntry, listDaemons, type RegistryPlace } from './daemon-registry.js';

export const DEFAULT_DAEMON_ADDRESS = '127.0.0.1:8090';

export interface DaemonWishes {
  /** --daemon-address or GFS_DAEMON_ADDRESS. */
  readonly address: string | undefined;
  /** --token-file or GFS_TOKEN_FILE. */
  readonly tokenFile: string | undefined;
}

export interface DaemonTarget {
  readonly address: string;
  /** '' when none is known: the daemon, if there is one, then says that it wants one. */
  readonly token: string;
}

/**
 * The daemon that is meant: the named one, else the only one that runs as this user, else the default address.
 * Throws AMBIGUOUS when several run and nothing chooses, NO_TOKEN when the token cannot be read.
 */
export function findDaemon(wishes: DaemonWishes, place: RegistryPlace): DaemonTarget {
  const running = listDaemons(place);
  const entry = chooseEntry(wishes, running);
  const address = wishes.address ?? entry?.ipcAddress ?? DEFAULT_DAEMON_ADDRESS;
  const tokenFile = wishes.tokenFile ?? entry?.tokenFile;
  return { address, token: tokenFile === undefined ? '' : readToken(tokenFile) };
}

function chooseEntry(wishes: DaemonWishes, running: readonly DaemonEntry[]): DaemonEntry | undefined {
  const { address, tokenFile } = wishes;
  if (address !== undefined) return running.find((entry) => sameAddress(entry.ipcAddress, address));
  if (running.length <= 1) return running[0];
  const byToken = tokenFile === undefined ? [] : running.filter((entry) => entry.tokenFile === tokenFile);
  if (byToken.length === 1) return byToken[0];
  const list = running.map((entry) => `${entry.ipcAddress} (${entry.storagePath})`).join(', ');
  throw new ClientError(`several daemons run here: ${list}; choose one with --daemon-address`, {
    code: 'AMBIGUOUS',
    addresses: running.map((entry) => entry.ipcAddress),
  });
}

/** `localhost` is how people type the loopback address. */
function sameAddress(left: string, right: string): boolean {
  const plain = (address: string): string => address.replace(/^localhost:/, '127.0.0.1:');
  return plain(left) === plain(right);
}

function readToken(tokenFile: string): string {
  let token: string;
  try {
    token = readFileSync(tokenFile, 'utf8').trim();
  } catch (thrown) {
    throw noToken(tokenFile, `cannot be read (${messageOf(thrown)})`);
  }
  if (token === '') throw noToken(tokenFile, 'is empty');
  // Metadata values are printable ASCII; anything else is the wrong file.
  if (!/^[\x21-\x7e]{1,4096}$/.test(token)) throw noToken(tokenFile, 'does not hold a token');
  return token;
}

function noToken(tokenFile: string, what: string): ClientError {
  return new ClientError(
    `the token file ${tokenFile} ${what}; name the right one with --token-file (run/control.token in the storage path)`,
    { code: 'NO_TOKEN', tokenFile },
  );
}
