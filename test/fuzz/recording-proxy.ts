import { mkdtempSync, rmSync } from 'node:fs';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** Stands between clients and a server, and keeps what each client said. */
export class RecordingProxy {
  readonly socketPath: string;
  /** One list of pieces for each connection, in the order in which they came. */
  readonly #said: Buffer[][] = [];
  readonly #sockets = new Set<net.Socket>();
  readonly #folder: string;
  readonly #server: net.Server;

  private constructor(target: net.NetConnectOpts) {
    this.#folder = mkdtempSync(join(tmpdir(), 'nbd-proxy-'));
    this.socketPath = join(this.#folder, 'proxy.sock');
    this.#server = net.createServer({ allowHalfOpen: true }, (client) => this.#carry(client, target));
  }

  /** Gone at the end of the running test. */
  static async start(target: net.NetConnectOpts, transport: 'unix' | 'tcp' = 'unix'): Promise<RecordingProxy> {
    const proxy = new RecordingProxy(target);
    onTestFinished(() => proxy.#close());
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject);
      if (transport === 'tcp') proxy.#server.listen(0, '127.0.0.1', resolve);
      else proxy.#server.listen(proxy.socketPath, resolve);
    });
    return proxy;
  }

  /** `host:port`, over TCP. */
  get address(): string {
    const bound = this.#server.address();
    return bound !== null && typeof bound === 'object' ? `${bound.address}:${String(bound.port)}` : '';
  }

  /** What each connection has sent so far. */
  recordings(): Uint8Array[] {
    return this.#said.map((pieces) => Buffer.concat(pieces));
  }

  #carry(client: net.Socket, target: net.NetConnectOpts): void {
    const server = net.connect({ ...target, allowHalfOpen: true });
    const pieces: Buffer[] = [];
    this.#said.push(pieces);
    client.on('data', (data: Buffer) => pieces.push(data));
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
    }
  }

  #close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
