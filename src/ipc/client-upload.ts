import type { ClientWritableStream, ServiceError } from '@grpc/grpc-js';
import { assert } from '../base/assert.js';
import type { CallWatch } from './client-channel.js';
import type { ClientError } from './client-error.js';
import { IMPORT_ABANDON_MS_MAX, IMPORT_FINISH_MS_MAX, STREAM_IDLE_MS_MAX } from './client-limits.js';

export interface UploadDependencies {
  readonly watch: CallWatch;
  readonly translate: (error: ServiceError, watch: CallWatch, timeoutMs: number) => ClientError;
}

/** Opens the call; `done` is told its end. */
export type OpenUpload<Message, Response> = (
  done: (error: ServiceError | null, response: Response) => void,
) => ClientWritableStream<Message>;

/**
 * Something large that goes to the daemon in messages. It comes to be only if `complete` resolves; `abandon` waits until the
 * daemon has confirmed that nothing is left.
 *
 *     opening --> writing --> finished      (complete)
 *                    |-----> abandoned      (abandon, or a failure of either side)
 */
export class UploadStream<Message, Response> {
  readonly #call: ClientWritableStream<Message>;
  readonly #outcome: Promise<Response>;
  readonly #watch: CallWatch;
  #state: 'writing' | 'finished' | 'abandoned' = 'writing';
  #settled = false;
  #idleMs = STREAM_IDLE_MS_MAX;

  /** `first` is sent at once: it says what this is. */
  constructor(open: OpenUpload<Message, Response>, first: Message, { watch, translate }: UploadDependencies) {
    let opened: ClientWritableStream<Message> | undefined;
    this.#watch = watch;
    this.#outcome = new Promise<Response>((resolve, reject) => {
      opened = open((error, response) => {
        this.#settled = true;
        watch.end();
        if (error === null) resolve(response);
        else reject(translate(error, watch, this.#idleMs));
      });
    });
    // Whoever waits for a write or for the end is told; a failure that comes between two waits must not be unhandled.
    this.#outcome.catch(ignore);
    assert(opened !== undefined, 'a gRPC client opens its call at once');
    this.#call = opened;
    this.#call.on('error', ignore);
    this.#call.write(first);
  }

  /** Resolves when flow control lets the next message go; throws what the daemon says. */
  async send(message: Message): Promise<void> {
    assert(this.#state === 'writing', 'an upload writes before it ends');
    if (!this.#settled) {
      const accepted = new Promise<void>((resolve) => {
        if (this.#call.write(message)) resolve();
        else this.#call.once('drain', resolve);
      });
      await this.#limited(Promise.race([accepted, this.#outcome]), STREAM_IDLE_MS_MAX);
    }
    // The daemon may only answer early to refuse.
    if (this.#settled) await this.#outcome;
  }

  /** Ends it with its last message. What was sent exists, durable, when this resolves. */
  async complete(last: Message): Promise<Response> {
    assert(this.#state === 'writing', 'an upload ends once');
    this.#state = 'finished';
    if (!this.#settled) {
      this.#call.write(last);
      this.#call.end();
    }
    return this.#limited(this.#outcome, IMPORT_FINISH_MS_MAX);
  }

  /**
   * Ends without completing, so that the daemon removes what there is. True when the daemon confirmed it; false when it
   * did not within the limit (the call is cancelled then, which makes it remove that as well, a little later).
   */
  async abandon(): Promise<boolean> {
    if (this.#settled) return true;
    this.#state = 'abandoned';
    this.#call.end();
    try {
      await this.#limited(this.#outcome, IMPORT_ABANDON_MS_MAX);
      return true;
    } catch {
      return !this.#watch.idle;
    }
  }

  /** Waits, but gives the call up after `idleMs`. The outcome then reports it. */
  async #limited<T>(wait: Promise<T>, idleMs: number): Promise<T> {
    this.#idleMs = idleMs;
    const timer = setTimeout(() => {
      this.#watch.giveUpIdle();
    }, idleMs);
    try {
      return await wait;
    } finally {
      clearTimeout(timer);
    }
  }
}

function ignore(): void {
  // The outcome carries the same failure.
}
