import { Operation, RequestFlag, type DeviceFault } from '../../src/device/block-device.js';
import { InnerRequest } from '../../src/volume/inner-request.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { blocksOf, Violation, type Expectations, type Pending } from './expectations.js';
import type { LayerHistory } from './journal-history.js';
import type { SimulatedMachine } from './simulated-machine.js';
import type { Trace } from './trace.js';
import { headKeysOf, type KeyRow } from './volume-keys.js';

/** The store believes a full disk for a second before it asks again. */
const FULL_BELIEVED_MS = 2500;

export interface ClientsWorld {
  readonly machine: SimulatedMachine;
  readonly expectations: () => Expectations;
  readonly trace: Trace;
  readonly report: (thrown: unknown) => void;
  /** Looks whether the store has reopened: everything that is checked must be checked against what it went on from. */
  readonly notice: () => void;
  readonly count: (kind: string) => void;
  /** The keys that a volume has now. */
  readonly keysOf: (layer: LayerHistory) => KeyRow;
}

/** The data of a write: no two places of no two writes hold the same, but for some blocks of zeros. */
export function dataOf(seed: number, lengthBytes: number): Uint8Array {
  const data = new Uint8Array(lengthBytes);
  const words = new Uint32Array(data.buffer, 0, lengthBytes >> 2);
  let state = Math.imul(seed, 0x9e3779b1) | 1;
  for (let n = 0; n < words.length; n += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    words[n] = state;
  }
  const random = new SeededRandom(seed);
  if (random.below(4) === 0) {
    const from = random.below(lengthBytes);
    data.fill(0, from, from + random.below(lengthBytes));
  }
  return data;
}

/** The clients of the volumes: they submit, and hold every answer against what is promised. */
export class Clients {
  readonly #world: ClientsWorld;
  /** Open volumes by their head. */
  readonly handles = new Map<number, VolumeHandle>();
  /** Open frozen layers. */
  readonly snapshots = new Map<number, VolumeHandle>();
  /** Those that are being closed: nobody asks anything of them any more. */
  readonly leaving = new Set<VolumeHandle>();
  /** By volume, which is its first layer: how often it was opened. Goes back with the disk, as the real one would. */
  epochs = new Map<number, number>();
  #lastId = 0;
  #underway = 0;
  #idle: (() => void)[] = [];
  /** The engine with which an fdatasync failed: it acknowledges nothing any more. */
  poisoned: unknown = null;
  closing = false;
  submitted = 0;

  constructor(world: ClientsWorld) {
    this.#world = world;
  }

  get underway(): number {
    return this.#underway;
  }

  /** The process is gone: nobody answers any more. */
  abandon(): void {
    this.handles.clear();
    this.snapshots.clear();
    this.leaving.clear();
    this.#underway = 0;
    this.#idle = [];
    this.poisoned = null;
    this.closing = false;
  }

  /** Opens the head of a volume, or a frozen layer. */
  open(layer: LayerHistory): VolumeHandle {
    const { machine, keysOf } = this.#world;
    const { id, frozen, birth } = layer;
    const epoch = (this.epochs.get(birth.volume) ?? 0) + 1;
    this.epochs.set(birth.volume, epoch);
    const volumeId = `volume-${birth.volume}`;
    const handle = machine.manager!.open({ volumeId, layer: id as LayerId, epoch, ...headKeysOf(keysOf(layer)) });
    (frozen ? this.snapshots : this.handles).set(id, handle);
    return handle;
  }

  /** The head of a volume is another layer: its handle has gone along. */
  moved(from: number, to: number): void {
    const handle = this.handles.get(from);
    if (handle === undefined) return;
    this.handles.delete(from);
    this.handles.set(to, handle);
  }

  /** The head that a handle is the way into now; null when it is closed. */
  layerOf(handle: VolumeHandle): number | null {
    for (const [layer, each] of this.handles) if (each === handle) return layer;
    return null;
  }

