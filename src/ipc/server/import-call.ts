import { type sendUnaryData, type ServerReadableStream, status } from '@grpc/grpc-js';
import type { ImportSession, Volumes } from '../../control/volumes.js';
import type { ImportMessage, Volume } from '../generated/control.js';
import type { AdmittedCall, CallGate } from './call-gate.js';
import { CallRefused } from './to-status.js';
import { createRequestOf, toVolume } from './volume-messages.js';

type Call = ServerReadableStream<ImportMessage, Volume>;

/**
 * One image import. Messages are handled one after another, and the next is asked for only when the last has been
 * taken, so that what the disk cannot take stays with the client. However it ends but by `complete`, nothing is left.
 *
 * It listens to events instead of iterating: an iterator of a cancelled call throws where nobody catches.
 */
export class ImportCall {
  readonly #call: Call;
  readonly #answer: sendUnaryData<Volume>;
  readonly #gate: CallGate;
  readonly #volumes: Volumes;
  #admitted: AdmittedCall | null = null;
  #session: ImportSession | null = null;
  #work: Promise<void> = Promise.resolve();
  #answered = false;

  constructor(call: Call, answer: sendUnaryData<Volume>, gate: CallGate, volumes: Volumes) {
    this.#call = call;
    this.#answer = answer;
    this.#gate = gate;
    this.#volumes = volumes;
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
      void this.#session?.abort();
      this.#enqueue(() =>
        Promise.reject(new CallRefused(status.CANCELLED, 'the import was cut off; nothing of it was kept')),
      );
    });
    this.#call.on('data', (message: ImportMessage) => {
      this.#call.pause();
      this.#enqueue(async () => {
        await this.#take(message);
        this.#call.resume();
      });
    });
    this.#call.on('end', () => {
      this.#enqueue(() =>
        Promise.reject(
          new CallRefused(status.CANCELLED, 'the import ended before it was complete; nothing of it was kept'),
        ),
      );
    });
  }

  #enqueue(step: () => Promise<void>): void {
    this.#work = this.#work.then(async () => {
      if (this.#answered) return;
      try {
        await step();
      } catch (thrown) {
        await this.#session?.abort();
        this.#fail(thrown);
      }
    });
  }

  async #take(message: ImportMessage): Promise<void> {
    if (this.#admitted === null) return;
    if (this.#session === null) {
      if (message.create === undefined) {
        throw new CallRefused(status.INVALID_ARGUMENT, 'the first message of an import names the volume to create');
      }
      this.#session = await this.#volumes.beginImport(createRequestOf(message.create), this.#admitted.caller);
    } else if (message.create !== undefined) {
      throw new CallRefused(status.INVALID_ARGUMENT, 'only the first message of an import names the volume to create');
    }
    if (message.data.length > 0) await this.#session.write(message.offsetBytes, message.data);
    if (message.complete) this.#succeed(toVolume(await this.#session.complete()));
  }

  #succeed(volume: Volume): void {
    this.#answered = true;
    this.#admitted?.leave();
    this.#answer(null, volume);
  }

  #fail(thrown: unknown): void {
    this.#answered = true;
    this.#admitted?.leave();
    // Messages that are still on the way are read and forgotten, or the call would never end.
    this.#call.resume();
    this.#answer(this.#gate.statusOf(thrown));
  }
}
