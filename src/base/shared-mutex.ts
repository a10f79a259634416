import { Mutex } from './mutex.js';

/** Lets many pieces of asynchronous work run beside each other, or one of another kind alone. Neither may ask again from within. */
export class SharedMutex {
  readonly #turns = new Mutex();
  #shared = 0;
  /** Settles when the work that runs, or waits to run, alone has ended; null: there is none. */
  #alone: Promise<void> | null = null;
  #idle: () => void = () => undefined;

  /** Runs `work` beside others of its kind; settles as it does. */
  async shared<T>(work: () => Promise<T>): Promise<T> {
    while (this.#alone !== null) await this.#alone;
    this.#shared += 1;
    try {
      return await work();
    } finally {
      this.#shared -= 1;
      if (this.#shared === 0) this.#idle();
    }
  }

  /** Runs `work` when all that runs has ended, while everything else waits; settles as it does. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    return this.#turns.run(async () => {
      let ended: () => void = () => undefined;
      this.#alone = new Promise((resolve) => {
        ended = resolve;
      });
      if (this.#shared > 0) {
        await new Promise<void>((resolve) => {
          this.#idle = resolve;
        });
        this.#idle = () => undefined;
      }
      try {
        return await work();
      } finally {
        this.#alone = null;
        ended();
      }
    });
  }
}
