import { accessSync, constants, readdirSync, readFileSync } from 'node:fs';
import { cp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { Operation } from '../../src/device/block-device.js';
import type { VolumeHandle } from '../../src/volume/volume-host.js';
import { LmdbMapEnvironment } from '../../src/store/map/lmdb-map-environment.js';
import type { MapEnvironment } from '../../src/store/map/map-environment.js';
import { CHECKPOINT_KEY } from '../../src/store/map/map-keys.js';
import { StoreError } from '../../src/store/store-error.js';
import { SeededRandom } from '../base/seeded-random.js';
import { FaultyEnvironment } from '../store/faulty-environment.js';
import { perform, StoreWorld } from '../store/store-world.js';
import { flush, layerId, writeBlocks, type VolumeContents } from './contents.js';

/**
 * How the life of a reference store ended:
 *   clean    a stop, with a restart before it: nothing is replayed
 *   killed   behind a checkpoint and a restart: what came since is replayed
 *   lagging  in the middle of a checkpoint: its leaves are stored, its position is not
 *   rebuilt  like killed, after the whole map was lost and made anew from the journal
 */
export const ENDINGS = ['clean', 'killed', 'lagging', 'rebuilt'] as const;
export type Ending = (typeof ENDINGS)[number];

/** A store as it lies on a disk, in memory. Paths are relative to its storage path. */
export interface ReferenceStore {
  readonly ending: Ending;
  readonly files: ReadonlyMap<string, Buffer>;
  /** What files held at earlier moments of its life, the oldest first. */
  readonly older: ReadonlyMap<string, readonly Buffer[]>;
  readonly volumes: readonly VolumeContents[];
  /** Rows of the map, keys in hexadecimal. */
  readonly rows: ReadonlyMap<string, Uint8Array>;
}

/** The volume whose last records nobody looks at. */
const TAIL = 5;

const SHAPES: readonly Omit<VolumeContents, 'layer' | 'blocks'>[] = [
  { blockBytes: 4096, encrypted: true, loose: false },
  { blockBytes: 4096, encrypted: false, loose: false },
  // Few of these fill a segment of the smallest size.
  { blockBytes: 65536, encrypted: true, loose: false },
  { blockBytes: 4096, encrypted: false, loose: false },
  { blockBytes: 4096, encrypted: false, loose: true },
];
/** More than a leaf of the map in the first one. */
const SIZES = [160, 24, 20, 8, 4];
const PAGE_BYTES = 4096;

/** Memory if there is some: what is opened thousands of times should not wait for a disk. */
export function fastFolder(): string {
  try {
    accessSync('/dev/shm', constants.W_OK | constants.X_OK);
    return '/dev/shm';
  } catch {
    return tmpdir();
  }
}

/** Fails the commit that publishes a checkpoint's position, when it is told to. */
function cutMap(real: MapEnvironment, cut: () => boolean): MapEnvironment {
  return new FaultyEnvironment(real, (changes) => {
    const publishes = changes.some(({ key }) => key.length === 1 && key[0] === CHECKPOINT_KEY[0]);
    return publishes && cut() ? new StoreError('the process is about to die', { code: 'FULL' }) : null;
  });
}

/** Lives one life of a store from a seed and keeps what it left on the disk. */
class Builder {
  readonly #world: StoreWorld;
  readonly #random: SeededRandom;
  readonly #volumes: VolumeContents[] = [];
  readonly #older = new Map<string, Buffer[]>();
  #nextNumber = 1;
  #handles: VolumeHandle[] = [];

  constructor(world: StoreWorld, random: SeededRandom) {
    this.#world = world;
    this.#random = random;
  }

  async create(): Promise<void> {
    await this.#world.open();
    for (const [n, shape] of SHAPES.entries()) {
      const layer = await this.#world.manager.createLayer(shape.blockBytes, SIZES[n] * shape.blockBytes);
      this.#volumes.push({ ...shape, layer, blocks: new Array<number>(SIZES[n]).fill(0) });
    }
    this.#openAll();
  }

  #openAll(): void {
    this.#handles = this.#volumes.map(({ layer, encrypted }) =>
      this.#world.volume(layerId(layer), encrypted ? undefined : null),
    );
  }

  /** Writes, overwrites, trims and zeroes all volumes but the last one, here and there with a flush. */
  async scribble(times: number): Promise<void> {
    const random = this.#random;
    for (let n = 0; n < times; n += 1) {
      const volume = n % (this.#volumes.length - 1);
      const contents = this.#volumes[volume];
      const { blocks, blockBytes } = contents;
      const first = random.below(blocks.length);
      // Large blocks in larger writes: the journal is to go on in a second segment by itself.
      const most = blockBytes > PAGE_BYTES ? 3 + random.below(3) : 1 + random.below(2);
      const count = Math.min(blocks.length - first, most);
      if (random.below(6) === 0) {
        const operation = random.below(2) === 0 ? Operation.TRIM : Operation.WRITE_ZEROES;
        await perform(this.#handles[volume], operation, first * blockBytes, count * blockBytes);
        blocks.fill(0, first, first + count);
      } else {
        await writeBlocks(this.#handles[volume], contents, first, this.#numbers(count));
      }
      if (random.below(4) === 0) await flush(this.#handles[volume]);
    }
  }

  #numbers(count: number): number[] {
    this.#nextNumber += count;
    return Array.from({ length: count }, (_, n) => this.#nextNumber - count + n);
  }

  /** Last records that cover everything before them: what is behind the last sync may be lost, and be no damage. */
  async cover(): Promise<void> {
    const tail = this.#volumes[TAIL - 1];
    for (let n = 0; n < 2; n += 1) {
      await writeBlocks(this.#handles[TAIL - 1], tail, n, this.#numbers(1));
      await flush(this.#handles[TAIL - 1]);
    }
  }

  checkpoint(): Promise<void> {
    return this.#world.manager.checkpoint();
  }

  /** Keeps what the files hold now as an older version. */
  remember(): void {
    for (const [path, bytes] of readTree(this.#world.path)) {
      const versions = this.#older.get(path) ?? [];
      if (versions.at(-1)?.equals(bytes) !== true) versions.push(bytes);
      this.#older.set(path, versions);
    }
  }

  async reopen(): Promise<void> {
    await this.#world.open();
    this.#openAll();
  }

  async finish(ending: Ending): Promise<ReferenceStore> {
    const rows = await readRows(join(this.#world.path, 'map'));
    return { ending, files: readTree(this.#world.path), older: this.#older, volumes: this.#volumes, rows };
  }
}

/** The reference store of this ending: the same bytes for the same seed, save for what LMDB and the clock put in. */
export async function makeReferenceStore(ending: Ending, seed: number): Promise<ReferenceStore> {
  let cut = false;
  const random = new SeededRandom(seed);
  const world = await StoreWorld.make({
    random,
    folder: fastFolder(),
    environment: (real) => cutMap(real, () => cut),
  });
  try {
    const builder = new Builder(world, random);
    await builder.create();
    await builder.scribble(12);
    await builder.checkpoint();
    builder.remember();
    await builder.scribble(8);
    if (ending === 'clean') {
      await world.close();
    } else {
      await builder.cover();
      await world.kill();
    }
    builder.remember();
    await builder.reopen();
    await builder.scribble(10);
    builder.remember();
    await builder.cover();
    await world.kill();
    if (ending === 'rebuilt') await rm(join(world.path, 'map'), { recursive: true });
    await builder.reopen();
    await builder.scribble(6);
    await builder.cover();
    if (ending === 'lagging') {
      cut = true;
      await builder.checkpoint().then(
        () => Promise.reject(new Error('the checkpoint was to be cut off')),
        () => undefined,
      );
    }
    if (ending === 'clean') await world.close();
    else await world.kill();
    return await builder.finish(ending);
  } finally {
    await world.destroy();
  }
}

/** All files that matter: locks and the disk space that is held back do not. */
export function readTree(folder: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name === 'lock.mdb' || entry.name === 'lock' || entry.name === 'reserve') continue;
    const path = join(entry.parentPath, entry.name);
    files.set(relative(folder, path), readFileSync(path));
  }
  return files;
}

async function readRows(path: string): Promise<Map<string, Uint8Array>> {
  const copy = `${path}.copy`;
  await cp(path, copy, { recursive: true });
  const environment = new LmdbMapEnvironment({ path: copy, readOnly: true });
  try {
    const all = environment.range(Uint8Array.of(0), Uint8Array.of(255), 1_000_000);
    return new Map(all.map(({ key, value }) => [Buffer.from(key).toString('hex'), value]));
  } finally {
    await environment.close();
    await rm(copy, { recursive: true });
  }
}
