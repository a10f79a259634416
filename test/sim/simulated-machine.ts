import type { Random } from '../../src/base/clock.js';
import type { Log } from '../../src/base/log.js';
import type { Checksums } from '../../src/io/block-keys.js';
import type { Files } from '../../src/io/files.js';
import { NativeChecksums } from '../../src/io/native-checksums.js';
import type { MapEnvironment } from '../../src/store/map/map-environment.js';
import { CHECKPOINT_KEY } from '../../src/store/map/map-keys.js';
import { decodeCheckpoint } from '../../src/store/stored-rows.js';
import { Store } from '../../src/store/store.js';
import { VolumeManager } from '../../src/volume/volume-manager.js';
import { SeededRandom } from '../base/seeded-random.js';
import { FaultPlan } from './fault-plan.js';
import type { ScriptOptions } from './script.js';
import { SimulatedDisk } from './simulated-disk.js';
import { SimulatedFiles, type AppendWitness } from './simulated-files.js';
import { SimulatedKeys } from './simulated-keys.js';
import { SimulatedMapEnvironment } from './simulated-map-environment.js';
import { SimulatedProcess } from './simulated-process.js';
import { SimulatedClock, SimulatedTime } from './simulated-time.js';

const STORAGE_PATH = '/node';
const SEGMENT_BYTES = 1024 * 1024;
const CHECKPOINT_ROW = Buffer.from(CHECKPOINT_KEY).toString('hex');
/** Behind each row of the map. */
const ROW_CRC_BYTES = 4;
const NODE_ID = new Uint8Array(16).fill(7);

/** A deliberate mistake, made in the world around the store or, where that cannot be, inside it. */
export interface Sabotage {
  readonly name: string;
  /** A seed whose script of 200 steps shows it. */
  readonly caughtBy: number;
  readonly files?: (files: Files, opening: () => boolean) => Files;
  readonly environment?: (environment: MapEnvironment) => MapEnvironment;
  readonly checksums?: (real: Checksums) => Checksums;
  readonly random?: (real: Random) => Random;
  /** Nobody compares the generation of a block. */
  readonly anyGeneration?: boolean;
  /** Puts the mistake into a class of the store; returns what takes it out again. */
  readonly install?: () => () => void;
}

/** A machine: time, a disk, and on it one process after another with the real store in it. */
export class SimulatedMachine {
  readonly time = new SimulatedTime();
  disk: SimulatedDisk;
  readonly faults: FaultPlan;
  /** Set anew for each step. */
  random: SeededRandom;
  process = new SimulatedProcess();
  store: Store | null = null;
  manager: VolumeManager | null = null;
  /** Of the present process. */
  #files: SimulatedFiles | null = null;
  /** The last lines of the log. */
  readonly lines: string[] = [];
  readonly #entropy: Random;
  readonly #checksums: Checksums;
  readonly #options: ScriptOptions;
  /** The journal has a limit of its own. */
  readonly limited: boolean;
  readonly #sabotage: Sabotage | null;
  readonly #witness: AppendWitness;
  #opening = false;

  constructor(seed: number, options: ScriptOptions, witness: AppendWitness, sabotage: Sabotage | null) {
    this.#options = options;
    this.limited = Number.isFinite(options.journalBytes);
    this.#witness = witness;
    this.#sabotage = sabotage;
    this.random = new SeededRandom(seed);
    // Never turned back, not even with the disk: this is what keeps nonces apart.
    const entropy: Random = new SeededRandom(seed ^ 0x5bd1e995);
    this.#entropy = sabotage?.random?.(entropy) ?? entropy;
    const checksums = new NativeChecksums();
    this.#checksums = sabotage?.checksums?.(checksums) ?? checksums;
    this.faults = new FaultPlan(() => this.time.nowMs);
    this.disk = new SimulatedDisk({ capacityBytes: options.capacityBytes });
    this.disk.makeDirectory(STORAGE_PATH);
    this.disk.syncDirectory('/');
  }

  /** Starts a process and opens the store in it. Rejects as the store does; never settles if the process dies. */
  async open(process: SimulatedProcess): Promise<void> {
    const { time, disk, faults } = this;
    this.process = process;
    this.store = null;
    this.manager = null;
    const clock = new SimulatedClock(time, process);
    const keys = new SimulatedKeys();
    const random = (): SeededRandom => this.random;
    const files = new SimulatedFiles({
      process,
      time,
      disk,
      faults,
      keys,
      random,
      checksums: this.#checksums,
      witness: this.#witness,
      missPercent: this.#options.missPercent,
      sameGeneration: this.#sabotage?.anyGeneration !== true,
    });
    this.#files = files;
    const misuse = this.#witness.misuse.bind(this.#witness);
    this.#opening = true;
    const { mapCacheBytes, journalReplayBytesMax, checkpointIntervalMs, journalBytes, cleaning } = this.#options;
    const store = await Store.open(
      {
        storagePath: STORAGE_PATH,
        nodeId: NODE_ID,
        segmentBytes: SEGMENT_BYTES,
        mapCacheBytes,
        journalReplayBytesMax,
        checkpointIntervalMs,
        capacityBytes: journalBytes,
        cleaning,
      },
      {
        files: this.#sabotage?.files?.(files, () => this.#opening && this.process === process) ?? files,
        keys,
        checksums: this.#checksums,
        clock,
        random: this.#entropy,
        log: this.#log(),
        openEnvironment: (path) => {
          const environment = new SimulatedMapEnvironment(path, { process, time, disk, faults, random, misuse });
          return Promise.resolve(this.#sabotage?.environment?.(environment) ?? environment);
        },
        probeEnvironment: () => Promise.resolve(''),
      },
    );
    this.#opening = false;
    this.store = store;
    const space = { freeBytes: disk.freeBytes, totalBytes: disk.capacityBytes };
    this.manager = new VolumeManager({ segmentBytes: SEGMENT_BYTES, space }, { store, clock });
  }

  /** Where a start would begin to replay: the sequence of that record; 0 before the first checkpoint. */
  get replayFrom(): number {
    const row = this.disk.directory(`${STORAGE_PATH}/map`).rows.get(CHECKPOINT_ROW);
    return row === undefined ? 0 : decodeCheckpoint(row.subarray(0, row.length - ROW_CRC_BYTES)).sequence;
  }

  /** The store was opened from what the disk holds and is ready: a failed sync of before excuses nothing more. */
  settleDoubt(): void {
    if (this.#files?.failing !== true) this.faults.inDoubt = false;
  }

  /**
   * Pages stayed unreadable while the store started; it says so, refuses what is not proven, and writes no checkpoint. P4
   * allows the refusal ("an I/O error, logged and counted"), and the next start must be whole.
   */
  get halfRead(): boolean {
    return (this.store?.engine?.checkpointer.heldBack ?? '') !== '';
  }

  #log(): Log {
    const line = (level: string) => (fields: object, message: string) => {
      if (level === 'debug') return;
      this.lines.push(`${this.time.nowMs.toFixed(3)} ${level} ${message} ${JSON.stringify(fields)}`);
      if (this.lines.length > 400) this.lines.splice(0, 200);
    };
    return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
  }
}
