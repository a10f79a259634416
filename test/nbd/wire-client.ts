import * as net from 'node:net';

const REP_MAGIC = '0003e889045565a9';

export interface OptionReply {
  readonly option: number;
  readonly type: number;
  readonly data: Buffer;
}

export interface Reply {
  readonly structured: boolean;
  readonly type: number;
  readonly flags: number;
  readonly cookie: bigint;
  /** Simple: the error; structured: the error of an error chunk, otherwise 0. */
  readonly error: number;
  readonly payload: Buffer;
}

export interface WireRequest {
  readonly type: number;
  readonly flags?: number;
  readonly cookie?: bigint;
  readonly offset?: number | bigint;
  readonly length?: number;
  readonly payload?: Buffer;
  readonly magic?: number;
}

/** One option as a client sends it. */
export function option(number: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(16);
  head.write('IHAVEOPT');
  head.writeUInt32BE(number, 8);
  head.writeUInt32BE(data.length, 12);
  return Buffer.concat([head, data]);
}

/** Data of INFO and GO. */
export function infoData(name: string, information: number[] = []): Buffer {
  const bytes = Buffer.from(name);
  const data = Buffer.alloc(6 + bytes.length + 2 * information.length);
  data.writeUInt32BE(bytes.length, 0);
  bytes.copy(data, 4);
  data.writeUInt16BE(information.length, 4 + bytes.length);
  information.forEach((each, i) => data.writeUInt16BE(each, 6 + bytes.length + 2 * i));
  return data;
}

/** Data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export function metaData(name: string, queries: string[]): Buffer {
  const parts = [u32(Buffer.byteLength(name)), Buffer.from(name), u32(queries.length)];
  for (const query of queries) parts.push(u32(Buffer.byteLength(query)), Buffer.from(query));
  return Buffer.concat(parts);
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function request(of: WireRequest): Buffer {
  const head = Buffer.alloc(28);
  head.writeUInt32BE(of.magic ?? 0x25609513, 0);
  head.writeUInt16BE(of.flags ?? 0, 4);
  head.writeUInt16BE(of.type, 6);
  head.writeBigUInt64BE(of.cookie ?? 0n, 8);
  head.writeBigUInt64BE(BigInt(of.offset ?? 0), 16);
  head.writeUInt32BE(of.length ?? of.payload?.length ?? 0, 24);
  return of.payload === undefined ? head : Buffer.concat([head, of.payload]);
}

/** A client that says exactly the bytes it is told to, and hears exactly those that come. */
export class WireClient {
  readonly whenClosed: Promise<void>;
  #socket: net.Socket;
  #received: Buffer[] = [];
  #receivedBytes = 0;
  #isClosed = false;
  #wake: (() => void) | null = null;
  #resolveClosed: () => void = () => undefined;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    this.whenClosed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#listen(socket);
  }

  static async connect(to: net.NetConnectOpts): Promise<WireClient> {
    const socket = net.connect(to);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new WireClient(socket);
  }

  /** 0 on a unix socket. */
  get localPort(): number {
    return this.#socket.localPort ?? 0;
  }

  /** Goes on over another stream (TLS over the old one). */
  replace(socket: net.Socket): void {
    this.#socket.removeAllListeners('data');
    this.#socket = socket;
    this.#listen(socket);
  }

  /** Listens no more, so that TLS can be put over the socket. */
  detach(): net.Socket {
    this.#socket.removeAllListeners('data');
    return this.#socket;
  }

  send(...bytes: Buffer[]): void {
    for (const each of bytes) this.#socket.write(each);
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** The next `count` bytes; throws when the connection ends before them. */
  async read(count: number): Promise<Buffer> {
    while (this.#receivedBytes < count) {
      if (this.#isClosed) throw new Error(`closed after ${String(this.#receivedBytes)} of ${String(count)} bytes`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const all = this.#received.length === 1 ? this.#received[0] : Buffer.concat(this.#received);
    const rest = all.subarray(count);
    this.#received = rest.length > 0 ? [rest] : [];
    this.#receivedBytes = rest.length;
    return all.subarray(0, count);
  }

  /** Everything that comes until the other side ends. */
  async readToEnd(): Promise<Buffer> {
    await this.whenClosed;
    return this.read(this.#receivedBytes);
  }

  async readOptionReply(): Promise<OptionReply> {
    const head = await this.read(20);
    if (head.toString('hex', 0, 8) !== REP_MAGIC) throw new Error(`not an option reply: ${head.toString('hex')}`);
    const data = await this.read(head.readUInt32BE(16));
    return { option: head.readUInt32BE(8), type: head.readUInt32BE(12), data };
  }

  /** All replies to one option, the last of which is ACK or an error. */
  async readOptionReplies(): Promise<OptionReply[]> {
    const replies: OptionReply[] = [];
    for (;;) {
      const reply = await this.readOptionReply();
      replies.push(reply);
      if (reply.type === 1 || reply.type >= 0x80000000) return replies;
    }
  }

  /** Greeting, flags, and a GO that must succeed. */
  async go(name: string, wants: { structured?: boolean; contexts?: string[] } = {}): Promise<void> {
    await this.greet();
    if (wants.structured === true) {
      this.send(option(8));
      await this.readOptionReplies();
    }
    if (wants.contexts !== undefined) {
      this.send(option(10, metaData(name, wants.contexts)));
      await this.readOptionReplies();
    }
    this.send(option(7, infoData(name)));
    const replies = await this.readOptionReplies();
    if (replies.at(-1)?.type !== 1) throw new Error(`GO refused: ${String(replies.at(-1)?.data)}`);
  }

  async greet(clientFlags = 3): Promise<void> {
    await this.read(18);
    this.send(u32(clientFlags));
  }

  /** One reply; `dataBytes` is what a simple reply to a READ carries. */
  async readReply(dataBytes = 0): Promise<Reply> {
    const magic = (await this.read(4)).readUInt32BE(0);
    if (magic === 0x67446698) {
      const head = await this.read(12);
      const error = head.readUInt32BE(0);
      const payload = await this.read(error === 0 ? dataBytes : 0);
      return { structured: false, type: 0, flags: 1, cookie: head.readBigUInt64BE(4), error, payload };
    }
    if (magic !== 0x668e33ef) throw new Error(`not a reply: ${magic.toString(16)}`);
    const head = await this.read(16);
    const payload = await this.read(head.readUInt32BE(12));
    const type = head.readUInt16BE(2);
    const error = type >= 0x8000 ? payload.readUInt32BE(0) : 0;
    return { structured: true, type, flags: head.readUInt16BE(0), cookie: head.readBigUInt64BE(4), error, payload };
  }

  /** Sends one request and reads its one reply. */
  async ask(of: WireRequest): Promise<Reply> {
    this.send(request(of));
    return this.readReply(of.type === 0 ? (of.length ?? 0) : 0);
  }

  #listen(socket: net.Socket): void {
    socket.on('data', (data: Buffer) => {
      this.#received.push(data);
      this.#receivedBytes += data.length;
      this.#woken();
    });
    socket.on('error', () => undefined);
    socket.on('end', () => {
      this.#isClosed = true;
      this.#woken();
    });
    socket.on('close', () => {
      this.#isClosed = true;
      this.#woken();
      this.#resolveClosed();
    });
  }

  #woken(): void {
    this.#wake?.();
    this.#wake = null;
  }
}
