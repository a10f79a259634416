import { Operation, RequestFlag } from '../../src/device/block-device.js';
import { FileError } from '../../src/io/file-error.js';
import { StoreError } from '../../src/store/store-error.js';
import type { LayerId } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { damageDisk } from './disk-damage.js';
import { Violation } from './expectations.js';
import type { Script, Step } from './script.js';
import type { Sabotage } from './simulated-machine.js';
import { describe, Died, SimulatedNode } from './simulated-node.js';
import { useUpReserve } from './use-up-reserve.js';

const UNDERWAY_MAX = 40;
const VOLUMES_MAX = 5;
const REQUEST_BYTES_MAX = 2 * 1024 * 1024;
const FILL_BYTES = 128 * 1024;
const FILL_WRITES_MAX = 400;
/** The store believes a full disk for a second. */
const FULL_BELIEVED_MS = 2500;

/** How a run ended. */
export interface Outcome {
  /** '' or the promise that was broken. */
  readonly failure: string;
  /** Of everything that happened, and of the disk at the end. */
  readonly traceHash: string;
  readonly diskHash: string;
  readonly trace: readonly string[];
  readonly log: readonly string[];
  readonly counts: ReadonlyMap<string, number>;
  readonly faults: ReadonlyMap<string, number>;
  readonly steps: number;
  readonly requests: number;
  readonly pairs: number;
}

/** Who wants to know that a run goes on. */
export interface Watch {
  at(seed: number, step: number, steps: number): void;
  readonly alive: () => void;
}

/** Runs one script in a world of its own. */
export class Simulation {
  readonly #script: Script;
  readonly #node: SimulatedNode;
  #sabotage: Sabotage | null;
  #done = 0;
  readonly #watch: Watch;

  constructor(
    script: Script,
    sabotage: Sabotage | null = null,
    watch: Watch = { at: () => undefined, alive: () => undefined },
  ) {
    this.#watch = watch;
    this.#script = script;
    this.#sabotage = sabotage;
    this.#node = new SimulatedNode(script.seed, script.options, sabotage);
  }

