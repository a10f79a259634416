import { messageOf } from '../../src/base/errors.js';
import { FileError } from '../../src/io/file-error.js';
import { StoreError } from '../../src/store/store-error.js';
import type { SealedRecord } from './block-seal.js';
import { Clients } from './clients.js';
import { Expectations, Violation } from './expectations.js';
import { decodeEntry, isBesideJournal, type LayerHistory } from './journal-history.js';
import { ControlPlane } from './control-plane.js';
import { checkLayers } from './layer-checks.js';
import { NonceLedger } from './nonce-ledger.js';
import type { Death, ScriptOptions } from './script.js';
import type { SimulatedDisk } from './simulated-disk.js';
import { SimulatedMachine, type Sabotage } from './simulated-machine.js';
import { SimulatedProcess } from './simulated-process.js';
import { Trace } from './trace.js';
import { waitingReport } from './waiting-report.js';

/** An answer may take this long in simulated time; what takes longer never comes. */
const PATIENCE_MS = 600_000;
/** Nor may it take so many turns: the longest of an answer that comes is a few hundred. */
const PATIENCE_TURNS = 100_000;
/** Between two looks at a store that is reopening. */
const REOPENING_MS = 100;
/** Starts that may fail one after another while the disk fails. */
const STARTS_MAX = 60;

/** The process died while something was waited for. */
export class Died extends Error {
  override readonly name = 'Died';
}

/** An image of the whole disk, and what was true of it. */
interface Image {
  readonly disk: SimulatedDisk;
  readonly expectations: Expectations;
  readonly control: ControlPlane;
  readonly epochs: ReadonlyMap<number, number>;
}

/** A machine with its clients, from one life of the daemon to the next, held against what is promised. */
export class SimulatedNode {
  readonly machine: SimulatedMachine;
  readonly clients: Clients;
  control = new ControlPlane();
  readonly trace: Trace;
  readonly ledger = new NonceLedger();
  readonly counts = new Map<string, number>();
  /** Layer verbs and checkpoints under way, and how many of each. */
  readonly verbs = new Map<string, number>();
  expectations = new Expectations();
  violation: unknown = null;
  #engine: unknown = null;
  #image: Image | null = null;
  /** What the next death takes along. */
  #fate: { power: boolean; deaths: readonly Death[] } = { power: false, deaths: [] };

  constructor(seed: number, options: ScriptOptions, sabotage: Sabotage | null) {
    this.machine = new SimulatedMachine(
      seed,
      options,
      {
        sealed: (path, records) => this.guard(() => this.#sealed(path, records)),
        appended: (status) => {
          if (status === 0) this.expectations.written = this.expectations.history.last;
        },
        syncFailed: () => {
          this.clients.poisoned = this.machine.store?.engine ?? null;
        },
        misuse: (what) => this.report(new Violation(what)),
      },
      sabotage,
    );
    this.machine.time.onThrow = (thrown) => this.report(new Violation(`thrown: ${describe(thrown)}`));
    this.trace = new Trace(() => this.machine.time.nowMs);
    this.machine.faults.onFired = (name) => this.trace.add(`fault: ${name}`);
    this.clients = new Clients({
      machine: this.machine,
      expectations: () => this.expectations,
      trace: this.trace,
      report: (thrown) => this.report(thrown),
      notice: () => this.notice(),
      count: (kind) => this.count(kind),
      keysOf: (layer) => this.control.keysOf(layer, this.expectations.history),
    });
    this.#tellMoves();
  }

  #tellMoves(): void {
    this.expectations.onMoved = (from, to) => this.clients.moved(from, to);
    this.expectations.onRewound = (sequence) => this.control.keys.rewind(sequence);
  }

  report(thrown: unknown): void {
    this.violation ??= thrown;
    this.machine.process.die();
  }

  guard(check: () => void): void {
    try {
      check();
    } catch (thrown) {
      this.report(thrown);
    }
  }

  throwViolation(): void {
    if (this.violation !== null) throw this.violation as Error;
  }

