import { createSecureContext } from 'node:tls';
import { experimental, type ServerCredentials } from '@grpc/grpc-js';
import { messageOf } from '../../base/errors.js';
import { ServerError } from './server-error.js';

/** PEM texts. */
export interface ServerTls {
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
  /** Who may sign client certificates. */
  readonly authority: Buffer;
}

type Provider = Parameters<typeof experimental.createCertificateProviderServerCredentials>[0];
type Listener<Method extends keyof Provider> = Parameters<Provider[Method]>[0];

/** Certificates that can be exchanged while the server runs: new connections use the new ones. */
export class ServerCertificates {
  #tls: ServerTls;
  readonly #authorityListeners = new Set<Listener<'addCaCertificateListener'>>();
  readonly #identityListeners = new Set<Listener<'addIdentityCertificateListener'>>();

  /** Throws TLS_INVALID when certificate and key cannot be used together. */
  constructor(tls: ServerTls) {
    checkTls(tls);
    this.#tls = tls;
  }

  /** The same check; the old ones stay in use when it throws. */
  replace(tls: ServerTls): void {
    checkTls(tls);
    this.#tls = tls;
    for (const listener of this.#authorityListeners) listener({ caCertificate: tls.authority });
    for (const listener of this.#identityListeners) listener(this.#identity());
  }

  /** Server credentials that demand a client certificate. */
  credentials(): ServerCredentials {
    const provider: Provider = {
      addCaCertificateListener: (listener) => {
        this.#authorityListeners.add(listener);
        // Not at once: gRPC begins to watch its credentials only after it has added this listener.
        queueMicrotask(() => {
          listener({ caCertificate: this.#tls.authority });
        });
      },
      removeCaCertificateListener: (listener) => {
        this.#authorityListeners.delete(listener);
      },
      addIdentityCertificateListener: (listener) => {
        this.#identityListeners.add(listener);
        queueMicrotask(() => {
          listener(this.#identity());
        });
      },
      removeIdentityCertificateListener: (listener) => {
        this.#identityListeners.delete(listener);
      },
    };
    return experimental.createCertificateProviderServerCredentials(provider, provider, true);
  }

  #identity(): { certificate: Buffer; privateKey: Buffer } {
    return { certificate: this.#tls.certificate, privateKey: this.#tls.privateKey };
  }
}

function checkTls(tls: ServerTls): void {
  try {
    createSecureContext({ cert: tls.certificate, key: tls.privateKey, ca: tls.authority });
  } catch (thrown) {
    throw new ServerError(`the TLS files of the control API cannot be used: ${messageOf(thrown)}`, {
      code: 'TLS_INVALID',
    });
  }
}
