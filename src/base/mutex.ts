/** Lets one asynchronous piece of work run at a time, in the order of asking. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve();

  /** Runs `work` when everything before it has ended, well or badly; settles as `work` does. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(work);
    // The next one waits for the end of this one, whatever it was.
    this.#tail = turn.catch(() => undefined);
    return turn;
  }

  /** Resolves when everything asked for so far has ended, well or badly. */
  async settled(): Promise<void> {
    await this.#tail;
  }
}
