import {
  type CallOptions,
  type Client,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  connectivityState,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import type { Clock } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import { ClientError } from './client-error.js';
import { CLIENT_MESSAGE_BYTES_MAX, CONNECT_MS_MAX } from './client-limits.js';
import { sentNothing, toClientError } from './client-status.js';

/** PEM texts for a daemon that uses TLS: it always asks for a client certificate. */
export interface ClientTls {
  /** Who signed the daemon's certificate. */
  readonly authority: Buffer;
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
}

export interface ChannelOptions {
  /** Absent or null: no TLS. */
  readonly tls?: ClientTls | null;
  /** `HOST:PORT` or `unix:PATH`. */
  readonly address: string;
  readonly token: string;
  /** Deadline of each unary call. */
  readonly timeoutMs: number;
  /** Cancels every call that is under way. */
  readonly signal: AbortSignal;
  readonly clock: Pick<Clock, 'wallMs'>;
}

export const GRPC_CHANNEL_OPTIONS: ClientOptions = {
  'grpc.max_receive_message_length': CLIENT_MESSAGE_BYTES_MAX,
  'grpc.max_send_message_length': CLIENT_MESSAGE_BYTES_MAX,
  // http_proxy in the environment is meant for the web, not for a daemon on this machine.
  'grpc.enable_http_proxy': 0,
  // A verb that reached the daemon is never sent twice behind the user's back.
  'grpc.enable_retries': 0,
  // A stream that only listens (events, statistics) notices a vanished daemon.
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
};

/** The overload of a generated unary method that takes everything. */
export type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/** Something gRPC calls that can be given up. */
interface Cancellable {
  cancel(): void;
}

/** Makes calls over one connection: token, deadline, cancelling and the translation of failures. */
export class ClientChannel {
  readonly #options: ChannelOptions;
  readonly #client: Client;
  #connected = false;

  /** `client` is any of the generated clients; they share one connection. */
  constructor(options: ChannelOptions, client: Client) {
    this.#options = options;
    this.#client = client;
  }

  get signal(): AbortSignal {
    return this.#options.signal;
  }

  metadata(): Metadata {
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${this.#options.token}`);
    // For the event log: who asked. The token, not this, decides what is allowed.
    metadata.set('galleon-actor', `cli uid=${String(process.getuid?.() ?? 0)}`);
    return metadata;
  }

  unary<Request, Response>(method: UnaryMethod<Request, Response>, request: Request): Promise<Response> {
    return new Promise((resolve, reject) => {
      const { timeoutMs, clock } = this.#options;
      if (this.#options.signal.aborted) {
        reject(cancelled());
        return;
      }
      const watch = new CallWatch(this);
      const deadline = clock.wallMs() + timeoutMs;
      const call = method(request, this.metadata(), { deadline }, (error, response) => {
        watch.end();
        if (error === null) resolve(response);
        else reject(this.translate(error, watch, timeoutMs));
      });
      watch.begin(call);
    });
  }

  /**
   * The messages of a server stream. Leaving the loop early cancels the call. `idleMs` limits the wait for each
   * message (not the time the consumer takes); 0: no limit.
   */
  async *read<Message>(open: () => ClientReadableStream<Message>, idleMs: number): AsyncGenerator<Message, void, void> {
    if (this.#options.signal.aborted) throw cancelled();
    const watch = new CallWatch(this);
    const call = open();
    // A cancelled call emits its error after nobody iterates any more; unheard it would end the process.
    call.on('error', ignore);
    watch.begin(call);
    let idle: NodeJS.Timeout | undefined;
    try {
      const messages = call[Symbol.asyncIterator]() as AsyncIterator<Message, void>;
      for (;;) {
        if (idleMs !== 0) idle = setTimeout(() => watch.giveUpIdle(), idleMs);
        const next = await messages.next();
        clearTimeout(idle);
        if (next.done === true) return;
        this.#connected = true;
        yield next.value;
      }
    } catch (thrown) {
      throw this.translate(thrown, watch, idleMs);
    } finally {
      clearTimeout(idle);
      watch.end();
      call.cancel();
    }
  }

  /** The fault behind whatever a call threw. */
  translate(thrown: unknown, watch: CallWatch, timeoutMs: number): ClientError {
    if (thrown instanceof ClientError) return thrown;
    if (watch.interrupted) return cancelled();
    const circumstances = {
      address: this.#options.address,
      timeoutMs,
      connected: this.isConnected(),
      connectTimedOut: watch.connectTimedOut,
      idle: watch.idle,
    };
    if (isServiceError(thrown)) return toClientError(thrown, circumstances);
    const address = this.#options.address;
    if (watch.idle) return sentNothing(address, timeoutMs, thrown);
    return new ClientError(
      `the connection to the daemon at ${address} broke (${messageOf(thrown)}); look at its log, then try again`,
      { code: 'UNREACHABLE', address },
      { cause: thrown },
    );
  }

  /** True from the first time that the connection stood. */
  isConnected(): boolean {
    this.#connected ||= this.#client.getChannel().getConnectivityState(false) === connectivityState.READY;
    return this.#connected;
  }
}

/** Gives a call up when the connection does not come to stand, or when the user interrupts. */
export class CallWatch {
  readonly #channel: ClientChannel;
  #call: Cancellable | undefined;
  #timer: NodeJS.Timeout | undefined;
  connectTimedOut = false;
  idle = false;
  interrupted = false;

  constructor(channel: ClientChannel) {
    this.#channel = channel;
  }

  /** An interruptible call is cancelled by the channel's signal; the others have an orderly end of their own. */
  begin(call: Cancellable, { interruptible } = { interruptible: true }): void {
    this.#call = call;
    if (interruptible) this.#channel.signal.addEventListener('abort', this.#abort);
    if (this.#channel.isConnected()) return;
    // Without this an address that swallows packets would hold us for gRPC's own 20 seconds.
    this.#timer = setTimeout(() => {
      if (this.#channel.isConnected()) return;
      this.connectTimedOut = true;
      call.cancel();
    }, CONNECT_MS_MAX);
  }

  giveUpIdle(): void {
    this.idle = true;
    this.#call?.cancel();
  }

  end(): void {
    // The state may be gone again when the failure is judged: remember that it stood.
    this.#channel.isConnected();
    clearTimeout(this.#timer);
    this.#channel.signal.removeEventListener('abort', this.#abort);
  }

  readonly #abort = (): void => {
    this.interrupted = true;
    this.#call?.cancel();
  };
}

function cancelled(): ClientError {
  return new ClientError('interrupted', { code: 'CANCELLED' });
}

function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'number' && 'details' in thrown;
}

function ignore(): void {
  // Whoever iterates gets the same error from the iterator.
}