  /** Submits a request. Its promise resolves with the fault when it was answered, and never when the process dies. */
  submit(
    operation: Operation,
    layer: number,
    offset: number,
    length: number,
    flags = 0,
    data: Uint8Array = new Uint8Array(operation === Operation.READ ? length : 0),
  ): Promise<DeviceFault | null> {
    const { machine, trace } = this.#world;
    const { process, time } = machine;
    const expectations = this.#world.expectations();
    this.#world.notice();
    const pending: Pending = {
      id: (this.#lastId += 1),
      operation,
      layer,
      offset,
      length,
      flags,
      data,
      submittedAtMs: time.nowMs,
      last: expectations.history.last,
      acked: expectations.bounds(layer).acked,
      seen: expectations.seen(layer),
      openings: expectations.openings,
    };
    const troubled = machine.store!.state !== 'ready';
    expectations.pending.add(pending);
    this.#underway += 1;
    this.submitted += 1;
    trace.add(`#${pending.id} ${nameOf(operation)} layer ${layer} ${offset}+${length}${flags === 0 ? '' : ' fua'}`);
    return new Promise((resolve) => {
      const done = (fault: DeviceFault | null): void => {
        if (process.dead) return;
        try {
          this.#answered(pending, fault, troubled);
        } catch (thrown) {
          this.#world.report(thrown);
        }
        this.#underway -= 1;
        resolve(fault);
        if (this.#underway > 0) return;
        for (const tell of this.#idle.splice(0)) tell();
      };
      (this.handles.get(layer) ?? this.snapshots.get(layer))!.submit(
        new InnerRequest(operation, offset, length, done, { flags, data }),
      );
    });
  }

  #answered(pending: Pending, fault: DeviceFault | null, troubled: boolean): void {
    const { machine, trace, count } = this.#world;
    const expectations = this.#world.expectations();
    this.#world.notice();
    if (!expectations.pending.delete(pending)) throw new Violation(`request ${pending.id} is answered twice`);
    trace.add(`#${pending.id} ${fault === null ? 'ok' : fault.code}`);
    count(fault === null ? nameOf(pending.operation) : `${nameOf(pending.operation)} ${fault.code}`);
    if (fault === null) {
      // What changes nothing promises nothing, with FUA either: P2 is about writes, and there is none to lose.
      const blockBytes = expectations.history.layers.get(pending.layer)?.blockBytes ?? 1;
      const says = pending.operation === Operation.FLUSH || blocksOf(pending, blockBytes).length > 0;
      if (pending.operation !== Operation.READ && says) this.checkPoison(`request ${pending.id}`);
      expectations.succeeded(pending);
      return;
    }
    // A read waits while the store reopens: nothing but a block that cannot be read makes it fail.
    const { faults } = machine;
    const read = (faults.lastOf.get('open') ?? Number.NEGATIVE_INFINITY) >= pending.submittedAtMs;
    const spread = faults.troubles(pending.submittedAtMs);
    const reopened = expectations.openings > pending.openings || machine.store?.state !== 'ready';
    const problem = expectations.failed(pending, fault, {
      failure: machine.halfRead || (pending.operation === Operation.READ ? read : troubled || spread || reopened),
      // A limit of the journal's own is reached without the disk's word.
      full: machine.limited || faults.noSpaceAtMs >= pending.submittedAtMs - FULL_BELIEVED_MS,
      closing: this.closing,
    });
    if (problem === '') return;
    const detail = 'detail' in fault ? ` (${fault.detail})` : '';
    throw new Violation(
      `request ${pending.id} (${nameOf(pending.operation)}) fails with ${fault.code}${detail}, ${problem}`,
    );
  }

  checkPoison(what: string): void {
    if (this.poisoned === null || this.#world.machine.store?.engine !== this.poisoned) return;
    throw new Violation(`${what} is acknowledged after a failed fdatasync, before the store has reopened`);
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    if (this.#underway > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Writes something of this length. */
  write(layer: number, offset: number, length: number, seed: number, fua = false): Promise<DeviceFault | null> {
    return this.submit(Operation.WRITE, layer, offset, length, fua ? RequestFlag.FUA : 0, dataOf(seed, length));
  }

  /**
   * Reads everything that was ever written, and a bit of what was not, of all that is open or of some layers. Answers are
   * checked as every answer is.
   */
  async readAll(random: SeededRandom, only?: ReadonlySet<number>): Promise<(DeviceFault | null)[]> {
    const reads: Promise<DeviceFault | null>[] = [];
    const { history } = this.#world.expectations();
    for (const [layer, handle] of [...this.handles, ...this.snapshots]) {
      if (only?.has(layer) === false || this.leaving.has(handle)) continue;
      const known = history.layers.get(layer);
      if (known === undefined) continue;
      const { blockBytes, sizeBytes } = handle;
      const read = (first: number, count: number): void => {
        reads.push(this.submit(Operation.READ, layer, first * blockBytes, count * blockBytes));
      };
      const blocks = [...known.blocks.keys()].sort((a, b) => a - b);
      for (let n = 0; n < blocks.length;) {
        let end = n + 1;
        while (end < blocks.length && blocks[end] === blocks[n] + end - n && end - n < 64) end += 1;
        read(blocks[n], end - n);
        n = end;
      }
      for (let n = 0; n < 4; n += 1) read(random.below(sizeBytes / blockBytes), 1);
    }
    return Promise.all(reads);
  }
}

export function nameOf(operation: Operation): string {
  return (
    Object.entries(Operation)
      .find(([, value]) => value === operation)?.[0]
      .toLowerCase() ?? '?'
  );
}
