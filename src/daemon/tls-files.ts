import { readFile } from 'node:fs/promises';
import { messageOf } from '../base/errors.js';
import type { ServerTls } from '../ipc/server/server-credentials.js';
import type { TlsOptions } from '../nbd/tls-terminator.js';
import { DaemonError } from './daemon-error.js';
import type { TlsFiles } from './node-settings.js';

async function readPem(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (thrown) {
    throw new DaemonError(`the TLS file ${path} cannot be read: ${messageOf(thrown)}`, {
      code: 'START',
      subject: path,
    });
  }
}

/** The PEM files of the NBD server. Throws DaemonError START naming the file. */
export async function readNbdTls(files: TlsFiles): Promise<TlsOptions> {
  const certificate = await readPem(files.certificate);
  const privateKey = await readPem(files.privateKey);
  if (files.authority === '') return { certificate, privateKey };
  return { certificate, privateKey, clientAuthority: await readPem(files.authority) };
}

/** The PEM files of the control API, which always asks for a client certificate. */
export async function readIpcTls(files: TlsFiles): Promise<ServerTls> {
  return {
    certificate: await readPem(files.certificate),
    privateKey: await readPem(files.privateKey),
    authority: await readPem(files.authority),
  };
}
