import type { MapChange, MapEnvironment } from '../../src/store/map/map-environment.js';
import type { StoreError } from '../../src/store/store-error.js';

/** A database whose commits fail on demand. */
export class FaultyEnvironment implements MapEnvironment {
  readonly #real: MapEnvironment;
  readonly #fault: (changes: readonly MapChange[]) => StoreError | null;

  constructor(real: MapEnvironment, fault: (changes: readonly MapChange[]) => StoreError | null) {
    this.#real = real;
    this.#fault = fault;
  }

  get(key: Uint8Array): Uint8Array | null {
    return this.#real.get(key);
  }

  prefetch(keys: readonly Uint8Array[]): Promise<void> {
    return this.#real.prefetch(keys);
  }

  range(from: Uint8Array, to: Uint8Array, limit: number): { key: Uint8Array; value: Uint8Array }[] {
    return this.#real.range(from, to, limit);
  }

  commit(changes: readonly MapChange[]): Promise<void> {
    const failure = this.#fault(changes);
    return failure === null ? this.#real.commit(changes) : Promise.reject(failure);
  }

  close(): Promise<void> {
    return this.#real.close();
  }
}
