import * as fs from 'node:fs/promises';
import * as net from 'node:net';
import { joinAddress } from '../base/address.js';
import type { Clock } from '../base/clock.js';
import { CloseStack, type Closable } from '../base/lifecycle.js';
import { BusyPoll } from './busy-poll.js';
import { ChunkPool } from './chunk-pool.js';
import {
  isExportFault,
  type ClientIdentity,
  type ExportDirectory,
  type ExportFault,
  type OpenedExport,
  type Transport,
} from './export-directory.js';
import type { FailedRequest } from './failure-reports.js';
import type { TlsMode } from './handshake.js';
import { DEFAULT_NBD_LIMITS, assertNbdLimits, type NbdLimits } from './limits.js';
import { NbdError } from './nbd-error.js';
import { Session } from './session.js';
import { TlsTerminator, type TlsOptions } from './tls-terminator.js';
import { listen, listenOnPath } from './unix-path.js';

export interface NbdServerOptions {
  /** Those that shall differ from DEFAULT_NBD_LIMITS. */
  readonly limits?: Partial<NbdLimits>;
  readonly tls?: TlsOptions;
  /** Whether the event loop stays awake for a client's next request; see BusyPoll. Without it: yes. */
  readonly busyPoll?: boolean;
}

export interface NbdServerDependencies {
  readonly exports: ExportDirectory;
  readonly clock: Clock;
  readonly events?: Partial<NbdServerEvents>;
  /**
   * `dup(2)` with close-on-exec. With it plain connections are received straight into the server's buffers; without
   * it they are copied once.
   */
  readonly duplicateDescriptor?: (fd: number) => number;
}

export interface ConnectedClient extends ClientIdentity {
  readonly volumeId: string;
  readonly exportName: string;
}

/** What happens, for log lines and events. Must not throw. */
export interface NbdServerEvents {
  /** A client has entered transmission. */
  connected(client: ConnectedClient): void;
  /** It has left, and the device has completed its last request. */
  disconnected(client: ConnectedClient & { readonly reason: string; readonly durationMs: number }): void;
  /** A connection ended before transmission, otherwise than by the client's own wish. */
  handshakeFailed(client: ClientIdentity & { readonly reason: string }): void;
  /** A connection was closed as soon as it was accepted. */
  connectionRefused(refused: { readonly transport: Transport; readonly reason: string }): void;
  /** A device failed a request; at most `failureReportsPerSecondMax` a second and connection. */
  requestFailed(failed: ConnectedClient & FailedRequest): void;
}

export interface ConnectionReport extends ClientIdentity {
  /** When it was accepted, wall clock milliseconds. */
  readonly sinceMs: number;
  /** Requests that the device owns. */
  readonly inFlight: number;
}

/** What clients make the server hold at this moment. */
export interface NbdUsage {
  readonly connections: number;
  /** Of these, those that have not chosen an export. */
  readonly negotiating: number;
  readonly requestsInFlight: number;
  readonly bufferBytes: number;
}

/** listening: may accept. draining: accepts no more. */
type State = 'listening' | 'draining' | 'closed';

/** Serves the exports of a directory over NBD, on any number of TCP and unix sockets. */
export class NbdServer implements Closable {
  readonly #limits: NbdLimits;
  readonly #exports: ExportDirectory;
  readonly #clock: Clock;
  readonly #events: Partial<NbdServerEvents>;
  readonly #duplicateDescriptor: ((fd: number) => number) | null;
  readonly #pool: ChunkPool;
  readonly #poll: BusyPoll;
  readonly #sessions = new Set<Session>();
  /** Closing a listener takes effect at once; its callback would wait for the connections, which have an end of their own. */
  readonly #listeners = new CloseStack();
  readonly #tcpAddresses: { host: string; port: number }[] = [];
  readonly #unixPaths: string[] = [];
  #terminator: TlsTerminator | null;
  #state: State = 'listening';
  #unixClients = 0;

