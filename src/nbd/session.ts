import type * as net from 'node:net';
import { assert } from '../base/assert.js';
import type { Clock, Timer } from '../base/clock.js';
import { ByteChannel } from './byte-channel.js';
import type { BusyPoll } from './busy-poll.js';
import type { ChunkPool } from './chunk-pool.js';
import type { ClientIdentity, ExportFault, ExportListing, OpenedExport, Transport } from './export-directory.js';
import type { FailedRequest } from './failure-reports.js';
import { Negotiation, type ChosenExport, type NegotiationOutcome, type TlsMode } from './handshake.js';
import type { NbdLimits } from './limits.js';
import type { TlsTerminator } from './tls-terminator.js';
import { Transmission } from './transmission.js';

/** ended: the socket is gone and the device owns nothing of this session. */
type State = 'negotiating' | 'upgrading' | 'transmitting' | 'closing' | 'ended';

export interface SessionOptions {
  readonly limits: NbdLimits;
  readonly address: string;
  readonly transport: Transport;
  readonly tls: TlsMode;
}

export interface SessionDependencies {
  readonly pool: ChunkPool;
  readonly poll: BusyPoll;
  readonly clock: Clock;
  /** Present whenever `tls` is not 'none'. */
  readonly terminator: TlsTerminator | null;
  readonly duplicateDescriptor: ((fd: number) => number) | null;
  list(): readonly ExportListing[];
  open(name: string, client: ClientIdentity, use: boolean): OpenedExport | ExportFault;
}

export interface SessionEvents {
  /** It has chosen an export. */
  connected(session: Session): void;
  requestFailed(session: Session, failed: FailedRequest): void;
  /** The last event of every session. `reason` is '' only for a client that left a negotiation politely. */
  ended(session: Session, reason: string): void;
}

/** One connection, from accept to the end: negotiates, perhaps under TLS, then hands its socket to a Transmission. */
export class Session {
  readonly address: string;
  /** When it was accepted, wall clock milliseconds. */
  readonly sinceMs: number;
  /** Resolves with the last event. */
  readonly whenEnded: Promise<void>;
  readonly #limits: NbdLimits;
  readonly #dependencies: SessionDependencies;
  readonly #events: SessionEvents;
  readonly #negotiation: Negotiation;
  #transport: Transport;
  #socket: net.Socket;
  #state: State = 'negotiating';
  #deadline: Timer | null;
  #chosen: ChosenExport | null = null;
  #transmission: Transmission | null = null;
  #reason = '';
  #resolveEnded: () => void = () => undefined;
  readonly #onData = (data: Buffer): void => this.#negotiate(data, 0);
  readonly #onEnd = (): void => this.#fail('the client left during the handshake');
  readonly #onError = (error: Error): void => this.#fail(error.message);
  readonly #onClose = (): void => this.#end();

