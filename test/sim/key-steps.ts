import { sharersOf } from '../../src/control/layer-sharing.js';
import type { ResealOutcome, VolumeHandle } from '../../src/volume/volume-host.js';
import { Violation } from './expectations.js';
import type { LayerHistory } from './journal-history.js';
import type { Step } from './script.js';
import type { SimulatedNode } from './simulated-node.js';
import type { Verbs } from './verbs.js';
import { headKeysOf, retiredNumbersOf, sealingNumberOf, without, type KeyRow } from './volume-keys.js';

const KEYS_MAX = 4;
/** Tries to have a volume sealed anew when nothing goes wrong any more. */
const RESEALS_MAX = 4;

/** An open volume whose keys are changed or whose blocks are sealed anew. */
interface Subject {
  readonly handle: VolumeHandle;
  /** Its first layer. */
  readonly volume: number;
}

interface Resealing {
  readonly handle: VolumeHandle;
  readonly ending: AbortController;
  ended: Promise<void>;
}

/** Steps that change keys of volumes and have their old blocks sealed anew, as the control plane does. */
export class KeySteps {
  readonly #node: SimulatedNode;
  readonly #verbs: Verbs;
  /** Volumes whose row may be ahead of their writes; for good when those have not followed. */
  readonly #changing = new Map<VolumeHandle, Promise<boolean>>();
  /** One volume at a time. */
  #resealing: Resealing | null = null;

  constructor(node: SimulatedNode, verbs: Verbs) {
    this.#node = node;
    this.#verbs = verbs;
  }

