import type * as net from 'node:net';
import { WireClient, request } from '../nbd/wire-client.js';

const SIMPLE_REPLY_MAGIC = 0x67446698;

/** What became of a request: the server's error number (0: done), or `unknown` when the connection ended first. */
export type Outcome = number | 'unknown';

export interface Answer {
  readonly outcome: Outcome;
  /** What a READ brought. */
  readonly data: Buffer;
}

interface Waiting {
  readonly dataBytes: number;
  readonly resolve: (answer: Answer) => void;
}

const NOTHING = Buffer.alloc(0);

/**
 * A client with many requests in flight that always knows what was acknowledged: a request is answered by the server,
 * or its outcome is unknown because the connection ended. Simple replies only.
 */
export class PipelinedClient {
  readonly #socket: net.Socket;
  readonly #waiting = new Map<bigint, Waiting>();
  #received: Buffer[] = [];
  #receivedBytes = 0;
  #neededBytes = 16;
  #cookie = 0n;
  #ended = false;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.on('data', (data: Buffer) => this.#take(data));
    socket.on('error', () => this.#end());
    socket.on('close', () => this.#end());
  }

  static async connect(socketPath: string, name: string): Promise<PipelinedClient> {
    const wire = await WireClient.connect({ path: socketPath });
    await wire.go(name);
    const socket = wire.detach();
    for (const event of ['close', 'end', 'error']) socket.removeAllListeners(event);
    return new PipelinedClient(socket);
  }

  get ended(): boolean {
    return this.#ended;
  }

  send(type: number, offset: number, of: { length?: number; payload?: Buffer; flags?: number } = {}): Promise<Answer> {
    if (this.#ended) return Promise.resolve({ outcome: 'unknown', data: NOTHING });
    const cookie = (this.#cookie += 1n);
    const dataBytes = type === 0 ? (of.length ?? 0) : 0;
    return new Promise((resolve) => {
      this.#waiting.set(cookie, { dataBytes, resolve });
      this.#socket.write(request({ type, offset, cookie, ...of }));
    });
  }

  /** Reads that must succeed. */
  async read(offset: number, length: number): Promise<Buffer> {
    const { outcome, data } = await this.send(0, offset, { length });
    if (outcome !== 0) throw new Error(`reading ${String(length)} bytes at ${String(offset)}: ${String(outcome)}`);
    return data;
  }

  close(): void {
    this.#socket.destroy();
    this.#end();
  }

  #take(data: Buffer): void {
    this.#received.push(data);
    this.#receivedBytes += data.length;
    if (this.#receivedBytes < this.#neededBytes) return;
    let all = this.#received.length === 1 ? data : Buffer.concat(this.#received);
    for (;;) {
      if (all.length < 16) {
        this.#neededBytes = 16;
        break;
      }
      if (all.readUInt32BE(0) !== SIMPLE_REPLY_MAGIC) throw new Error(`not a reply: ${all.toString('hex', 0, 16)}`);
      const outcome = all.readUInt32BE(4);
      const cookie = all.readBigUInt64BE(8);
      const waiting = this.#waiting.get(cookie);
      if (waiting === undefined) throw new Error(`a reply to no request: cookie ${String(cookie)}`);
      const end = 16 + (outcome === 0 ? waiting.dataBytes : 0);
      if (all.length < end) {
        this.#neededBytes = end;
        break;
      }
      this.#waiting.delete(cookie);
      waiting.resolve({ outcome, data: Buffer.from(all.subarray(16, end)) });
      all = all.subarray(end);
    }
    this.#received = [all];
    this.#receivedBytes = all.length;
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const { resolve } of this.#waiting.values()) resolve({ outcome: 'unknown', data: NOTHING });
    this.#waiting.clear();
  }
}
