import type { MapChange, MapEnvironment } from '../../src/store/map/map-environment.js';
import { StoreError } from '../../src/store/store-error.js';

/** What the disk holds of a map: it outlives the environments that are opened over it. */
export class MapDisk {
  readonly rows = new Map<string, Uint8Array>();
  /** Called before and after a commit takes effect. */
  onStep: () => void = () => undefined;
}

const hex = (key: Uint8Array): string => Buffer.from(key.buffer, key.byteOffset, key.length).toString('hex');

/** The map's database in memory: a commit is atomic, and durable once it took effect. */
export class MemoryMapEnvironment implements MapEnvironment {
  readonly #disk: MapDisk;
  readonly #dead: () => boolean;
  #closed = false;

  constructor(options: { disk: MapDisk; dead?: () => boolean }) {
    this.#disk = options.disk;
    this.#dead = options.dead ?? (() => false);
  }

  get(key: Uint8Array): Uint8Array | null {
    this.#check();
    const value = this.#disk.rows.get(hex(key));
    return value === undefined ? null : value.slice();
  }

  async prefetch(): Promise<void> {
    await this.#turn();
  }

  range(from: Uint8Array, to: Uint8Array, limit: number): { key: Uint8Array; value: Uint8Array }[] {
    this.#check();
    const first = hex(from);
    const end = hex(to);
    return [...this.#disk.rows.keys()]
      .filter((key) => key >= first && key < end)
      .sort()
      .slice(0, limit)
      .map((key) => ({
        key: Uint8Array.from(Buffer.from(key, 'hex')),
        value: (this.#disk.rows.get(key) as Uint8Array).slice(),
      }));
  }

  async commit(changes: readonly MapChange[]): Promise<void> {
    // The caller may reuse its bytes; what is stored is a copy.
    const copies = changes.map(({ key, value }) => ({ key: hex(key), value: value?.slice() ?? null }));
    this.#disk.onStep();
    await this.#turn();
    this.#check();
    for (const { key, value } of copies) {
      if (value === null) this.#disk.rows.delete(key);
      else this.#disk.rows.set(key, value);
    }
    this.#disk.onStep();
    await this.#turn();
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  async #turn(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (this.#dead()) await new Promise(() => undefined);
  }

  #check(): void {
    if (this.#closed || this.#dead()) throw new StoreError('the map is closed', { code: 'CLOSED' });
  }
}
