import { StoreError } from '../../src/store/store-error.js';
import type { MapChange, MapEnvironment } from '../../src/store/map/map-environment.js';
import type { SeededRandom } from '../base/seeded-random.js';
import type { FaultPlan } from './fault-plan.js';
import type { Directory, SimulatedDisk } from './simulated-disk.js';
import type { SimulatedProcess } from './simulated-process.js';
import type { SimulatedTime } from './simulated-time.js';

const ENOSPC = -28;
/** LMDB writes changed pages anew before it lets go of the old ones. */
const COMMIT_BYTES = 16 * 1024;

const hex = (key: Uint8Array): string => Buffer.from(key.buffer, key.byteOffset, key.length).toString('hex');

export interface EnvironmentWorld {
  readonly process: SimulatedProcess;
  readonly time: SimulatedTime;
  readonly disk: SimulatedDisk;
  readonly faults: FaultPlan;
  readonly random: () => SeededRandom;
  readonly misuse: (what: string) => void;
}

/**
 * LMDB at the level of its promise: commits are atomic, one after another, and durable when they resolve; one that a
 * crash meets has happened or has not. Reads see what is committed.
 */
export class SimulatedMapEnvironment implements MapEnvironment {
  readonly #world: EnvironmentWorld;
  readonly #directory: Directory;
  #tail: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(path: string, world: EnvironmentWorld) {
    this.#world = world;
    this.#directory = world.disk.directory(path);
  }

  get(key: Uint8Array): Uint8Array | null {
    this.#check();
    return this.#directory.rows.get(hex(key))?.slice() ?? null;
  }

  prefetch(_keys: readonly Uint8Array[]): Promise<void> {
    const { time, process, random } = this.#world;
    return time.sleep((20 + random().below(400)) / 1000, process);
  }

  range(from: Uint8Array, to: Uint8Array, limit: number): { key: Uint8Array; value: Uint8Array }[] {
    this.#check();
    const first = hex(from);
    const end = hex(to);
    const { rows } = this.#directory;
    return [...rows.keys()]
      .filter((key) => key >= first && key < end)
      .sort()
      .slice(0, limit)
      .map((key) => ({ key: Uint8Array.from(Buffer.from(key, 'hex')), value: rows.get(key)!.slice() }));
  }

  commit(changes: readonly MapChange[]): Promise<void> {
    if (changes.length === 0) return Promise.resolve();
    // The caller may reuse its bytes; what is stored is a copy.
    const copies = changes.map(({ key, value }) => ({ key: hex(key), value: value?.slice() ?? null }));
    const commit = this.#tail.then(() => this.#commitNow(copies));
    this.#tail = commit.catch(() => undefined);
    return commit;
  }

  async #commitNow(changes: readonly { key: string; value: Uint8Array | null }[]): Promise<void> {
    const { process, time, faults, random, disk } = this.#world;
    this.#check();
    process.step();
    if (process.dead) await new Promise(() => undefined);
    const apply = (): void => {
      for (const { key, value } of changes) this.#put(key, value);
    };
    const maybe = (): void => {
      if (random().below(2) === 0) apply();
    };
    process.underway.set(maybe, 'commit');
    await time.sleep((300 + random().below(random().below(10) === 0 ? 60_000 : 3000)) / 1000, process);
    process.underway.delete(maybe);
    let errno = faults.take('commit');
    if (errno === 0 && !disk.growMap(COMMIT_BYTES)) {
      faults.full();
      errno = ENOSPC;
    }
    if (errno === ENOSPC) throw new StoreError('the disk is full: simulated', { code: 'FULL' });
    if (errno !== 0) throw new StoreError('simulated', { code: 'IO', detail: 'simulated EIO' });
    apply();
    process.step();
    if (process.dead) await new Promise(() => undefined);
  }

  #put(key: string, value: Uint8Array | null): void {
    const { disk } = this.#world;
    const { rows } = this.#directory;
    const old = rows.get(key);
    if (old !== undefined) disk.rowBytes -= key.length / 2 + old.length;
    if (value === null) rows.delete(key);
    else {
      rows.set(key, value);
      disk.rowBytes += key.length / 2 + value.length;
    }
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  #check(): void {
    if (!this.#closed) return;
    this.#world.misuse(`the map is used after it was closed: ${new Error('here').stack ?? ''}`);
    throw new StoreError('the map is closed', { code: 'CLOSED' });
  }
}
