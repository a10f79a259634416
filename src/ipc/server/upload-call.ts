import { type sendUnaryData, type ServerReadableStream, status } from '@grpc/grpc-js';
import type { Caller } from '../../control/caller.js';
import type { AdmittedCall, CallGate } from './call-gate.js';
import { CallRefused } from './to-status.js';

/** What is being uploaded, on the daemon's side. */
export interface Upload<Message, Response> {
  /** Resolves to the answer with the last message, and to null before. */
  take(message: Message): Promise<Response | null>;
  /** Nothing of it is left when this resolves. Fine when it has ended already. */
  abort(): Promise<void>;
}

export interface UploadKind<Message, Response> {
  /** For messages: "import". */
  readonly name: string;
  /** Takes the first message. Throws what is wrong with it. */
  begin(message: Message, caller: Caller): Promise<Upload<Message, Response>>;
}

/**
 * A call that brings an image or a stream. Messages are handled one after another, and the next is asked for only when the
 * last has been taken, so that what the disk cannot take stays with the client. However it ends but by its last message,
 * nothing is left.
 *
 * It listens to events instead of iterating: an iterator of a cancelled call throws where nobody catches.
 */
export class UploadCall<Message, Response> {
  readonly #call: ServerReadableStream<Message, Response>;
  readonly #answer: sendUnaryData<Response>;
  readonly #gate: CallGate;
  readonly #kind: UploadKind<Message, Response>;
  #admitted: AdmittedCall | null = null;
  #upload: Upload<Message, Response> | null = null;
  #work: Promise<void> = Promise.resolve();
  #answered = false;

  constructor(
    call: ServerReadableStream<Message, Response>,
    answer: sendUnaryData<Response>,
    gate: CallGate,
    kind: UploadKind<Message, Response>,
  ) {
    this.#call = call;
    this.#answer = answer;
    this.#gate = gate;
    this.#kind = kind;
  }

  run(): void {
    this.#call.on('error', () => undefined);
    try {
      this.#admitted = this.#gate.admit(this.#call);
    } catch (thrown) {
      this.#fail(thrown);
      return;
    }
    const { signal } = this.#admitted.caller;
    signal.addEventListener('abort', () => {
      // What waits for the device in a write is woken by the abort; then the queue comes to the end.
      void this.#upload?.abort();
      this.#enqueue(() => Promise.reject(this.#cut('was cut off')));
    });
    this.#call.on('data', (message: Message) => {
      this.#call.pause();
      this.#enqueue(async () => {
        await this.#take(message);
        this.#call.resume();
      });
    });
    this.#call.on('end', () => {
      this.#enqueue(() => Promise.reject(this.#cut('ended before it was complete')));
    });
  }

  #cut(how: string): CallRefused {
    return new CallRefused(status.CANCELLED, `the ${this.#kind.name} ${how}; nothing of it was kept`);
  }

  #enqueue(step: () => Promise<void>): void {
    this.#work = this.#work.then(async () => {
      if (this.#answered) return;
      try {
        await step();
      } catch (thrown) {
        await this.#upload?.abort();
        this.#fail(thrown);
      }
    });
  }

  async #take(message: Message): Promise<void> {
    if (this.#admitted === null) return;
    this.#upload ??= await this.#kind.begin(message, this.#admitted.caller);
    const response = await this.#upload.take(message);
    if (response !== null) this.#succeed(response);
  }

  #succeed(response: Response): void {
    this.#answered = true;
    this.#admitted?.leave();
    this.#answer(null, response);
  }

  #fail(thrown: unknown): void {
    this.#answered = true;
    this.#admitted?.leave();
    // Messages that are still on the way are read and forgotten, or the call would never end.
    this.#call.resume();
    this.#answer(this.#gate.statusOf(thrown));
  }
}