  #layer(id: number): LayerHistory | undefined {
    return this.#node.expectations.history.layers.get(id);
  }

  #subject(volume: number): Subject | null {
    const { clients } = this.#node;
    const heads = [...clients.handles.keys()].sort((a, b) => a - b);
    const head = heads[volume % heads.length];
    const layer = head === undefined ? undefined : this.#layer(head);
    if (layer === undefined) return null;
    return { handle: clients.handles.get(head)!, volume: layer.birth.volume };
  }

  /** Layers of a volume: its head and its snapshots. */
  #own(volume: number): LayerHistory[] {
    return this.#node.expectations.history.alive().filter(({ birth }) => birth.volume === volume);
  }

  #row(volume: number): KeyRow | null {
    const [layer] = this.#own(volume);
    return layer === undefined ? null : this.#node.control.keysOf(layer, this.#node.expectations.history);
  }

  /** Gives a volume a new data key, turns its encryption on, or off. */
  async rekey(step: Extract<Step, { kind: 'rekey' }>): Promise<void> {
    const subject = this.#subject(step.volume);
    const row = subject === null ? null : this.#row(subject.volume);
    if (subject === null || row === null || this.#changing.has(subject.handle)) return;
    if (step.encrypt ? row.numbers.length >= KEYS_MAX : !row.encrypted) return;
    const { keys } = this.#node.control;
    const next = step.encrypt
      ? { ...row, encrypted: true, numbers: [...row.numbers, keys.draw()] }
      : { ...row, encrypted: false, plain: true };
    const change = this.#change(subject, next);
    if (step.wait) await this.#node.until(change);
  }

  /** The row first, then writes follow. False when they have not. */
  async #change({ handle, volume }: Subject, next: KeyRow): Promise<boolean> {
    const node = this.#node;
    const { keys } = node.control;
    const rekey = (): Promise<void> =>
      handle.rekey(headKeysOf(next), async () => {
        await node.machine.time.sleep(1, node.machine.process);
        keys.put(volume, next);
      });
    const change = this.#verbs.run('rekey', rekey, 'CLOSED').then((code) => code === '');
    this.#changing.set(handle, change);
    const followed = await change;
    if (followed || keys.get(volume) !== next) this.#changing.delete(handle);
    return followed;
  }

  /** Resolves when no change of its keys is under way any more. */
  async changed(handle: VolumeHandle): Promise<void> {
    await this.#changing.get(handle);
  }

  async reseal(step: Extract<Step, { kind: 'reseal' }>): Promise<void> {
    if (step.end) {
      this.#resealing?.ending.abort();
      return;
    }
    const subject = this.#subject(step.volume);
    if (subject === null) return;
    const reseal = this.#reseal(subject);
    if (step.wait) await this.#node.until(reseal);
  }

  /** When nothing goes wrong any more, everything can be sealed anew, but for what is shared. */
  async resealAll(): Promise<void> {
    const node = this.#node;
    await node.until(this.#running()?.ended ?? Promise.resolve());
    if (node.machine.limited) return;
    for (const handle of [...node.clients.handles.values()]) {
      const layer = this.#layer(node.clients.layerOf(handle) ?? 0);
      if (layer === undefined) continue;
      const subject = { handle, volume: layer.birth.volume };
      await node.until(this.changed(handle));
      for (let n = 0; this.#sharers(subject.volume).length === 0; n += 1) {
        const row = this.#row(subject.volume);
        if (row === null || retiredNumbersOf(row).length === 0) break;
        if (n === RESEALS_MAX) throw new Violation(`volume ${subject.volume} is not sealed anew in ${n} tries`);
        await node.until(this.#reseal(subject));
        node.throwViolation();
      }
    }
  }

  #sharers(volume: number): number[] {
    return sharersOf(this.#node.machine.manager!.layers(), new Set(this.#own(volume).map(({ id }) => id)));
  }

  /** The one that runs; one of a process that has died runs no more. */
  #running(): Resealing | null {
    const { clients } = this.#node;
    const running = this.#resealing;
    return running !== null && clients.layerOf(running.handle) !== null ? running : null;
  }

  async #reseal(subject: Subject): Promise<void> {
    if (this.#running() !== null) return;
    const running = { handle: subject.handle, ending: new AbortController(), ended: Promise.resolve() };
    this.#resealing = running;
    running.ended = this.#resealNow(subject, running.ending.signal).finally(() => {
      if (this.#resealing === running) this.#resealing = null;
    });
    await running.ended;
  }

  async #resealNow(subject: Subject, signal: AbortSignal): Promise<void> {
    const { handle, volume } = subject;
    if ((await this.#changing.get(handle)) === false) return;
    const row = this.#row(volume);
    if (row === null || retiredNumbersOf(row).length === 0) return;
    // Whoever reads its snapshots can open what is sealed anew, before anything is.
    await this.#rekeySnapshots(volume, row);
    const outcome = await this.#run(subject, row, signal);
    if (outcome !== null) await this.#unneeded(subject, outcome, sealingNumberOf(row));
  }

  async #run({ handle, volume }: Subject, row: KeyRow, signal: AbortSignal): Promise<ResealOutcome | null> {
    const node = this.#node;
    let outcome: ResealOutcome | null = null;
    const run = async (): Promise<void> => {
      outcome = await handle.reseal({
        numbers: retiredNumbersOf(row),
        under: sealingNumberOf(row),
        own: () => this.#own(volume).map(({ id }) => id),
        signal,
        told: () => undefined,
      });
    };
    // A journal with a limit of its own may have no room for it.
    const mayFailWith = node.machine.limited ? ['CLOSED', 'FULL'] : ['CLOSED'];
    return (await this.#verbs.run('reseal', run, ...mayFailWith)) === '' ? outcome : null;
  }

  /** What no block is under any more is taken from the row: from here on everything must be readable without it. */
  async #unneeded(subject: Subject, { gone, sealedBlocks }: ResealOutcome, under: number): Promise<void> {
    const node = this.#node;
    const { clients, control } = node;
    const { volume, handle } = subject;
    node.trace.add(`volume ${volume}: ${sealedBlocks} blocks are sealed anew; gone are ${gone.join()}`);
    while (this.#changing.has(handle)) if ((await this.#changing.get(handle)) === false) return;
    for (const number of gone) {
      const row = this.#row(volume);
      if (row === null || sealingNumberOf(row) !== under || this.#sharers(volume).length > 0) return;
      control.keys.put(volume, without(row, number));
    }
    const row = this.#row(volume);
    if (gone.length === 0 || row === null || clients.layerOf(handle) === null) return;
    node.count('old key destroyed');
    if (!(await this.#change(subject, row))) return;
    await this.#rekeySnapshots(volume, row);
    if (node.machine.store?.state === 'ready') node.look();
    await clients.readAll(node.machine.random, new Set(this.#own(volume).map(({ id }) => id)));
  }

  async #rekeySnapshots(volume: number, row: KeyRow): Promise<void> {
    for (const { id } of this.#own(volume)) {
      const handle = this.#node.clients.snapshots.get(id);
      if (handle === undefined) continue;
      const rekey = (): Promise<void> => handle.rekey(headKeysOf(row), () => Promise.resolve());
      await this.#verbs.run('rekey of a snapshot', rekey, 'CLOSED');
    }
  }
}
