import type { Socket } from 'node:net';
import type { Clock, Timer } from '../../base/clock.js';

export interface ConnectionGateOptions {
  /** Connections that have carried a call with the token. One more is closed as soon as it is accepted. */
  readonly provenMax: number;
  /** Connections that have not yet. For one more the oldest of them is closed. */
  readonly unprovenMax: number;
  /** How long a connection may take to its first call with the token, milliseconds. */
  readonly proofMsMax: number;
}

interface Unproven {
  readonly socket: Socket;
  readonly deadline: Timer;
}

/**
 * Keeps strangers from taking the place of those who have the token. A connection costs the server an HTTP/2 session
 * before it has said anything, so it must show the token soon; a crowd of connections that do not only displaces its own
 * oldest, and a client that calls at once, as ours do, comes through it.
 */
export class ConnectionGate {
  readonly #options: ConnectionGateOptions;
  readonly #clock: Clock;
  /** By peer, as gRPC names it; the oldest first. */
  readonly #unproven = new Map<string, Unproven>();
  #proven = 0;

  constructor(options: ConnectionGateOptions, dependencies: { readonly clock: Clock }) {
    this.#options = options;
    this.#clock = dependencies.clock;
  }

  /** false: the connection has been closed. */
  admit(socket: Socket): boolean {
    // A reset connection has no peer any more; an error that nobody hears would end the process.
    socket.on('error', () => undefined);
    const peer = peerOf(socket);
    if (peer === null || this.#proven >= this.#options.provenMax) {
      socket.destroy();
      return false;
    }
    if (this.#unproven.size >= this.#options.unprovenMax) {
      const oldest = this.#unproven.entries().next().value;
      oldest?.[1].socket.destroy();
      this.#forget(oldest?.[0]);
    }
    const deadline = this.#clock.after(this.#options.proofMsMax, () => {
      socket.destroy();
    });
    this.#unproven.set(peer, { socket, deadline });
    socket.once('close', () => {
      if (this.#unproven.get(peer)?.socket === socket) this.#forget(peer);
    });
    return true;
  }

  /** A call from `peer` has shown the token. */
  proven(peer: string): void {
    const found = this.#unproven.get(peer);
    if (found === undefined) return;
    this.#forget(peer);
    this.#proven += 1;
    found.socket.once('close', () => {
      this.#proven -= 1;
    });
  }

  /** Closes those that have nothing under way, because they were never let in. */
  closeUnproven(): void {
    for (const { socket } of this.#unproven.values()) socket.destroy();
  }

  #forget(peer: string | undefined): void {
    const found = peer === undefined ? undefined : this.#unproven.get(peer);
    if (peer === undefined || found === undefined) return;
    this.#clock.clear(found.deadline);
    this.#unproven.delete(peer);
  }
}

/** `address:port`, as `getPeer` of a call says it; null: the connection is gone already. */
function peerOf({ remoteAddress, remotePort }: Socket): string | null {
  return remoteAddress === undefined || remotePort === undefined ? null : `${remoteAddress}:${remotePort}`;
}
