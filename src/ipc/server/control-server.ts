import { createServer, type Server as SocketServer, type Socket } from 'node:net';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { isLoopback, joinAddress } from '../../base/address.js';
import type { Clock } from '../../base/clock.js';
import { errnoOf, messageOf } from '../../base/errors.js';
import { CloseStack, type Closable } from '../../base/lifecycle.js';
import type { Log } from '../../base/log.js';
import type { ControlPlane } from '../../control/control-plane.js';
import { QosService } from '../generated/qos.js';
import { DaemonService, StorageClassesService, VolumesService } from '../generated/control.js';
import { KeysService } from '../generated/keys.js';
import { ScrubsService } from '../generated/scrub.js';
import { SnapshotsService } from '../generated/snapshots.js';
import { CallGate } from './call-gate.js';
import { ConnectionGate } from './connection-gate.js';
import { daemonService, type NodeControl } from './daemon-service.js';
import { keysService } from './keys-service.js';
import {
  CALLS_PER_CONNECTION_MAX,
  CONNECTIONS_MAX,
  KEEPALIVE_ANSWER_MS_MAX,
  KEEPALIVE_MS,
  PROOF_MS_MAX,
  REPLY_BYTES_MAX,
  REQUEST_BYTES_MAX,
  SHUTDOWN_MS_MAX,
  UNPROVEN_CONNECTIONS_MAX,
} from './limits.js';
import { qosService } from './qos-service.js';
import { scrubsService } from './scrub-service.js';
import type { ServerCertificates } from './server-credentials.js';
import { ServerError } from './server-error.js';
import { snapshotsService } from './snapshots-service.js';
import { storageClassesService } from './storage-classes-service.js';
import { volumesService } from './volumes-service.js';

export interface ControlServerOptions {
  /** An address, not a name to look up, or `localhost`. */
  readonly host: string;
  /** 0: the system picks one. */
  readonly port: number;
  readonly token: string;
  readonly shutdownMsMax?: number;
  /** How long a connection may take to its first call with the token. */
  readonly proofMsMax?: number;
}

export interface ControlServerDependencies {
  readonly plane: ControlPlane;
  readonly node: NodeControl;
  /** null: no TLS, which only loopback may do. */
  readonly certificates: ServerCertificates | null;
  readonly clock: Clock;
  readonly log: Log;
}

/** The control API over TCP. Connections are accepted here and handed to gRPC, which has no bound on them. */
export class ControlServer implements Closable {
  readonly #server: Server;
  readonly #gate: CallGate;
  readonly #connections: ConnectionGate;
  readonly #listeners: CloseStack;
  readonly #clock: Clock;
  readonly #shutdownMsMax: number;
  readonly address: string;
  #closing: Promise<void> | undefined;

  private constructor(
    options: { readonly address: string; readonly shutdownMsMax: number },
    parts: {
      readonly server: Server;
      readonly gate: CallGate;
      readonly connections: ConnectionGate;
      readonly listeners: CloseStack;
      readonly clock: Clock;
    },
  ) {
    this.address = options.address;
    this.#shutdownMsMax = options.shutdownMsMax;
    this.#server = parts.server;
    this.#gate = parts.gate;
    this.#connections = parts.connections;
    this.#listeners = parts.listeners;
    this.#clock = parts.clock;
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
    const connections = new ConnectionGate(
      {
        provenMax: CONNECTIONS_MAX,
        unprovenMax: UNPROVEN_CONNECTIONS_MAX,
        proofMsMax: options.proofMsMax ?? PROOF_MS_MAX,
      },
      { clock },
    );
    const gate = new CallGate({ token }, { log, proven: (peer) => connections.proven(peer) });
    const server = new Server({
      interceptors: [gate.interceptor],
      'grpc.max_receive_message_length': REQUEST_BYTES_MAX,
      'grpc.max_send_message_length': REPLY_BYTES_MAX,
      'grpc.max_concurrent_streams': CALLS_PER_CONNECTION_MAX,
      // A client that hangs in the middle of an import must not hold its name and its place for ever.
      'grpc.keepalive_time_ms': KEEPALIVE_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_ANSWER_MS_MAX,
    });
    server.addService(VolumesService, volumesService(gate, plane));
    server.addService(SnapshotsService, snapshotsService(gate, plane));
    server.addService(StorageClassesService, storageClassesService(gate, plane.classes));
    server.addService(KeysService, keysService(gate, plane, { local: isLoopback(host) }));
    server.addService(ScrubsService, scrubsService(gate, plane.scrubs));
    server.addService(QosService, qosService(gate, plane.qos));
    server.addService(DaemonService, daemonService(gate, plane, node));
    const credentials = certificates === null ? ServerCredentials.createInsecure() : certificates.credentials();
    const injector = server.createConnectionInjector(credentials);
    const accept = (socket: Socket): void => {
      if (connections.admit(socket)) injector.injectConnection(socket);
    };
    const listeners = new CloseStack();
    try {
      const bound = await listenOn(host, port, accept, listeners);
      const shutdownMsMax = options.shutdownMsMax ?? SHUTDOWN_MS_MAX;
      return new ControlServer(
        { address: joinAddress(host, bound), shutdownMsMax },
        { server, gate, connections, listeners, clock },
      );
    } catch (thrown) {
      await listeners.close();
      server.forceShutdown();
      throw addressError(wanted, thrown);
    }
  }

  /** No new calls; followers are sent home; what is under way may finish within the limit. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#gate.shut();
    await this.#listeners.close();
    this.#connections.closeUnproven();
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

/** The addresses that `localhost` may mean: whichever of them a client tries first, somebody is there. */
async function listenOn(
  host: string,
  port: number,
  accept: (socket: Socket) => void,
  listeners: CloseStack,
): Promise<number> {
  if (host !== 'localhost') return listenOnce(host, port, accept, listeners);
  const bound = await listenOnce('127.0.0.1', port, accept, listeners);
  try {
    await listenOnce('::1', bound, accept, listeners);
  } catch (thrown) {
    // Machines without IPv6 have no such address.
    if (!['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EINVAL'].includes(errnoOf(thrown))) throw thrown;
  }
  return bound;
}

/** Answers the port, which the system picks for 0. Closing a listener takes effect at once, and waits for no connection. */
function listenOnce(
  host: string,
  port: number,
  accept: (socket: Socket) => void,
  listeners: CloseStack,
): Promise<number> {
  const listener: SocketServer = createServer({ noDelay: true }, accept);
  return new Promise((resolve, reject) => {
    listener.once('error', reject);
    listener.listen({ host, port }, () => {
      listener.off('error', reject);
      listeners.defer(() => {
        listener.close();
      });
      const address = listener.address();
      resolve(address !== null && typeof address === 'object' ? address.port : port);
    });
  });
}

function addressError(address: string, thrown: unknown): ServerError {
  const inUse = errnoOf(thrown) === 'EADDRINUSE';
  const message = inUse
    ? `${address} is in use by another program; choose another --ipc-address`
    : `the control API cannot listen on ${address}: ${messageOf(thrown)}`;
  return new ServerError(message, { code: inUse ? 'ADDRESS_IN_USE' : 'ADDRESS_REFUSED', address });
}
