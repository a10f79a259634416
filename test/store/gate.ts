/** Whoever passes waits while it is shut. Open at first. */
export class Gate {
  #shut = false;
  #waiting: (() => void)[] = [];
  #watching: (() => void)[] = [];

  shut(): void {
    this.#shut = true;
  }

  open(): void {
    this.#shut = false;
    for (const go of this.#waiting.splice(0)) go();
  }

  async pass(): Promise<void> {
    if (!this.#shut) return;
    const opened = new Promise<void>((resolve) => this.#waiting.push(resolve));
    for (const tell of this.#watching.splice(0)) tell();
    await opened;
  }

  /** Resolves when somebody waits. */
  async held(): Promise<void> {
    if (this.#waiting.length === 0) await new Promise<void>((resolve) => this.#watching.push(resolve));
  }
}
