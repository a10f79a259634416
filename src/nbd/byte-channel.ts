import * as net from 'node:net';

/** Whoever consumes what a channel receives. */
export interface ChannelUser {
  /** Where the next bytes shall go; at least one byte of room. Called before every receive. */
  target(): Buffer;
  /** `count` bytes are in the last target. false: receive no more until `resume`. */
  received(count: number): boolean;
  /** The peer will send no more. */
  ended(): void;
  /** The connection is gone, in whatever way; called once, last. null: without an error. */
  closed(error: Error | null): void;
  /** Everything that was written has been taken by the kernel (or by TLS). */
  written(): void;
}

/**
 * A connected socket whose receives land in buffers of the user's. Two kinds: a descriptor is read straight into them
 * (`overDescriptor`), a socket that exists already (TLS, or no way to duplicate its descriptor) is copied (`overSocket`).
 */
export class ByteChannel {
  readonly #socket: net.Socket;
  readonly #user: ChannelUser;
  readonly #onWritten = (): void => {
    if (this.#socket.writableLength === 0) this.#user.written();
  };
  #error: Error | null = null;
  /** overSocket: what the user did not want yet. */
  #rest: Buffer | null = null;
  #restAt = 0;

  private constructor(socket: net.Socket, user: ChannelUser) {
    this.#socket = socket;
    this.#user = user;
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('end', () => user.ended());
    socket.on('close', () => user.closed(this.#error));
  }

  /** Takes over a connected descriptor, which belongs to the channel from now on. */
  static overDescriptor(fd: number, user: ChannelUser): ByteChannel {
    const options: net.SocketConstructorOpts & { onread: net.OnReadOpts } = {
      fd,
      allowHalfOpen: true,
      onread: {
        // The function form, so that the rest of a long payload is received into the payload's own buffer.
        buffer: () => user.target(),
        callback: (count: number) => user.received(count),
      },
    };
    return new ByteChannel(new net.Socket(options), user);
  }

  static overSocket(socket: net.Socket, user: ChannelUser): ByteChannel {
    const channel = new ByteChannel(socket, user);
    socket.on('data', (data: Buffer) => channel.#deliver(data, 0));
    return channel;
  }

  get isClosed(): boolean {
    return this.#socket.destroyed;
  }

  /** true: the kernel has everything; the buffers given to `write` may be reused. */
  get isWritten(): boolean {
    return this.#socket.writableLength === 0;
  }

  /** Writes between `cork` and `uncork` leave together. */
  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  /** `bytes` belong to the channel until `isWritten`, or until `written` is called. */
  write(bytes: Buffer): void {
    this.#socket.write(bytes, this.#onWritten);
  }

  /** overSocket: gives bytes that were received before the channel was made, in front of all others. */
  prepend(data: Buffer): void {
    this.#deliver(data, 0);
  }

  /** Receives again after `received` answered false. Not to be called from within `received`. */
  resume(): void {
    const rest = this.#rest;
    if (rest !== null) {
      this.#rest = null;
      if (!this.#deliver(rest, this.#restAt)) return;
    }
    if (!this.#socket.destroyed) this.#socket.resume();
  }

  /** Says to the peer that no more will be written; it can still send. */
  end(done: () => void): void {
    this.#socket.end(done);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #deliver(data: Buffer, from: number): boolean {
    let at = from;
    while (at < data.length && !this.#socket.destroyed) {
      const target = this.#user.target();
      const count = Math.min(target.length, data.length - at);
      data.copy(target, 0, at, at + count);
      at += count;
      if (!this.#user.received(count)) {
        this.#rest = at < data.length ? data : null;
        this.#restAt = at;
        this.#socket.pause();
        return false;
      }
    }
    return true;
  }
}