  async run(): Promise<Outcome> {
    const node = this.#node;
    const onRejection = (reason: unknown): void => node.report(new Violation(`unhandled: ${describe(reason)}`));
    const others = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    process.on('unhandledRejection', onRejection);
    const undo = this.#sabotage?.install?.() ?? (() => undefined);
    const { time } = node.machine;
    time.onTurn = this.#watch.alive;
    const stuck = new Promise<never>((_, reject) => {
      time.onIdle = () => reject(new Violation(`nothing is left that could happen; ${node.waitingReport()}`));
    });
    stuck.catch(() => undefined);
    try {
      await Promise.race([this.#runSteps(), stuck]);
      // A rejection that nobody has handled is seen now.
      await new Promise<void>((resolve) => setImmediate(resolve));
    } catch (thrown) {
      if (!(thrown instanceof Died)) node.report(thrown);
    } finally {
      node.machine.process.die();
      await new Promise<void>((resolve) => setImmediate(resolve));
      undo();
      process.removeAllListeners('unhandledRejection');
      for (const listener of others) process.on('unhandledRejection', listener);
    }
    return {
      failure: node.violation === null ? '' : describe(node.violation),
      traceHash: node.trace.digest(),
      diskHash: node.machine.disk.digest(),
      trace: node.trace.lines,
      log: node.machine.lines,
      counts: node.counts,
      faults: node.machine.faults.fired,
      steps: this.#done,
      requests: node.clients.submitted,
      pairs: node.ledger.pairs,
    };
  }

  async #runSteps(): Promise<void> {
    const node = this.#node;
    const { machine, clients } = node;
    await node.start(0, []);
    for (const step of this.#script.steps) {
      machine.random = new SeededRandom(step.seed);
      await this.#orDie(async () => {
        node.trace.add(`step ${step.id} ${step.kind}`);
        this.#watch.at(this.#script.seed, step.id, this.#script.steps.length);
        this.#done += 1;
        await this.#perform(step);
      });
      if (step.kind === 'damage') return;
    }
    machine.random = new SeededRandom(this.#script.seed + 1);
    machine.faults.disarm();
    machine.disk.capacityBytes += 64 * 1024 * 1024;
    machine.process.dieAfter(Number.POSITIVE_INFINITY);
    await this.#orDie(async () => {
      await node.until(clients.settled());
      await node.until(clients.readAll(machine.random));
    });
    await this.#orDie(() => node.stop(true, []));
    await this.#orDie(() => Promise.resolve());
  }

  /** Does something; if the process dies meanwhile, the next one is started. */
  async #orDie(act: () => Promise<void>): Promise<void> {
    const node = this.#node;
    for (let n = 0; node.machine.process.dead; n += 1) await this.#bury();
    try {
      await act();
    } catch (thrown) {
      if (!(thrown instanceof Died)) throw thrown;
    }
    node.throwViolation();
  }

  async #bury(): Promise<void> {
    try {
      await this.#node.bury();
    } catch (thrown) {
      if (!(thrown instanceof Died)) throw thrown;
      this.#node.throwViolation();
    }
  }

  #layerOf(volume: number): number | null {
    const layers = [...this.#node.clients.handles.keys()].sort((a, b) => a - b);
    return layers.length === 0 ? null : layers[volume % layers.length];
  }

  async #perform(step: Step): Promise<void> {
    const node = this.#node;
    const { clients, machine } = node;
    if (clients.underway >= UNDERWAY_MAX) await node.until(clients.settled());
    node.adopt();
    switch (step.kind) {
      case 'write':
      case 'zeroes':
      case 'trim':
      case 'read':
        this.#request(step);
        return;
      case 'flush': {
        const layer = this.#layerOf(step.volume);
        if (layer !== null) void clients.submit(Operation.FLUSH, layer, 0, 0);
        return;
      }
      case 'sleep':
        return node.sleep(step.ms);
      case 'settle':
        return node.until(clients.settled());
      case 'create':
        return this.#create(step.blockBytes, step.blocks);
      case 'drop':
      case 'reattach': {
        const layer = this.#layerOf(step.volume);
        return layer === null ? undefined : this.#detach(layer, step.kind === 'drop');
      }
      case 'expand': {
        const layer = this.#layerOf(step.volume);
        return layer === null ? undefined : this.#expand(layer, step.blocks);
      }
      case 'checkpoint': {
        const checkpoint = this.#verb('checkpoint', () => machine.manager!.checkpoint());
        if (step.wait) await node.until(checkpoint);
        return;
      }
      case 'stop':
        return node.stop(step.power, step.deaths);
      case 'crash':
        node.crashAfter(step.afterSteps, step.power, step.deaths);
        return;
      case 'fault':
        machine.faults.arm(step.arm);
        return;
      case 'fill':
        return this.#fill(step.leaveBytes, step.restart);
      case 'image':
        return node.takeImage();
      case 'restore':
        return node.restore();
      case 'verify':
        await node.until(clients.readAll(machine.random));
        return;
      case 'damage':
        return this.#damage(step);
    }
  }

  #request(step: Extract<Step, { kind: 'write' | 'zeroes' | 'trim' | 'read' }>): void {
    const { clients } = this.#node;
    const layer = this.#layerOf(step.volume);
    if (layer === null) return;
    const { blockBytes, sizeBytes } = clients.handles.get(layer)!;
    const unit = step.aligned ? blockBytes : 512;
    const offset = Math.floor(((step.at / 65_536) * sizeBytes) / unit) * unit;
    const wanted = Math.min(Math.max(step.lengthBytes, unit), REQUEST_BYTES_MAX);
    // Not aligned means not even to sectors, now and then.
    const odd = step.aligned || step.id % 4 !== 0 ? 0 : 1 + (step.seed % 300);
    const length = Math.min(Math.ceil(wanted / unit) * unit, sizeBytes - offset) - odd;
    if (length <= 0) return;
    const flags = step.fua && step.kind !== 'read' ? RequestFlag.FUA : 0;
    if (step.kind === 'write') void clients.write(layer, offset, length, step.seed, step.fua);
    else if (step.kind === 'zeroes') void clients.submit(Operation.WRITE_ZEROES, layer, offset, length, flags);
    else if (step.kind === 'trim') void clients.submit(Operation.TRIM, layer, offset, length, flags);
    else void clients.submit(Operation.READ, layer, offset, length);
  }

  /** A layer verb or a checkpoint: it may fail only when the disk did. '' or the code of the failure. */
  async #verb(what: string, run: () => Promise<unknown>): Promise<string> {
    const node = this.#node;
    const { faults, time, store, process } = node.machine;
    const before = { openings: node.expectations.openings, atMs: time.nowMs };
    const troubled = store?.state !== 'ready';
    let code = '';
    const { verbs } = node;
    verbs.set(what, (verbs.get(what) ?? 0) + 1);
    try {
      await run();
      node.count(what);
    } catch (thrown) {
      if (process.dead) return new Promise(() => undefined);
      code = thrown instanceof StoreError || thrown instanceof FileError ? thrown.code : 'unknown';
      node.trace.add(`${what} fails: ${code}`);
      const reopened = node.expectations.openings > before.openings;
      const failed = troubled || faults.troubles(before.atMs) || reopened || node.machine.halfRead;
      const full = faults.noSpaceAtMs >= before.atMs - FULL_BELIEVED_MS;
      const fair =
        (code === 'IO' && failed) || (code === 'FULL' && full) || (code === 'CLOSED' && node.clients.closing);
      if (!fair) node.report(new Violation(`${what} fails: ${describe(thrown)}`));
    }
    const others = (verbs.get(what) ?? 1) - 1;
    if (others > 0) verbs.set(what, others);
    else verbs.delete(what);
    // Whoever waits for it has been told of the death.
    if (process.dead) return new Promise(() => undefined);
    node.guard(() => node.notice());
    return code;
  }

  /** Holds what a verb has promised: its record is in the journal, and durable. */
  #promised(what: string, sequence: number | undefined): void {
    const node = this.#node;
    if (sequence === undefined || !Number.isFinite(sequence)) throw new Violation(`${what} is not in the journal`);
    node.clients.checkPoison(what);
    node.expectations.durable = Math.max(node.expectations.durable, sequence);
  }

  async #create(blockBytes: number, blocks: number): Promise<void> {
    const node = this.#node;
    if (node.clients.handles.size >= VOLUMES_MAX) return;
    let layer = 0;
    const make = async (): Promise<void> => {
      layer = await node.machine.manager!.createLayer(blockBytes, blocks * blockBytes);
    };
    if ((await node.until(this.#verb('create', make))) !== '') return;
    this.#promised(`layer ${layer}`, node.expectations.history.layers.get(layer)?.bornAt);
    node.adopt();
  }

  async #detach(layer: number, drop: boolean): Promise<void> {
    const node = this.#node;
    await node.until(node.clients.settled());
    await node.until(node.clients.handles.get(layer)!.close());
    node.clients.handles.delete(layer);
    node.expectations.forgetHandle(layer);
    if (!drop) return;
    const { manager } = node.machine;
    if ((await node.until(this.#verb('drop', () => manager!.dropLayer(layer as LayerId)))) !== '') return;
    this.#promised(`the drop of layer ${layer}`, node.expectations.history.layers.get(layer)?.droppedAt);
  }

  async #expand(layer: number, blocks: number): Promise<void> {
    const node = this.#node;
    const handle = node.clients.handles.get(layer)!;
    const { blockBytes } = handle;
    const sizeBytes = handle.sizeBytes + blocks * blockBytes;
    if ((await node.until(this.#verb('expand', () => handle.expand(sizeBytes)))) !== '') return;
    const sizes = node.expectations.history.layers.get(layer)?.sizes;
    this.#promised(
      `the growth of layer ${layer}`,
      sizes?.find((size) => size.blocks * blockBytes >= sizeBytes)?.sequence,
    );
  }

  /** P5: the disk fills up. Data is refused; what is there stays readable, and trims, verbs, checkpoints and starts work. */
  async #fill(leaveBytes: number, restart: 'no' | 'kill' | 'stop'): Promise<void> {
    const node = this.#node;
    const { clients, machine } = node;
    const { faults, disk, random } = machine;
    await node.until(clients.settled());
    const layer = this.#layerOf(random.below(65_536));
    if (layer === null || machine.store!.state !== 'ready' || faults.armed > 0) return;
    // P5 says "space is held back for them": what a full disk has used up before is gone until there is room again.
    const { reserve, pool } = machine.store!.engine!;
    if (!(await node.until(reserve.hold())) || !(await node.until(pool.replenish('data')))) return;
    const before = disk.capacityBytes;
    disk.capacityBytes = disk.usedBytes + leaveBytes;
    try {
      const { sizeBytes, blockBytes } = clients.handles.get(layer)!;
      const length = Math.max(blockBytes, Math.min(FILL_BYTES, sizeBytes));
      let refused = false;
      let written = 0;
      for (let n = 0; n < FILL_WRITES_MAX && !refused; n += 1) {
        const offset = Math.floor(random.below(sizeBytes - length + 1) / blockBytes) * blockBytes;
        const fault = await node.until(clients.write(layer, offset, length, 1 + n));
        refused = fault?.code === 'FULL';
        if (fault === null) written = offset;
      }
      if (!refused) return;
      node.count('disk filled');
      await node.until(clients.readAll(random));
      for (const operation of [Operation.TRIM, Operation.WRITE_ZEROES]) {
        const offset = Math.floor(random.below(sizeBytes) / blockBytes) * blockBytes;
        const fault = await node.until(clients.submit(operation, layer, offset, blockBytes, RequestFlag.FUA));
        if (fault !== null) throw new Violation(`on a full disk a trim fails with ${fault.code}`);
      }
      for (const what of ['checkpoint', 'create'] as const) {
        const { manager } = machine;
        const run = (): Promise<unknown> =>
          what === 'create' ? manager!.createLayer(4096, 65_536) : manager!.checkpoint();
        const code = await node.until(this.#verb(what, run));
        if (code !== '') throw new Violation(`on a full disk a ${what} fails with ${code}`);
      }
      node.adopt();
      if (random.below(3) === 0) await useUpReserve(node, layer, written);
      if (restart === 'stop') await node.stop(false, []);
      if (restart === 'kill') {
        node.crashAfter(1, false, []);
        machine.process.die();
        await node.bury();
      }
    } finally {
      disk.capacityBytes = before;
    }
    await node.sleep(2 * FULL_BELIEVED_MS);
  }

  /** P4: the medium changes. Only correct data or a clear refusal comes back, now and after a start. */
  async #damage(step: Extract<Step, { kind: 'damage' }>): Promise<void> {
    const node = this.#node;
    const { clients, machine } = node;
    machine.faults.disarm();
    machine.process.dieAfter(Number.POSITIVE_INFINITY);
    await node.until(clients.settled());
    // A store that is reopening may yet go on from an earlier record: it must have done so before anything is counted on.
    await node.ready();
    // Without a volume nothing can be written behind what is damaged.
    if (clients.handles.size === 0) return;
    // What is damaged lies before records that say that it was durable: no torn end explains it away.
    const barrier = async (): Promise<void> => {
      for (const layer of clients.handles.keys()) await node.until(clients.write(layer, 0, 4096, step.seed, true));
    };
    await barrier();
    const covered = node.expectations.history.last;
    await barrier();
    await barrier();
    if (step.checkpoint) await node.until(this.#verb('checkpoint', () => machine.manager!.checkpoint()));
    if (!damageDisk(step, node, covered)) return;
    node.expectations.damaged = true;
    node.count(`damage: ${step.what}`);
    node.trace.add(`damage: ${step.what}`);
    await node.until(clients.readAll(machine.random));
    node.throwViolation();
    for (let n = 0; n < 2; n += 1) {
      machine.process.die();
      await node.bury();
      if (node.expectations.history.last < covered) {
        throw new Violation(`damage is taken for a torn end: records after ${node.expectations.history.last} are gone`);
      }
      // Volumes that are served take new data, and keep it.
      for (const layer of clients.handles.keys()) await node.until(clients.write(layer, 0, 4096, step.seed + n, true));
      await node.until(clients.readAll(machine.random));
      node.throwViolation();
    }
  }
}