  constructor(socket: net.Socket, options: SessionOptions, dependencies: SessionDependencies, events: SessionEvents) {
    this.address = options.address;
    this.#transport = options.transport;
    this.#limits = options.limits;
    this.#dependencies = dependencies;
    this.#events = events;
    this.#socket = socket;
    this.sinceMs = dependencies.clock.wallMs();
    this.whenEnded = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#negotiation = new Negotiation(
      { limits: options.limits, tls: options.tls },
      {
        send: (bytes) => this.#socket.write(bytes),
        list: () => dependencies.list(),
        open: (name, use) => dependencies.open(name, { address: this.address, transport: this.#transport }, use),
      },
    );
    // One deadline for everything up to transmission: a client that says one byte a minute gains nothing.
    this.#deadline = dependencies.clock.after(options.limits.handshakeMsMax, () => {
      this.#deadline = null;
      this.#fail('the handshake took too long');
    });
    this.#listen(socket);
    this.#negotiation.greet();
  }

  get transport(): Transport {
    return this.#transport;
  }

  /** null while negotiating. */
  get volumeId(): string | null {
    return this.#chosen?.opened.volumeId ?? null;
  }

  get exportName(): string | null {
    return this.#chosen?.name ?? null;
  }

  get inFlight(): number {
    return this.#transmission?.inFlight ?? 0;
  }

  /** Ends at once. Resolves (`whenEnded`) when the device has given back what it still had. */
  destroy(reason: string): void {
    if (this.#transmission !== null) {
      this.#transmission.destroy(reason);
      return;
    }
    this.#fail(reason);
  }

  /** Ends when what is in flight has been answered. A negotiation has nothing in flight. */
  drain(reason: string): void {
    if (this.#transmission !== null) this.#transmission.drain(reason);
    else this.destroy(reason);
  }

  #move(state: State): void {
    assert(this.#state !== 'ended', 'an ended session stays so');
    this.#state = state;
    // A connection that is closing has the same deadline: its client may not take our last words.
    if ((state === 'transmitting' || state === 'ended') && this.#deadline !== null) {
      this.#dependencies.clock.clear(this.#deadline);
      this.#deadline = null;
    }
  }

  #listen(socket: net.Socket): void {
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
  }

  /** Leaves the error handler: an error that nobody hears would end the process. */
  #unlisten(socket: net.Socket): void {
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnd);
    socket.off('close', this.#onClose);
  }

  #fail(reason: string): void {
    if (this.#state === 'transmitting' || this.#state === 'ended') return;
    if (this.#state !== 'closing') this.#reason = reason;
    this.#move('closing');
    this.#socket.destroy();
  }

  #end(): void {
    if (this.#state === 'ended') return;
    this.#fail('the connection was closed during the handshake');
    this.#move('ended');
    this.#chosen?.opened.closed();
    this.#events.ended(this, this.#reason);
    this.#resolveEnded();
  }

  #negotiate(data: Buffer, from: number): void {
    let at = from;
    while (at < data.length && this.#state === 'negotiating') {
      at = this.#negotiation.receive(data, at);
      const outcome = this.#negotiation.outcome;
      if (outcome !== null) {
        this.#conclude(outcome, data.subarray(at));
        return;
      }
      // Below its own high-water mark the socket would never tell that it has drained.
      const socket = this.#socket;
      if (socket.writableLength > this.#limits.negotiationOutputBytesMax && socket.writableNeedDrain) {
        this.#waitForReader(data, at);
        return;
      }
    }
  }

  /** A client that asks and does not read the answers is not read either. */
  #waitForReader(data: Buffer, at: number): void {
    const socket = this.#socket;
    socket.pause();
    socket.once('drain', () => {
      socket.resume();
      this.#negotiate(data, at);
    });
  }

  #conclude(outcome: NegotiationOutcome, leftover: Buffer): void {
    switch (outcome.kind) {
      case 'transmit':
        this.#transmit(outcome.chosen, leftover);
        return;
      case 'upgrade':
        this.#upgrade(leftover);
        return;
      case 'close':
        if (outcome.fault) {
          this.#fail(outcome.reason);
          return;
        }
        this.#move('closing');
        this.#socket.end(() => this.#socket.destroy());
    }
  }

  #upgrade(leftover: Buffer): void {
    const terminator = this.#dependencies.terminator;
    assert(terminator !== null, 'a negotiation offers TLS only where there is a certificate');
    // What was sent in the clear behind STARTTLS may have been put there by somebody else: it must not count as said
    // under TLS, and a client that waits for replies, as it must, has sent nothing.
    if (leftover.length > 0) {
      this.#fail('data behind NBD_OPT_STARTTLS');
      return;
    }
    this.#move('upgrading');
    const raw = this.#socket;
    raw.off('data', this.#onData);
    raw.off('end', this.#onEnd);
    // TLS hears of the end now, and half a connection is no use to a handshake.
    raw.allowHalfOpen = false;
    terminator.upgrade(raw, {
      secured: (socket) => {
        if (this.#state !== 'upgrading') {
          socket.destroy();
          return;
        }
        raw.off('close', this.#onClose);
        socket.allowHalfOpen = true;
        this.#socket = socket;
        this.#transport = 'tls';
        this.#listen(socket);
        this.#move('negotiating');
        this.#negotiation.secured();
      },
      failed: (reason) => this.#fail(reason),
    });
  }

  #transmit(chosen: ChosenExport, leftover: Buffer): void {
    this.#chosen = chosen;
    this.#move('transmitting');
    const transmission = new Transmission(
      { limits: this.#limits, chosen },
      {
        pool: this.#dependencies.pool,
        poll: this.#dependencies.poll,
        clock: this.#dependencies.clock,
        requestFailed: (failed) => this.#events.requestFailed(this, failed),
        finished: (reason) => {
          this.#reason = reason;
          this.#end();
        },
      },
    );
    this.#transmission = transmission;
    this.#events.connected(this);
    const socket = this.#socket;
    this.#unlisten(socket);
    // Bytes behind the end of the negotiation come from a client that did not wait for our answer. They would have to lie
    // before those that the new socket is going to receive, and it has its buffer from its first moment.
    const rewrapped = leftover.length > 0 ? null : this.#duplicate(socket);
    if (rewrapped === null) {
      const copying = ByteChannel.overSocket(socket, transmission);
      transmission.start(copying);
      if (leftover.length > 0) copying.prepend(leftover);
      return;
    }
    const channel = ByteChannel.overDescriptor(rewrapped, transmission);
    // Closes this descriptor only: the connection lives on in its duplicate.
    socket.destroy();
    transmission.start(channel);
  }

  /**
   * A second descriptor of a plain socket that has nothing left to send, null otherwise. Called within the event that
   * brought the last bytes, so that the socket cannot have received more.
   */
  #duplicate(socket: net.Socket): number | null {
    const duplicate = this.#dependencies.duplicateDescriptor;
    if (duplicate === null || this.#transport === 'tls' || socket.writableLength > 0 || socket.readableLength > 0)
      return null;
    // Node has no public way to the descriptor of a socket that was accepted.
    const fd = (socket as unknown as { readonly _handle: { readonly fd?: number } | null })._handle?.fd;
    if (fd === undefined || fd < 0) return null;
    try {
      return duplicate(fd);
    } catch {
      // Out of descriptors: the copying channel needs none.
      return null;
    }
  }
}
