import { Operation, RequestFlag } from '../../src/device/block-device.js';
import type { LayerId } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { damageDisk } from './disk-damage.js';
import { Violation } from './expectations.js';
import { KeySteps } from './key-steps.js';
import { LayerSteps } from './layer-steps.js';
import type { Script, Step } from './script.js';
import { ScrubSteps } from './scrub-steps.js';
import type { Sabotage } from './simulated-machine.js';
import { describe, Died, SimulatedNode } from './simulated-node.js';
import { useUpReserve } from './use-up-reserve.js';
import { Verbs } from './verbs.js';

const UNDERWAY_MAX = 40;
const REQUEST_BYTES_MAX = 2 * 1024 * 1024;
const FILL_BYTES = 128 * 1024;
const FILL_WRITES_MAX = 400;
/** The store believes a full disk for a second. */
const FULL_FORGOTTEN_MS = 5000;

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
  readonly #verbs: Verbs;
  readonly #layers: LayerSteps;
  readonly #keys: KeySteps;
  readonly #scrubs: ScrubSteps;

  constructor(
    script: Script,
    sabotage: Sabotage | null = null,
    watch: Watch = { at: () => undefined, alive: () => undefined },
  ) {
    this.#watch = watch;
    this.#script = script;
    this.#sabotage = sabotage;
    this.#node = new SimulatedNode(script.seed, script.options, sabotage);
    this.#verbs = new Verbs(this.#node);
    this.#keys = new KeySteps(this.#node, this.#verbs);
    this.#layers = new LayerSteps(this.#node, this.#verbs, this.#keys);
    this.#scrubs = new ScrubSteps(this.#node, this.#verbs);
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
    if (this.#script.keys) await this.#orDie(() => this.#sealAndScrub());
    await this.#orDie(() => node.stop(true, []));
    await this.#orDie(() => Promise.resolve());
  }

  /** Everything is sealed as new writes are, but for what is shared; and it is all there. */
  async #sealAndScrub(): Promise<void> {
    const node = this.#node;
    await node.ready();
    if (node.machine.halfRead) return;
    await node.sleep(FULL_FORGOTTEN_MS);
    if (this.#script.options.cleaning) await this.#keys.resealAll();
    await this.#scrubs.scrubAll();
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
        await this.#layers.create(step.blockBytes, step.blocks);
        return;
      case 'drop':
      case 'reattach':
        return this.#layers.detach(step.volume, step.kind === 'drop');
      case 'expand':
        return this.#layers.expand(step.volume, step.blocks);
      case 'freeze':
        return this.#layers.freeze(step);
      case 'clone':
        return this.#layers.clone(step.snapshot, step.blocks);
      case 'revert':
        return this.#layers.revert(step.snapshot, step.volume);
      case 'discard':
        return this.#layers.discard(step.snapshot);
      case 'look':
        this.#layers.look(step);
        return;
      case 'rekey':
        return this.#keys.rekey(step);
      case 'reseal':
        return this.#keys.reseal(step);
      case 'scrub':
        return this.#scrubs.scrub(step);
      case 'compare':
        if (step.quiet) return this.#layers.compare();
        this.#layers.compareBusily();
        return;
      case 'checkpoint': {
        const checkpoint = this.#verbs.run('checkpoint', () => machine.manager!.checkpoint());
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

  /** P5: the disk fills up. Data is refused; what is there stays readable, and trims, verbs, checkpoints and starts work. */
  async #fill(leaveBytes: number, restart: 'no' | 'kill' | 'stop'): Promise<void> {
    const node = this.#node;
    const { clients, machine } = node;
    const { faults, disk, random } = machine;
    await node.until(clients.settled());
    let layer = this.#layerOf(random.below(65_536));
    if (layer === null || machine.store!.state !== 'ready' || faults.armed > 0) return;
    // A snapshot that is still being taken would move the volume to another layer in the middle.
    if ([...node.verbs.keys()].some((what) => what.startsWith('freeze'))) return;
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
      const manager = machine.manager!;
      const child = async (): Promise<void> => {
        const [head] = await manager.freeze([layer as LayerId]);
        await manager.dropLayer(layer as LayerId);
        layer = head;
      };
      for (const [what, run] of [
        ['checkpoint', () => manager.checkpoint()],
        ['create', () => manager.createLayer(4096, 65_536)],
        ['freeze', child],
      ] as const) {
        const code = await node.until(this.#verbs.run(what, run));
        if (code !== '') throw new Violation(`on a full disk a ${what} fails with ${code}`);
      }
      node.control.uncertain = true;
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
    await node.sleep(FULL_FORGOTTEN_MS);
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
    const between = node.expectations.history.last;
    await barrier();
    // On a full disk nothing is written any more, and what was last may well be a torn end.
    if (between === covered || node.expectations.history.last === between) return;
    if (step.checkpoint) await node.until(this.#verbs.run('checkpoint', () => machine.manager!.checkpoint()));
    this.#scrubs.end();
    const damaged = damageDisk(step, node, covered);
    if (damaged === null) return;
    node.expectations.damaged = true;
    node.count(`damage: ${step.what}`);
    node.trace.add(`damage: ${step.what}`);
    await node.until(clients.readAll(machine.random));
    node.throwViolation();
    if (this.#script.keys) await this.#scrubs.finds(damaged, true);
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
      if (this.#script.keys) await this.#scrubs.finds(damaged, false);
    }
  }
}
