import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock, Random } from '../../src/base/clock.js';
import { SystemClock, SystemRandom } from '../../src/base/system-clock.js';
import { type BlockDevice, type DeviceFault, type Operation } from '../../src/device/block-device.js';
import type { Files } from '../../src/io/files.js';
import { NativeBlockKeys } from '../../src/io/native-keys.js';
import { NativeChecksums } from '../../src/io/native-checksums.js';
import { NativeFiles } from '../../src/io/native-files.js';
import { LmdbMapEnvironment } from '../../src/store/map/lmdb-map-environment.js';
import type { MapEnvironment } from '../../src/store/map/map-environment.js';
import { Store, type StoreOptions } from '../../src/store/store.js';
import { InnerRequest } from '../../src/volume/inner-request.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { VolumeManager } from '../../src/volume/volume-manager.js';
import { LogLines } from '../base/log-lines.js';

export const MIB = 1024 * 1024;

/** A request as a promise; tests only. Rejects with the fault's code and detail. */
export function perform(
  device: BlockDevice,
  operation: Operation,
  offsetBytes: number,
  lengthBytes: number,
  more: { flags?: number; data?: Uint8Array } = {},
): Promise<void> {
  return new Promise((resolve, reject) => {
    device.submit(
      new InnerRequest(
        operation,
        offsetBytes,
        lengthBytes,
        (fault: DeviceFault | null) => {
          if (fault === null) resolve();
          else reject(new Error(`${fault.code}${'detail' in fault ? `: ${fault.detail}` : ''}`));
        },
        more,
      ),
    );
  });
}

/** A store in a temporary folder that can be closed, killed and opened again. */
export class StoreWorld {
  readonly path: string;
  readonly #log = new LogLines();
  readonly lines = this.#log.lines;
  readonly clock: Clock;
  readonly keys = new NativeBlockKeys();
  readonly checksums = new NativeChecksums();
  readonly #options: Partial<StoreOptions>;
  readonly #files: (real: Files) => Files;
  readonly #environment: (real: MapEnvironment) => MapEnvironment;
  readonly #openEnvironment: (path: string) => MapEnvironment;
  readonly #random: Random;
  #store: Store | null = null;
  #manager: VolumeManager | null = null;
  #epoch = 0;

  private constructor(path: string, options: WorldOptions) {
    this.path = path;
    this.#options = options.store ?? {};
    this.#files = options.files ?? ((real) => real);
    this.#environment = options.environment ?? ((real) => real);
    this.#openEnvironment = options.openEnvironment ?? ((where) => new LmdbMapEnvironment({ path: where }));
    this.clock = options.clock ?? new SystemClock();
    this.#random = options.random ?? new SystemRandom();
  }

  static async make(options: WorldOptions = {}): Promise<StoreWorld> {
    const path = await mkdtemp(join(options.folder ?? tmpdir(), 'galleon-store-'));
    return new StoreWorld(path, options);
  }

  get store(): Store {
    if (this.#store === null) throw new Error('the store is not open');
    return this.#store;
  }

  get manager(): VolumeManager {
    if (this.#manager === null) throw new Error('the store is not open');
    return this.#manager;
  }

  async open(): Promise<void> {
    this.#store = await Store.open(
      {
        storagePath: this.path,
        nodeId: new Uint8Array(16).fill(7),
        segmentBytes: MIB,
        mapCacheBytes: 256 * 1024,
        checkpointIntervalMs: 3_600_000,
        ...this.#options,
      },
      {
        files: this.#files(new NativeFiles()),
        keys: this.keys,
        checksums: this.checksums,
        clock: this.clock,
        random: this.#random,
        log: this.#log,
        openEnvironment: (path) => Promise.resolve(this.#environment(this.#openEnvironment(path))),
        probeEnvironment: () => Promise.resolve(''),
      },
    );
    this.#manager = new VolumeManager(
      { segmentBytes: MIB, space: await this.#store.space() },
      { store: this.#store, clock: this.clock },
    );
  }

  /** A handle on a layer; `key` null: not encrypted. Layers that show each other's blocks want one key number. */
  volume(layer: LayerId, key: Uint8Array | null = new Uint8Array(32).fill(9), keyNumber: number = layer): VolumeHandle {
    this.#epoch += 1;
    return this.manager.open({
      volumeId: `volume-${layer}`,
      layer,
      epoch: this.#epoch,
      keys: key === null ? [] : [{ number: keyNumber, secret: key.slice() }],
    });
  }

  async close(): Promise<void> {
    await this.#manager?.close();
    this.#manager = null;
    this.#store = null;
  }

  /** What kill -9 leaves: everything appended, no checkpoint, nothing synced. */
  async kill(): Promise<void> {
    const engine = this.#store?.engine;
    await engine?.journal.drain();
    await engine?.checkpointer.settled();
    await engine?.dispose();
    this.#manager = null;
    this.#store = null;
  }

  /** Forgets the store without a word to it: the process is gone. */
  abandon(): void {
    this.#manager = null;
    this.#store = null;
  }

  async destroy(): Promise<void> {
    await this.close().catch(() => undefined);
    await rm(this.path, { recursive: true, force: true });
  }
}

export interface WorldOptions {
  readonly store?: Partial<StoreOptions>;
  readonly files?: (real: Files) => Files;
  readonly environment?: (real: MapEnvironment) => MapEnvironment;
  /** In place of LMDB. */
  readonly openEnvironment?: (path: string) => MapEnvironment;
  readonly random?: Random;
  readonly clock?: Clock;
  /** Where its storage path is made, in place of the system's folder for temporary files. */
  readonly folder?: string;
}
