import { isIPv6 } from 'node:net';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { Clock } from '../../base/clock.js';
import { messageOf } from '../../base/errors.js';
import type { Closable } from '../../base/lifecycle.js';
import type { Log } from '../../base/log.js';
import type { ControlPlane } from '../../control/control-plane.js';
import { DaemonService, StorageClassesService, VolumesService } from '../generated/control.js';
import { CallGate } from './call-gate.js';
import { daemonService, type NodeControl } from './daemon-service.js';
import {
  CALLS_PER_CONNECTION_MAX,
  KEEPALIVE_ANSWER_MS_MAX,
  KEEPALIVE_MS,
  REPLY_BYTES_MAX,
  REQUEST_BYTES_MAX,
  SHUTDOWN_MS_MAX,
} from './limits.js';
import { isLoopback } from './loopback.js';
import type { ServerCertificates } from './server-credentials.js';
import { ServerError } from './server-error.js';
import { storageClassesService } from './storage-classes-service.js';
import { volumesService } from './volumes-service.js';

export interface ControlServerOptions {
  /** An address, not a name to look up, or `localhost`. */
  readonly host: string;
  /** 0: the system picks one. */
  readonly port: number;
  readonly token: string;
  readonly shutdownMsMax?: number;
}

export interface ControlServerDependencies {
  readonly plane: ControlPlane;
  readonly node: NodeControl;
  /** null: no TLS, which only loopback may do. */
  readonly certificates: ServerCertificates | null;
  readonly clock: Clock;
  readonly log: Log;
}

/** The control API over TCP. */
export class ControlServer implements Closable {
  readonly #server: Server;
  readonly #gate: CallGate;
  readonly #clock: Clock;
  readonly #shutdownMsMax: number;
  readonly address: string;
  #closing: Promise<void> | undefined;

  private constructor(server: Server, gate: CallGate, address: string, clock: Clock, shutdownMsMax: number) {
    this.#server = server;
    this.#gate = gate;
    this.address = address;
    this.#clock = clock;
    this.#shutdownMsMax = shutdownMsMax;
  }

  /** Throws ServerError. */
  static async listen(options: ControlServerOptions, dependencies: ControlServerDependencies): Promise<ControlServer> {
    const { host, port, token } = options;
    const { plane, node, certificates, clock, log } = dependencies;
    const wanted = joinAddress(host, port);
    if (certificates === null && !isLoopback(host)) {
      throw new ServerError(
        `the control API does not listen on ${wanted} without TLS: others could read its token; ` +
          'give it a loopback address, or --ipc-tls-cert, --ipc-tls-key and --ipc-tls-ca',
        { code: 'UNPROTECTED', address: wanted },
      );
    }
    const gate = new CallGate({ token }, { log });
    const server = new Server({
      'grpc.max_receive_message_length': REQUEST_BYTES_MAX,
      'grpc.max_send_message_length': REPLY_BYTES_MAX,
      'grpc.max_concurrent_streams': CALLS_PER_CONNECTION_MAX,
      // A client that hangs in the middle of an import must not hold its name and its place for ever.
      'grpc.keepalive_time_ms': KEEPALIVE_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_ANSWER_MS_MAX,
    });
    server.addService(VolumesService, volumesService(gate, plane));
    server.addService(StorageClassesService, storageClassesService(gate, plane.classes));
    server.addService(DaemonService, daemonService(gate, plane, node));
    const credentials = certificates === null ? ServerCredentials.createInsecure() : certificates.credentials();
    const bound = await bind(server, wanted, credentials);
    return new ControlServer(server, gate, joinAddress(host, bound), clock, options.shutdownMsMax ?? SHUTDOWN_MS_MAX);
  }

  /** No new calls; followers are sent home; what is under way may finish within the limit. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#gate.shut();
    await new Promise<void>((resolve) => {
      const timer = this.#clock.after(this.#shutdownMsMax, () => {
        this.#server.forceShutdown();
        resolve();
      });
      // An error means that it has been shut down already.
      this.#server.tryShutdown(() => {
        this.#clock.clear(timer);
        resolve();
      });
      this.#gate.endStreams();
    });
    this.#gate.abortAll();
  }
}

function bind(server: Server, address: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (thrown, port) => {
      if (thrown === null) {
        resolve(port);
        return;
      }
      const text = messageOf(thrown);
      const inUse = text.includes('EADDRINUSE');
      reject(
        new ServerError(
          inUse
            ? `${address} is in use by another program; choose another --ipc-address`
            : `the control API cannot listen on ${address}: ${text}`,
          { code: inUse ? 'ADDRESS_IN_USE' : 'ADDRESS_REFUSED', address },
        ),
      );
    });
  });
}

export function joinAddress(host: string, port: number): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}
