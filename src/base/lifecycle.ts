/** Something that must be closed. Closing is awaited, idempotent, and never throws for "already closed". */
export interface Closable {
  close(): Promise<void>;
}

/** Closes what was opened in reverse order, also when opening fails half way. */
export class CloseStack implements Closable {
  readonly #items: Closable[] = [];

  push<T extends Closable>(item: T): T {
    this.#items.push(item);
    return item;
  }

  defer(close: () => Promise<void> | void): void {
    this.#items.push({
      close: async () => {
        await close();
      },
    });
  }

  /** Closes everything even if some of it fails, then throws the first failure. */
  async close(): Promise<void> {
    let failure: unknown;
    for (let item = this.#items.pop(); item !== undefined; item = this.#items.pop()) {
      try {
        await item.close();
      } catch (thrown) {
        failure ??= thrown;
      }
    }
    if (failure !== undefined) throw failure as Error;
  }
}
