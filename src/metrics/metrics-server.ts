import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { joinAddress } from '../base/address.js';
import { messageOf } from '../base/errors.js';
import type { Closable } from '../base/lifecycle.js';
import {
  METRICS_CHECK_MS,
  METRICS_CONNECTIONS_MAX,
  METRICS_HEADER_BYTES_MAX,
  METRICS_IDLE_MS_MAX,
  METRICS_REQUEST_MS_MAX,
  METRICS_REQUESTS_PER_SOCKET_MAX,
} from './limits.js';
import type { Health } from './measures.js';

export interface MetricsServerOptions {
  readonly host: string;
  /** 0: the system picks one. */
  readonly port: number;
}

export interface MetricsServerDependencies {
  readonly registry: { readonly contentType: string; text(): Promise<string> };
  readonly health: () => Health;
}

/**
 * `/metrics` and `/healthz` over plain HTTP. It shows names and figures of volumes, never data or secrets, and takes
 * no orders, so it asks for no token: whoever gives it an address that is not loopback shows them to that network.
 */
export class MetricsServer implements Closable {
  readonly #dependencies: MetricsServerDependencies;
  readonly #server: Server;
  /** The oldest first. */
  readonly #connections = new Set<Socket>();

  private constructor(dependencies: MetricsServerDependencies) {
    this.#dependencies = dependencies;
    const options = { maxHeaderSize: METRICS_HEADER_BYTES_MAX, connectionsCheckingInterval: METRICS_CHECK_MS };
    this.#server = createServer(options, (request, response) => {
      void this.#answer(request, response);
    });
    this.#server.on('connection', (socket) => this.#bound(socket));
    this.#server.timeout = METRICS_IDLE_MS_MAX;
    this.#server.requestTimeout = METRICS_REQUEST_MS_MAX;
    this.#server.headersTimeout = METRICS_REQUEST_MS_MAX;
    this.#server.maxRequestsPerSocket = METRICS_REQUESTS_PER_SOCKET_MAX;
  }

  /** Resolves when it listens; rejects with the system's error (EADDRINUSE, ...). */
  static async listen(options: MetricsServerOptions, dependencies: MetricsServerDependencies): Promise<MetricsServer> {
    const server = new MetricsServer(dependencies);
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', reject);
      server.#server.listen({ host: options.host, port: options.port }, () => {
        server.#server.off('error', reject);
        resolve();
      });
    });
    return server;
  }

  /** `HOST:PORT` as the system sees it. */
  get address(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    return joinAddress(address, port);
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      // "Not running" is the only error that close has, and it is what we want.
      this.#server.close(() => {
        resolve();
      });
      this.#server.closeAllConnections();
    });
  }

  /** Connections that do nothing, or do not read their answer, must not keep a scraper out: it displaces them. */
  #bound(socket: Socket): void {
    this.#connections.add(socket);
    socket.once('close', () => this.#connections.delete(socket));
    if (this.#connections.size <= METRICS_CONNECTIONS_MAX) return;
    const [oldest] = this.#connections;
    oldest?.destroy();
    if (oldest !== undefined) this.#connections.delete(oldest);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      send(response, 405, 'text/plain; charset=utf-8', 'only GET and HEAD\n');
      return;
    }
    switch ((request.url ?? '/').split('?')[0]) {
      case '/metrics':
        try {
          send(response, 200, this.#dependencies.registry.contentType, await this.#dependencies.registry.text());
        } catch (thrown) {
          send(response, 500, 'text/plain; charset=utf-8', `${messageOf(thrown)}\n`);
        }
        return;
      case '/healthz': {
        const { healthy, reason } = this.#dependencies.health();
        send(response, healthy ? 200 : 503, 'text/plain; charset=utf-8', `${reason}\n`);
        return;
      }
      default:
        send(response, 404, 'text/plain; charset=utf-8', 'here are /metrics and /healthz\n');
    }
  }
}

function send(response: ServerResponse, status: number, contentType: string, body: string): void {
  const bytes = Buffer.from(body);
  response.writeHead(status, { 'content-type': contentType, 'content-length': bytes.length });
  // Node drops the body of a reply to HEAD by itself.
  response.end(bytes);
}
