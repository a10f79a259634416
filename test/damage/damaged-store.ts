import { mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { FileId } from '../../src/io/files.js';
import type { Timer } from '../../src/base/clock.js';
import { SystemClock } from '../../src/base/system-clock.js';
import { NativeFiles } from '../../src/io/native-files.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MapDisk, MemoryMapEnvironment } from '../store/memory-map-environment.js';
import { StoreWorld } from '../store/store-world.js';
import { compare, layerId, readEverything, type Opened, type Outcome, type VolumeContents } from './contents.js';
import type { Damage } from './damage.js';
import { liveOn } from './life.js';
import { fastFolder, type ReferenceStore } from './reference-store.js';

/**
 * The real files, with two differences: a map that is set aside is not there any more, and preallocated space is a hole,
 * which costs no time and reads as zeros as well.
 */
class LightFiles extends NativeFiles {
  readonly #map: MapDisk;

  constructor(map: MapDisk) {
    super();
    this.#map = map;
  }

  override async rename(from: string, to: string): Promise<void> {
    await super.rename(from, to);
    if (from.endsWith('map')) this.#map.rows.clear();
  }

  override async allocate(file: FileId, offset: number, length: number): Promise<void> {
    if ((await this.sizeBytes(file)) < offset + length) await this.truncate(file, offset + length);
  }

  override fillZeros(): Promise<void> {
    return Promise.resolve();
  }
}

/** A killed process has no timers. Here they would hold the whole store that armed them. */
class MortalClock extends SystemClock {
  readonly #armed = new Set<Timer>();

  override after(delayMs: number, callback: () => void): Timer {
    const timer = super.after(delayMs, () => {
      this.#armed.delete(timer);
      callback();
    });
    this.#armed.add(timer);
    return timer;
  }

  override clear(timer: Timer): void {
    this.#armed.delete(timer);
    super.clear(timer);
  }

  clearAll(): void {
    for (const timer of [...this.#armed]) this.clear(timer);
  }
}

/** Opens copies of a reference store with damage in their journal, in this process, many in a second. */
export class DamagedStore {
  readonly #reference: ReferenceStore;
  readonly #map: MapDisk;
  readonly #world: StoreWorld;
  readonly #random: SeededRandom;
  readonly #clock: MortalClock;
  /** Where the zeros at the end of each file begin. */
  readonly #ends: ReadonlyMap<string, number>;

  private constructor(
    reference: ReferenceStore,
    world: StoreWorld,
    map: MapDisk,
    random: SeededRandom,
    clock: MortalClock,
  ) {
    this.#clock = clock;
    this.#reference = reference;
    this.#world = world;
    this.#map = map;
    this.#random = random;
    this.#ends = new Map([...reference.files].map(([path, bytes]) => [path, endOf(bytes)]));
  }

  static async make(reference: ReferenceStore, seed: number): Promise<DamagedStore> {
    const map = new MapDisk();
    const random = new SeededRandom(seed);
    const clock = new MortalClock();
    const world = await StoreWorld.make({
      random,
      clock,
      folder: fastFolder(),
      files: () => new LightFiles(map),
      openEnvironment: () => new MemoryMapEnvironment({ disk: map }),
    });
    return new DamagedStore(reference, world, map, random, clock);
  }

  destroy(): Promise<void> {
    return this.#world.destroy();
  }

  /** The last lines of the log, for messages. */
  get tail(): string {
    return this.#world.lines
      .slice(-20)
      .map((line) => `${line.level} ${line.message} ${JSON.stringify(line.fields)}`)
      .join('\n');
  }

  /**
   * Opens the store with this damage, reads everything, lives on (new writes, a stop or a kill), opens it again and
   * reads everything once more. Throws unless each block was right, EIO or refused, for a reason that the log has, and
   * the same the second time.
   */
  async run(damage: Damage | null): Promise<Outcome> {
    const volumes = this.#reference.volumes.map((contents) => ({ ...contents, blocks: [...contents.blocks] }));
    this.#restore(damage);
    this.#world.lines.length = 0;
    const first = await this.#visit(volumes, true);
    const second = await this.#visit(volumes, false);
    compare(first, second);
    return first;
  }

  async #visit(volumes: VolumeContents[], alter: boolean): Promise<Outcome> {
    const world = this.#world;
    await world.open();
    const node: Opened = {
      layers: () => world.manager.layers(),
      open: ({ layer, encrypted }) => world.volume(layerId(layer), encrypted ? undefined : null),
    };
    let ended = false;
    try {
      const outcome = await readEverything(node, volumes);
      this.#checkTold(outcome);
      if (alter) await liveOn(world.manager, node, volumes, outcome);
      if (this.#random.below(2) === 0) await world.close();
      else await world.kill();
      ended = true;
      return outcome;
    } finally {
      if (!ended) await world.kill().catch(() => undefined);
      this.#clock.clearAll();
    }
  }

  /** What is answered with EIO is counted, and what is refused is in the log with its layer. */
  #checkTold(outcome: Outcome): void {
    const { lines, store } = this.#world;
    const told = lines.filter((line) => line.level === 'error');
    if (outcome.bad.length > store.badBlocks) {
      throw new Error(`${outcome.bad.length} blocks failed, ${store.badBlocks} were counted`);
    }
    if (outcome.bad.length > 0 && told.length === 0) throw new Error('blocks failed, and the log has no word of it');
    if (Object.keys(outcome.refused).length > 0 && told.length === 0) {
      throw new Error('a volume is refused, and the log has no word of it');
    }
  }

  #restore(damage: Damage | null): void {
    const { path } = this.#world;
    for (const name of readdirSync(path)) rmSync(join(path, name), { recursive: true });
    for (const [name, bytes] of this.#reference.files) {
      if (!name.startsWith('journal')) continue;
      if (damage?.path === name) writeSparse(join(path, name), damage.apply(bytes), bytes.length);
      else writeSparse(join(path, name), bytes, this.#ends.get(name) ?? bytes.length);
    }
    this.#map.rows.clear();
    for (const [key, value] of this.#reference.rows) this.#map.rows.set(key, value.slice());
  }
}

function endOf(bytes: Buffer): number {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  return end;
}

/** What lies behind `end` is zeros, and stays a hole. */
function writeSparse(path: string, bytes: Buffer, end: number): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes.subarray(0, end), { mode: 0o600 });
  truncateSync(path, bytes.length);
}
