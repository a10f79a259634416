import * as fs from 'node:fs/promises';
import * as net from 'node:net';
import * as path from 'node:path';
import { errnoOf } from '../base/errors.js';
import { NbdError } from './nbd-error.js';

/** sun_path holds 108 bytes with the NUL that ends it; a longer path could be made but not connected to. */
const PATH_BYTES_MAX = 107;

/**
 * Makes `server` listen on a unix socket at `socketPath` with file mode `mode`. The socket is bound inside a fresh
 * folder that only we can enter, gets its mode there, and is renamed into place: at no moment can somebody connect to
 * it who should not. A stale socket of a daemon that died is replaced; one that somebody answers on is not.
 */
export async function listenOnPath(server: net.Server, socketPath: string, mode: number): Promise<void> {
  if (Buffer.byteLength(socketPath) > PATH_BYTES_MAX) throw tooLong(socketPath);
  await refuseTaken(socketPath);
  const folder = await fs.mkdtemp(path.join(path.dirname(socketPath), '.n')).catch((thrown: unknown) => {
    throw refusal(socketPath, thrown);
  });
  const bound = path.join(folder, 's');
  try {
    if (Buffer.byteLength(bound) > PATH_BYTES_MAX) throw tooLong(socketPath);
    await listen(server, { path: bound });
    await fs.chmod(bound, mode);
    await fs.rename(bound, socketPath);
  } catch (thrown) {
    server.close();
    throw thrown instanceof NbdError ? thrown : refusal(socketPath, thrown);
  } finally {
    await fs.rm(folder, { recursive: true, force: true });
  }
}

/** Resolves when `server` listens; throws NbdError ADDRESS_IN_USE or ADDRESS_REFUSED. */
export function listen(server: net.Server, options: net.ListenOptions): Promise<void> {
  const address = options.path ?? `${options.host ?? ''}:${String(options.port)}`;
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(refusal(address, error));
    server.once('error', failed);
    server.listen(options, () => {
      server.off('error', failed);
      resolve();
    });
  });
}

/** Throws if `socketPath` is anything but free or a socket that nobody answers on. */
async function refuseTaken(socketPath: string): Promise<void> {
  let found;
  try {
    found = await fs.lstat(socketPath);
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return;
    throw refusal(socketPath, thrown);
  }
  if (!found.isSocket()) {
    throw new NbdError(`${socketPath} exists and is not a socket`, { code: 'NOT_A_SOCKET', path: socketPath });
  }
  const errno = await tryConnect(socketPath);
  // ECONNREFUSED is what the kernel says when nobody listens; any other answer may come from somebody alive.
  if (errno !== 'ECONNREFUSED' && errno !== 'ENOENT') throw inUse(socketPath);
}

/** '' when somebody answers, otherwise the errno name. */
function tryConnect(socketPath: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect({ path: socketPath });
    socket.once('connect', () => {
      socket.destroy();
      resolve('');
    });
    socket.once('error', (error) => resolve(errnoOf(error)));
  });
}

function refusal(address: string, thrown: unknown): NbdError {
  const errno = errnoOf(thrown);
  if (errno === 'EADDRINUSE') return inUse(address);
  return new NbdError(
    `cannot listen on ${address}: ${errno}`,
    { code: 'ADDRESS_REFUSED', address, errno },
    { cause: thrown },
  );
}

function tooLong(socketPath: string): NbdError {
  return new NbdError(`the path of a unix socket has at most ${String(PATH_BYTES_MAX)} bytes: ${socketPath}`, {
    code: 'ADDRESS_REFUSED',
    address: socketPath,
    errno: 'ENAMETOOLONG',
  });
}

function inUse(address: string): NbdError {
  return new NbdError(`somebody already listens on ${address}`, { code: 'ADDRESS_IN_USE', address });
}
