import type { ClientWritableStream, ServiceError } from '@grpc/grpc-js';
import { assert } from '../base/assert.js';
import type { CallWatch } from './client-channel.js';
import type { ClientError } from './client-error.js';
import {
  IMAGE_MESSAGE_BYTES_MAX,
  IMPORT_ABANDON_MS_MAX,
  IMPORT_FINISH_MS_MAX,
  STREAM_IDLE_MS_MAX,
} from './client-limits.js';
import type { CreateVolumeRequest, ImportMessage, Volume } from './generated/control.js';

export interface ImportDependencies {
  readonly watch: CallWatch;
  readonly translate: (error: ServiceError, watch: CallWatch, timeoutMs: number) => ClientError;
}

/** Opens the call; `done` is told its end. */
export type OpenImport = (
  done: (error: ServiceError | null, volume: Volume) => void,
) => ClientWritableStream<ImportMessage>;

/**
 * A volume that is being filled with an image. It comes to exist only if `complete` resolves; `abandon` waits until
 * the daemon has confirmed that nothing is left.
 *
 *     opening --> writing --> finished      (complete)
 *                    |-----> abandoned      (abandon, or a failure of either side)
 */
export class ImportStream {
  readonly #call: ClientWritableStream<ImportMessage>;
  readonly #outcome: Promise<Volume>;
  readonly #watch: CallWatch;
  #state: 'writing' | 'finished' | 'abandoned' = 'writing';
  #settled = false;
  #idleMs = STREAM_IDLE_MS_MAX;

  constructor(open: OpenImport, create: CreateVolumeRequest, { watch, translate }: ImportDependencies) {
    let opened: ClientWritableStream<ImportMessage> | undefined;
    this.#watch = watch;
    this.#outcome = new Promise<Volume>((resolve, reject) => {
      opened = open((error, volume) => {
        this.#settled = true;
        watch.end();
        if (error === null) resolve(volume);
        else reject(translate(error, watch, this.#idleMs));
      });
    });
    // Whoever waits for a write or for the end is told; a failure that comes between two waits must not be unhandled.
    this.#outcome.catch(ignore);
    assert(opened !== undefined, 'a gRPC client opens its call at once');
    this.#call = opened;
    this.#call.on('error', ignore);
    this.#call.write(message({ create }));
  }

  /** Sends one range. Resolves when flow control lets the next one go; throws what the daemon says. */
  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    assert(this.#state === 'writing', 'an import writes before it ends');
    assert(data.byteLength <= IMAGE_MESSAGE_BYTES_MAX, 'an image message is at most 1 MiB');
    if (!this.#settled) {
      const accepted = new Promise<void>((resolve) => {
        const buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
        if (this.#call.write(message({ offsetBytes, data: buffer }))) resolve();
        else this.#call.once('drain', resolve);
      });
      await this.#limited(Promise.race([accepted, this.#outcome]), STREAM_IDLE_MS_MAX);
    }
    // The daemon may only answer early to refuse.
    if (this.#settled) await this.#outcome;
  }

  /** Ends the import. The volume exists, durable, when this resolves. */
  async complete(): Promise<Volume> {
    assert(this.#state === 'writing', 'an import ends once');
    this.#state = 'finished';
    if (!this.#settled) {
      this.#call.write(message({ complete: true }));
      this.#call.end();
    }
    return this.#limited(this.#outcome, IMPORT_FINISH_MS_MAX);
  }

  /**
   * Ends without completing, so that the daemon removes the volume. True when the daemon confirmed it; false when it
   * did not within the limit (the call is cancelled then, which makes it remove the volume as well, a little later).
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

function message(fields: Partial<ImportMessage>): ImportMessage {
  return { create: undefined, offsetBytes: 0, data: EMPTY, complete: false, ...fields };
}

const EMPTY = Buffer.alloc(0);

function ignore(): void {
  // The outcome carries the same failure.
}
