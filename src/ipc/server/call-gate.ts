import { createHash, timingSafeEqual } from 'node:crypto';
import { type Metadata, type ServerInterceptor, ServerInterceptingCall, status } from '@grpc/grpc-js';
import { stackOf } from '../../base/errors.js';
import type { Log } from '../../base/log.js';
import type { Caller } from '../../control/caller.js';
import { ACTOR_LENGTH_MAX, CALLS_MAX, TOKEN_BYTES_MAX } from './limits.js';
import { CallRefused, type CallStatus, toStatus } from './to-status.js';

/** The parts of a gRPC call that every kind has. */
export interface IncomingCall {
  readonly metadata: Metadata;
  readonly cancelled: boolean;
  getPeer(): string;
  on(event: 'cancelled', listener: () => void): unknown;
}

/** A call that was let in. */
export interface AdmittedCall {
  readonly caller: Caller & { readonly signal: AbortSignal };
  /** To be called once, when it has been answered. */
  readonly leave: () => void;
}

export interface CallGateDependencies {
  readonly log: Log;
  /** Told of every peer that has shown the token. */
  readonly proven?: (peer: string) => void;
}

const BEARER = /^Bearer ([\x21-\x7e]+)$/i;

/**
 * Lets calls in: with the token, while there is room, until the server stops. Each admitted call has a signal that is
 * aborted when its client goes or the server stops.
 */
export class CallGate {
  readonly #digest: Buffer;
  readonly #log: Log;
  readonly #proven: (peer: string) => void;
  readonly #admitted = new Set<AbortController>();
  /** Calls that would go on for as long as their client likes. */
  readonly #streams = new Set<AbortController>();
  #open = true;

  constructor(options: { readonly token: string }, { log, proven }: CallGateDependencies) {
    this.#digest = digest(options.token);
    this.#log = log;
    this.#proven = proven ?? (() => undefined);
  }

  /**
   * Refuses calls without the token when their headers are there. A handler is called with the whole request, and until
   * then a stranger could have made the server hold 4 MiB for each of its calls.
   */
  get interceptor(): ServerInterceptor {
    return (_method, call) =>
      new ServerInterceptingCall(call, {
        start: (next) => {
          next({
            onReceiveMetadata: (metadata, proceed) => {
              const peer = call.getPeer();
              const refusal = this.#refusal(metadata, peer);
              if (refusal !== null) {
                call.sendStatus({ code: status.UNAUTHENTICATED, details: refusal });
                return;
              }
              this.#proven(peer);
              proceed(metadata);
            },
          });
        },
      });
  }

  /** Throws CallRefused. `endless`: it is aborted as soon as the server stops. */
  admit(call: IncomingCall, endless = false): AdmittedCall {
    this.#authenticate(call);
    if (!this.#open) throw new CallRefused(status.UNAVAILABLE, 'the daemon is stopping');
    if (this.#admitted.size >= CALLS_MAX) {
      throw new CallRefused(
        status.UNAVAILABLE,
        `the daemon has ${CALLS_MAX} calls under way, more are refused; try again`,
      );
    }
    const controller = new AbortController();
    this.#admitted.add(controller);
    if (endless) this.#streams.add(controller);
    call.on('cancelled', () => {
      controller.abort();
    });
    if (call.cancelled) controller.abort();
    return {
      caller: { actor: actorOf(call), signal: controller.signal },
      leave: () => {
        this.#admitted.delete(controller);
        this.#streams.delete(controller);
      },
    };
  }

  /** The status of a failed call; what has no word of its own is logged. */
  statusOf(thrown: unknown): CallStatus {
    return toStatus(thrown, (unexpected) => {
      this.#log.error({ error: stackOf(unexpected) }, 'a control call failed unexpectedly');
    });
  }

  /** No new calls. */
  shut(): void {
    this.#open = false;
  }

  /** Sends those home that only listen. */
  endStreams(): void {
    for (const controller of this.#streams) controller.abort();
  }

  /** Aborts the signals of all calls that are under way. */
  abortAll(): void {
    for (const controller of this.#admitted) controller.abort();
  }

  get isOpen(): boolean {
    return this.#open;
  }

  #authenticate(call: IncomingCall): void {
    const refusal = this.#refusal(call.metadata, call.getPeer());
    if (refusal !== null) throw new CallRefused(status.UNAUTHENTICATED, refusal);
  }

  /** null: the token is there. */
  #refusal(metadata: Metadata, peer: string): string | null {
    const given = metadata.get('authorization')[0];
    const token = typeof given === 'string' && given.length <= TOKEN_BYTES_MAX ? BEARER.exec(given)?.[1] : undefined;
    // Digests have one length, so that the comparison tells nothing about the token's.
    if (token !== undefined && timingSafeEqual(digest(token), this.#digest)) return null;
    this.#log.warn({ peer }, 'a control call was refused: wrong or missing token');
    return given === undefined ? 'the call carries no token' : 'the token is not the one of this daemon';
  }
}

/** Clients may say who they are ("cli uid=0"); the address is ours. For the event log only, never for a decision. */
function actorOf(call: IncomingCall): string {
  const said = call.metadata.get('galleon-actor')[0];
  const peer = call.getPeer();
  if (typeof said !== 'string' || said === '') return `api ${peer}`;
  return said.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, ACTOR_LENGTH_MAX);
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
