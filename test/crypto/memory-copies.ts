import type { MetaCopies, MetaCopy } from '../../src/crypto/meta-copies.js';

/** A MetaStore's copies in memory. What was replaced or deleted stays in `freed` until a scrub, as on a disk. */
export class MemoryCopies implements MetaCopies {
  readonly held: Map<number, Uint8Array>;
  freed: Uint8Array[] = [];
  /** Called before each change; may throw. */
  onChange: (what: 'store' | 'scrub') => void = () => undefined;

  constructor(copies: readonly MetaCopy[] = []) {
    this.held = new Map(copies.map(({ number, record }) => [number, record]));
  }

  list(): Promise<MetaCopy[]> {
    return Promise.resolve([...this.held].map(([number, record]) => ({ number, record })));
  }

  store(copies: readonly MetaCopy[]): Promise<void> {
    return this.#change('store', () => {
      for (const { number, record } of copies) {
        const old = this.held.get(number);
        if (old !== undefined) this.freed.push(old);
        this.held.set(number, record);
      }
    });
  }

  scrub(): Promise<void> {
    return this.#change('scrub', () => {
      this.freed = [];
    });
  }

  #change(what: 'store' | 'scrub', act: () => void): Promise<void> {
    return new Promise((resolve) => {
      this.onChange(what);
      act();
      resolve();
    });
  }
}
