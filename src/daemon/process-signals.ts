import { stackOf } from '../base/errors.js';
import type { Log } from '../base/log.js';

/** The parts of `process` that are listened to. */
export interface SignalSource {
  on(event: string, listener: (...values: unknown[]) => void): unknown;
  off(event: string, listener: (...values: unknown[]) => void): unknown;
  exit(status: number): void;
}

const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/**
 * What the outside tells the process. The first wish to stop is carried out in order, a second one at once; an error
 * that nobody caught ends the process, because going on in an unknown state is worse than a crash, which is safe.
 */
export class ProcessSignals {
  /** Resolves to the reason, once it is asked to stop. */
  readonly stopping: Promise<string>;
  readonly #source: SignalSource;
  readonly #log: Log;
  readonly #listeners: [event: string, listener: (...values: unknown[]) => void][] = [];
  #resolveStopping: (reason: string) => void = () => undefined;
  #signalled = false;
  #reload: (() => Promise<void>) | null = null;
  #reloading: Promise<void> = Promise.resolve();

  constructor(source: SignalSource, log: Log) {
    this.#source = source;
    this.#log = log;
    this.stopping = new Promise((resolve) => {
      this.#resolveStopping = resolve;
    });
    for (const signal of STOP_SIGNALS) {
      this.#listen(signal, () => {
        this.#stopSignal(signal);
      });
    }
    // Listened to from the start: unheard, SIGHUP would end the process while it is starting.
    this.#listen('SIGHUP', () => {
      this.#reloading = this.#reloading.then(() => this.#reload?.());
    });
    for (const event of ['uncaughtException', 'unhandledRejection']) {
      this.#listen(event, (thrown) => {
        this.#die(event, thrown);
      });
    }
  }

  /** `work` runs for each SIGHUP, one after another; it must not reject. */
  onReload(work: () => Promise<void>): void {
    this.#reload = work;
  }

  /** A wish to stop that is no signal. */
  stop(reason: string): void {
    this.#resolveStopping(reason);
  }

  close(): void {
    for (const [event, listener] of this.#listeners) this.#source.off(event, listener);
    this.#listeners.length = 0;
  }

  #listen(event: string, listener: (...values: unknown[]) => void): void {
    this.#listeners.push([event, listener]);
    this.#source.on(event, listener);
  }

  #stopSignal(signal: string): void {
    // Only signals count: a service manager sends its one SIGTERM also when the stop was asked for over the API.
    if (this.#signalled) {
      this.#log.warn({ signal }, 'daemon: asked to stop once more, so it ends at once; the next start recovers');
      this.#source.exit(1);
      return;
    }
    this.#signalled = true;
    this.stop(signal);
  }

  #die(event: string, thrown: unknown): void {
    this.#log.error(
      { event, error: stackOf(thrown) },
      'daemon: an unexpected error; it ends here, the next start recovers',
    );
    this.#source.exit(1);
  }
}