  count(kind: string): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
  }

  #sealed(path: string, records: readonly SealedRecord[]): void {
    this.notice();
    const beside = isBesideJournal(records);
    for (const record of records) {
      for (const { key, epoch, counter } of record.blocks) {
        if (this.ledger.record(key.name, epoch, counter)) continue;
        throw new Violation(`nonce ${epoch}/${counter} is used twice with key ${key.name.slice(0, 22)}`);
      }
      const entry = decodeEntry(path, record);
      if (beside) {
        this.expectations.relocating(entry);
        continue;
      }
      this.expectations.appending(entry);
      if (entry.merged !== 0) this.#checkCovered(entry.merged);
    }
  }

  /** What is moved by a merge must not be put back by a start that replays what the journal says of it. */
  #checkCovered(layer: number): void {
    const last = this.expectations.history.layers.get(layer)?.droppedAt ?? 0;
    const from = this.machine.replayFrom;
    if (last < from) return;
    throw new Violation(`layer ${layer} is merged, and a start replays its records from ${from} to ${last}`);
  }

  /** Looks whether the store has reopened by itself, and takes what it goes on from as the truth. */
  notice(): void {
    const { store } = this.machine;
    if (store === null || store.engine === null || store.engine === this.#engine || store.state !== 'ready') return;
    this.#engine = store.engine;
    this.clients.poisoned = null;
    this.trace.add(`reopened at record ${store.engine.recovery.sequence}`);
    this.count('reopening');
    this.expectations.goesOnAt(store.engine.recovery.sequence, this.expectations.durable);
    this.machine.settleDoubt();
  }

  /** Waits for something that the process does. Throws Died when it dies, and a violation when it takes for ever. */
  async until<T>(promise: Promise<T>): Promise<T> {
    const { process, time } = this.machine;
    const waiting = { dead: false };
    const late = new Promise<never>((_, reject) => {
      const giveUp = (bound: string) => (): void =>
        reject(new Violation(`nothing came of it in ${bound}; ${this.waitingReport()}`));
      time.schedule(PATIENCE_MS, waiting, giveUp(`${PATIENCE_MS} ms`));
      time.alarm(waiting, PATIENCE_TURNS, giveUp(`${PATIENCE_TURNS} turns`));
    });
    try {
      return await Promise.race([promise, late, process.death.then(() => Promise.reject(new Died()))]);
    } finally {
      waiting.dead = true;
      time.clearAlarm(waiting);
      late.catch(() => undefined);
    }
  }

  waitingReport(): string {
    return waitingReport(this.machine, this.expectations.pending, this.verbs);
  }

  /** Lets simulated time pass. */
  sleep(ms: number): Promise<void> {
    return this.until(this.machine.time.sleep(ms, { dead: false }));
  }

  /** The process will die after this many steps, with or without the power. */
  crashAfter(steps: number, power: boolean, deaths: readonly Death[]): void {
    this.#fate = { power, deaths };
    this.machine.process.dieAfter(steps);
  }

  /** After a death: what it takes along, and the next start. */
  async bury(): Promise<void> {
    const { power, deaths } = this.#fate;
    this.#fate = { power: false, deaths: [] };
    this.throwViolation();
    await this.start(this.#die(power, Number.POSITIVE_INFINITY), deaths);
  }

  /** Takes the process down, and the power if it goes too. Returns up to which record everything must come back. */
  #die(power: boolean, least: number): number {
    const { machine, expectations } = this;
    machine.process.die();
    if (power) machine.disk.cut(machine.random);
    this.count(power ? 'power cut' : 'kill');
    this.trace.add(power ? 'the power is cut' : 'the process is killed');
    expectations.forgetRequests();
    this.clients.abandon();
    this.verbs.clear();
    return Math.min(least, power ? expectations.durable : this.#safe(expectations.written));
  }

  /**
   * A failed sync or writeback may have cost what only the page cache held, acknowledged or not; what was durable (P2) it
   * may not. P1 is about the death of a process alone; of a failed disk the design promises that the store goes on "from
   * what is on disk".
   */
  #safe(least: number): number {
    return this.machine.faults.inDoubt ? Math.min(least, this.expectations.durable) : least;
  }

  /** Starts the daemon. `deaths` meet it while it starts; `least` is what it must find. */
  async start(least: number, deaths: readonly Death[]): Promise<void> {
    let must = least;
    for (const death of deaths) {
      const process = new SimulatedProcess();
      process.dieAfter(death.afterSteps);
      const opened = await this.#open(process).then(
        () => true,
        (thrown: unknown) => {
          if (!(thrown instanceof Died)) throw thrown;
          return false;
        },
      );
      this.throwViolation();
      if (opened) this.#serve(must);
      if (opened) must = this.expectations.written;
      this.count('death in recovery');
      must = this.#die(death.power, must);
    }
    await this.#open(new SimulatedProcess());
    this.#serve(must);
    this.#adopt(true);
    await this.until(this.clients.readAll(this.machine.random));
    this.throwViolation();
    // Nothing is under way, and everything found is durable: what came before it is over.
    if (!this.expectations.damaged) this.expectations.history.settle(this.expectations.durable);
  }

  /** Opens the store; tries again while the disk fails. */
  async #open(process: SimulatedProcess): Promise<void> {
    const { machine } = this;
    for (let tries = 1; ; tries += 1) {
      const faults = machine.faults.count;
      const { planned } = machine.faults;
      try {
        this.machine.process = process;
        await this.until(machine.open(process));
        process.dieAfter(Number.POSITIVE_INFINITY);
        return;
      } catch (thrown) {
        if (!(thrown instanceof StoreError || thrown instanceof FileError)) throw thrown;
        this.trace.add(`the start fails: ${thrown.code}`);
        this.count('start failed');
        if (machine.faults.count === faults || tries === STARTS_MAX) {
          throw new Violation(`the store does not open although the disk is well: ${describe(thrown)}`);
        }
        // P5: a start has a part of what is held back for itself, whatever trims and verbs have used up.
        if (thrown.code === 'FULL' && machine.faults.planned === planned) {
          throw new Violation(`a full disk keeps the store from opening: ${describe(thrown)}`);
        }
        // A service manager starts a process anew.
        process.die();
        process = new SimulatedProcess();
      }
    }
  }

  /** What the store found is held against what it had to find. */
  #serve(least: number): void {
    const { store } = this.machine;
    const engine = store!.engine!;
    const must = this.#safe(least);
    this.#engine = engine;
    const { sequence, summary } = engine.recovery;
    this.trace.add(`started at record ${sequence}: ${summary}`);
    this.expectations.goesOnAt(sequence, must);
    this.machine.settleDoubt();
    this.expectations.forgetRequests();
    // After damage a volume may be refused, or be unknown; none may be there that was not.
    const part = this.expectations.damaged || this.machine.halfRead;
    if (part && !this.expectations.damaged && !this.machine.faults.lastOf.has('read')) {
      throw new Violation('a start says that it could not read a page, and all could be read');
    }
    checkLayers(this.machine.manager!.layers(), this.expectations.history, part);
  }

  /**
   * Opens every volume that is not open: after a start, and those whose creation or removal was cut short. With
   * `snapshots` also every frozen layer.
   */
  #adopt(snapshots: boolean): void {
    if (this.machine.store?.state !== 'ready') return;
    const layers = this.machine.manager!.layers();
    const { handles, snapshots: looks } = this.clients;
    const { history } = this.expectations;
    const fit = (state: 'head' | 'frozen'): Set<number> =>
      new Set(
        layers.flatMap((each) => (each.damage === '' && !each.hidden && each.state === state ? [each.layer] : [])),
      );
    const heads = fit('head');
    for (const layer of history.heads()) {
      if (!handles.has(layer.id) && heads.has(layer.id)) this.clients.open(layer);
    }
    const whole = !this.expectations.damaged && !this.machine.halfRead;
    // While a freeze is under way nobody knows yet whose head is whose.
    if (whole && this.verbs.size === 0 && (snapshots || this.control.uncertain))
      this.control.reconcile(layers, history);
    if (!snapshots) return;
    const frozen = fit('frozen');
    for (const layer of history.snapshots()) {
      // Nobody looks at a snapshot before he has been told that it was taken.
      if (!looks.has(layer.id) && frozen.has(layer.id) && !this.control.hasHead(layer.id)) this.clients.open(layer);
    }
  }

  /** Waits until the store serves. */
  async served(): Promise<void> {
    const { machine } = this;
    const served = async (): Promise<void> => {
      while (machine.store?.state !== 'ready') await machine.time.sleep(REOPENING_MS, machine.process);
    };
    await this.until(served());
    this.notice();
  }

  /** Waits until the store serves, and opens every volume that is not open. */
  async ready(): Promise<void> {
    await this.served();
    this.adopt();
  }

  /** As after a start, when nothing is under way. */
  adopt(): void {
    this.notice();
    this.#adopt(false);
  }

  /** Opens every frozen layer that is not open. */
  look(): void {
    this.notice();
    this.#adopt(true);
  }

  /** A clean stop, and a start after it. What was acknowledged needs no flush then, unless the disk failed. */
  async stop(power: boolean, deaths: readonly Death[]): Promise<void> {
    const { machine, expectations } = this;
    const faults = machine.faults.planned;
    const well = machine.store!.state === 'ready' && !machine.faults.inDoubt;
    this.clients.closing = true;
    await this.until(machine.manager!.close());
    await this.until(this.clients.settled());
    this.throwViolation();
    // Whatever failed may have kept the last sync from happening: then a stop is no better than a kill.
    const { faults: plan } = machine;
    const clean = well && plan.planned === faults;
    if (clean) expectations.durable = expectations.written;
    this.count('clean stop');
    this.trace.add('stopped');
    await this.start(this.#die(power, Number.POSITIVE_INFINITY), deaths);
  }

  /** Copies the disk of a machine that has lost its power: a restore finds it in this state. */
  async takeImage(): Promise<void> {
    const { machine } = this;
    const least = this.#die(true, Number.POSITIVE_INFINITY);
    // What of the last moments is in the image shows when it starts.
    const expectations = this.expectations.copy();
    const control = this.control.copy();
    this.#image = { disk: machine.disk.copy(), expectations, control, epochs: new Map(this.clients.epochs) };
    await this.start(least, []);
  }

  /** Goes back to the image, as often as one likes. */
  async restore(): Promise<void> {
    const image = this.#image;
    if (image === null) return;
    const { machine, clients } = this;
    this.#die(true, 0);
    machine.disk = image.disk.copy();
    machine.disk.capacityBytes = image.disk.capacityBytes;
    this.expectations = image.expectations.copy();
    this.#tellMoves();
    this.control = image.control.copy();
    clients.epochs = new Map(image.epochs);
    this.count('restore');
    await this.start(this.expectations.durable, []);
  }

  layersAlive(): LayerHistory[] {
    return this.expectations.history.alive();
  }
}

export function describe(thrown: unknown): string {
  if (thrown instanceof Violation) return thrown.message;
  return thrown instanceof Error ? (thrown.stack ?? thrown.message) : messageOf(thrown);
}
