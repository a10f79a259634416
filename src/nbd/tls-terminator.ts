import type * as net from 'node:net';
import * as tls from 'node:tls';
import { messageOf } from '../base/errors.js';
import { NbdError } from './nbd-error.js';

/** PEM texts; the composition reads the files. */
export interface TlsOptions {
  readonly certificate: string | Buffer;
  readonly privateKey: string | Buffer;
  /** Who signs the clients' certificates. Given: a client without a valid one is turned away. */
  readonly clientAuthority?: string | Buffer;
}

export interface TlsUpgrade {
  secured(socket: tls.TLSSocket): void;
  failed(reason: string): void;
}

/** Puts the server's side of TLS under connections that already exist (NBD_OPT_STARTTLS). */
export class TlsTerminator {
  readonly #options: tls.TlsOptions;

  /** Throws NbdError TLS_INVALID if certificate, key or authority cannot be used together. */
  constructor(options: TlsOptions) {
    this.#options = {
      cert: options.certificate,
      key: options.privateKey,
      minVersion: 'TLSv1.2',
      ...(options.clientAuthority === undefined
        ? {}
        : { ca: options.clientAuthority, requestCert: true, rejectUnauthorized: true }),
    };
    try {
      tls.createSecureContext(this.#options);
    } catch (thrown) {
      throw new NbdError(
        `the TLS certificate, key or client authority cannot be used: ${messageOf(thrown)}`,
        { code: 'TLS_INVALID', detail: messageOf(thrown) },
        { cause: thrown },
      );
    }
  }

  /**
   * Starts TLS on `socket`, whose next byte is the client's hello. Only `tls.Server` checks the client's certificate
   * by itself, and it takes connections from elsewhere by its 'connection' event; one server for each connection tells
   * apart whose handshake ended.
   */
  upgrade(socket: net.Socket, upgrade: TlsUpgrade): void {
    const server = tls.createServer(this.#options);
    server.once('secureConnection', (secured) => upgrade.secured(secured));
    server.once('tlsClientError', (error) => upgrade.failed(`the TLS handshake failed: ${error.message}`));
    server.emit('connection', socket);
  }
}