  /** Throws NbdError TLS_INVALID. */
  constructor(options: NbdServerOptions, dependencies: NbdServerDependencies) {
    this.#limits = { ...DEFAULT_NBD_LIMITS, ...options.limits };
    assertNbdLimits(this.#limits);
    this.#terminator = options.tls === undefined ? null : new TlsTerminator(options.tls);
    this.#exports = dependencies.exports;
    this.#clock = dependencies.clock;
    this.#events = dependencies.events ?? {};
    this.#duplicateDescriptor = dependencies.duplicateDescriptor ?? null;
    this.#pool = new ChunkPool(this.#limits.poolBytesMax);
    this.#poll = new BusyPoll(dependencies.clock, options.busyPoll ?? true);
  }

  /** The TCP addresses that it listens on, with the ports that the system picked. */
  get tcpAddresses(): readonly { readonly host: string; readonly port: number }[] {
    return this.#tcpAddresses;
  }

  get unixPaths(): readonly string[] {
    return this.#unixPaths;
  }

  /** Port 0: the system picks one. Throws NbdError. */
  async listenTcp(host: string, port: number, tls: TlsMode = 'none'): Promise<{ host: string; port: number }> {
    const server = this.#listener('tcp', tls);
    await listen(server, { host, port });
    this.#refuseIfClosed(server);
    this.#listeners.defer(() => {
      server.close();
    });
    const bound = server.address();
    const address = { host, port: bound !== null && typeof bound === 'object' ? bound.port : port };
    this.#tcpAddresses.push(address);
    return address;
  }

  /** Replaces a stale socket; throws NbdError ADDRESS_IN_USE if somebody answers on the path. */
  async listenUnix(socketPath: string, mode = 0o600, tls: TlsMode = 'none'): Promise<void> {
    const server = this.#listener('unix', tls);
    await listenOnPath(server, socketPath, mode);
    if (this.#state !== 'listening') await fs.rm(socketPath, { force: true });
    this.#refuseIfClosed(server);
    this.#unixPaths.push(socketPath);
    this.#listeners.defer(async () => {
      server.close();
      await fs.rm(socketPath, { force: true });
    });
  }

  /** New handshakes use these; connections go on with what they have. Throws NbdError TLS_INVALID and changes nothing. */
  reloadTls(options: TlsOptions): void {
    this.#terminator = new TlsTerminator(options);
  }

  usage(): NbdUsage {
    let negotiating = 0;
    let requestsInFlight = 0;
    for (const session of this.#sessions) {
      if (session.volumeId === null) negotiating += 1;
      requestsInFlight += session.inFlight;
    }
    return { connections: this.#sessions.size, negotiating, requestsInFlight, bufferBytes: this.#pool.heldBytes };
  }

  connections(volumeId: string): ConnectionReport[] {
    return this.#sessionsOf(volumeId).map(({ address, transport, sinceMs, inFlight }) => {
      return { address, transport, sinceMs, inFlight };
    });
  }

  /** Cuts the connections of a volume, or the one from `address`. Resolves to their addresses when they have ended. */
  async kick(volumeId: string, address?: string): Promise<string[]> {
    const dropped = this.#sessionsOf(volumeId).filter(
      (session) => address === undefined || session.address === address,
    );
    for (const session of dropped) session.destroy('it was kicked');
    await Promise.all(dropped.map((session) => session.whenEnded));
    return dropped.map((session) => session.address);
  }

  /** Cuts the connections of a volume; resolves when none is left and the device owns none of their requests. */
  async disconnectAll(volumeId: string): Promise<void> {
    const sessions = this.#sessionsOf(volumeId);
    for (const session of sessions) session.destroy('its volume was disconnected');
    await Promise.all(sessions.map((session) => session.whenEnded));
  }

  /**
   * Accepts no more, lets requests in flight finish (new ones get ESHUTDOWN) and ends the connections; those that are
   * not done after `drainMsMax` are cut. Resolves when none is left.
   */
  async drain(): Promise<void> {
    if (this.#state === 'listening') this.#move('draining');
    const listenersClosed = this.#listeners.close();
    const sessions = [...this.#sessions];
    const deadline = this.#clock.after(this.#limits.drainMsMax, () => {
      for (const session of sessions) session.destroy('the server is shutting down');
    });
    for (const session of sessions) session.drain('the server is shutting down');
    await Promise.all([listenersClosed, ...sessions.map((session) => session.whenEnded)]);
    this.#clock.clear(deadline);
  }

  /** Cuts all connections; resolves when the device owns no request of theirs. */
  async close(): Promise<void> {
    this.#move('closed');
    this.#poll.stop();
    const listenersClosed = this.#listeners.close();
    const sessions = [...this.#sessions];
    for (const session of sessions) session.destroy('the server was closed');
    await Promise.all([listenersClosed, ...sessions.map((session) => session.whenEnded)]);
  }

  #move(state: State): void {
    this.#state = state;
  }

  #sessionsOf(volumeId: string): Session[] {
    return [...this.#sessions].filter((session) => session.volumeId === volumeId);
  }

  #listener(transport: 'tcp' | 'unix', tls: TlsMode): net.Server {
    this.#refuseIfClosed(null);
    if (tls !== 'none' && this.#terminator === null) {
      throw new NbdError('TLS needs a certificate and a key', { code: 'TLS_MISSING' });
    }
    return net.createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket, transport, tls));
  }

  /** The server may have been closed while a listener was being made. */
  #refuseIfClosed(listener: net.Server | null): void {
    if (this.#state === 'listening') return;
    listener?.close();
    throw new NbdError('the NBD server is closed', { code: 'CLOSED' });
  }

  #accept(socket: net.Socket, transport: 'tcp' | 'unix', tls: TlsMode): void {
    const refusal = this.#refusal();
    if (refusal !== null) {
      socket.on('error', () => undefined);
      socket.destroy();
      this.#events.connectionRefused?.({ transport, reason: refusal });
      return;
    }
    if (transport === 'tcp') {
      // Set on the descriptor, so its duplicate has them as well.
      socket.setNoDelay(true);
      socket.setKeepAlive(true, this.#limits.keepAliveMs);
    }
    const session = new Session(
      socket,
      { limits: this.#limits, address: this.#addressOf(socket, transport), transport, tls },
      {
        pool: this.#pool,
        poll: this.#poll,
        clock: this.#clock,
        terminator: this.#terminator,
        duplicateDescriptor: this.#duplicateDescriptor,
        list: () => this.#exports.list(),
        open: (name, client, use) => this.#open(name, client, use),
      },
      {
        connected: (of) => this.#events.connected?.(describe(of)),
        requestFailed: (of, failed) => this.#events.requestFailed?.({ ...describe(of), ...failed }),
        ended: (of, reason) => this.#ended(of, reason),
      },
    );
    this.#sessions.add(session);
  }

  /** Why no further connection is taken now; null: it is. */
  #refusal(): string | null {
    if (this.#state !== 'listening') return 'the server is shutting down';
    if (this.#sessions.size >= this.#limits.connectionsMax) return 'too many connections';
    if (this.usage().negotiating >= this.#limits.negotiatingMax) return 'too many connections in their handshake';
    return null;
  }

  #addressOf(socket: net.Socket, transport: 'tcp' | 'unix'): string {
    if (transport === 'tcp') {
      const host = socket.remoteAddress ?? 'unknown';
      return joinAddress(host, socket.remotePort ?? 0);
    }
    this.#unixClients += 1;
    return `unix:${String(this.#unixClients)}`;
  }

  #open(name: string, client: ClientIdentity, use: boolean): OpenedExport | ExportFault {
    if (this.#state !== 'listening') return { code: 'SHUTDOWN' };
    const opened = this.#exports.open(name, client);
    if (isExportFault(opened) || !use) return opened;
    if (this.#sessionsOf(opened.volumeId).length >= this.#limits.connectionsPerVolumeMax) {
      opened.closed();
      return { code: 'POLICY', detail: 'too many connections to this volume' };
    }
    return opened;
  }

  #ended(session: Session, reason: string): void {
    this.#sessions.delete(session);
    const { address, transport } = session;
    if (session.volumeId === null) {
      if (reason !== '') this.#events.handshakeFailed?.({ address, transport, reason });
      return;
    }
    const durationMs = this.#clock.wallMs() - session.sinceMs;
    this.#events.disconnected?.({ ...describe(session), reason, durationMs });
  }
}

function describe(session: Session): ConnectedClient {
  const { address, transport, volumeId, exportName } = session;
  return { address, transport, volumeId: volumeId ?? '', exportName: exportName ?? '' };
}
