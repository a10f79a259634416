import { Operation } from '../../src/device/block-device.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import type { KeySteps } from './key-steps.js';
import { Violation } from './expectations.js';
import type { LayerHistory } from './journal-history.js';
import { checkDifference, checkSums, checkUsage } from './layer-checks.js';
import type { Step } from './script.js';
import type { SimulatedNode } from './simulated-node.js';
import type { Verbs } from './verbs.js';

const VOLUMES_MAX = 5;
const SNAPSHOTS_MAX = 10;
const WRITES_AROUND_FREEZE = 2;
/** A merge that has failed is tried again after a second; more than a few do not fail when nothing else does. */
const MERGE_PATIENCE_MS = 1200;
const MERGES_MAX = 8;
const COMPARISONS = 4;

/** Steps that change the tree of layers, as the control plane asks for them, and the comparisons of layers. */
export class LayerSteps {
  readonly #node: SimulatedNode;
  readonly #verbs: Verbs;
  readonly #keys: KeySteps;
  /** Freezes under way, by each volume that takes part. */
  readonly #freezes = new Map<VolumeHandle, Promise<void>>();

  constructor(node: SimulatedNode, verbs: Verbs, keys: KeySteps) {
    this.#node = node;
    this.#verbs = verbs;
    this.#keys = keys;
  }

  /** Open volumes, by head. */
  #volumes(): [number, VolumeHandle][] {
    return [...this.#node.clients.handles].sort(([a], [b]) => a - b);
  }

  /** Frozen layers that the control plane knows as such. */
  #snapshots(): LayerHistory[] {
    const { control, expectations } = this.#node;
    return expectations.history.snapshots().filter(({ id }) => !control.hasHead(id));
  }

  #layer(id: number | null): LayerHistory | undefined {
    return id === null ? undefined : this.#node.expectations.history.layers.get(id);
  }

  async create(blockBytes: number, blocks: number, parent?: number): Promise<boolean> {
    const node = this.#node;
    if (node.clients.handles.size >= VOLUMES_MAX + (parent === undefined ? 0 : 1)) return false;
    let layer = 0;
    const make = async (): Promise<void> => {
      layer = await node.machine.manager!.createLayer(blockBytes, blocks * blockBytes, parent as LayerId | undefined);
    };
    if ((await node.until(this.#verbs.run(parent === undefined ? 'create' : 'clone', make))) !== '') return false;
    this.#verbs.promised(`layer ${layer}`, this.#layer(layer)?.bornAt);
    node.control.record(layer, layer);
    node.adopt();
    return true;
  }

  /** Closes a volume when nothing of it is under way, and gives its head; null when there is none. */
  async #close(handle: VolumeHandle | undefined): Promise<number | null> {
    const node = this.#node;
    const { clients } = node;
    if (handle === undefined) return null;
    await node.until(this.#freezes.get(handle) ?? Promise.resolve());
    // Of one volume a control plane does one thing at a time.
    await node.until(this.#keys.changed(handle));
    await node.until(clients.settled());
    clients.leaving.add(handle);
    await node.until(handle.close());
    clients.leaving.delete(handle);
    // A freeze that was lost when the store reopened has given it another head.
    await node.served();
    const layer = clients.layerOf(handle);
    if (layer === null) return null;
    clients.handles.delete(layer);
    node.expectations.forgetHandle(layer);
    return layer;
  }

  async #drop(layer: number): Promise<void> {
    const node = this.#node;
    const volume = this.#layer(layer)?.birth.volume;
    const frozen = this.#layer(layer)?.frozen;
    const { manager } = node.machine;
    if ((await node.until(this.#verbs.run('drop', () => manager!.dropLayer(layer as LayerId)))) !== '') return;
    this.#verbs.promised(`the drop of layer ${layer}`, this.#layer(layer)?.droppedAt);
    if (volume !== undefined && frozen === false) node.control.forget(volume);
  }

  async detach(volume: number, drop: boolean): Promise<void> {
    const volumes = this.#volumes();
    const layer = await this.#close(volumes[volume % volumes.length]?.[1]);
    if (layer !== null && drop) await this.#drop(layer);
  }

  async expand(volume: number, blocks: number): Promise<void> {
    const node = this.#node;
    const volumes = this.#volumes();
    const handle = volumes[volume % volumes.length]?.[1];
    if (handle === undefined) return;
    const { blockBytes } = handle;
    const sizeBytes = handle.sizeBytes + blocks * blockBytes;
    if ((await node.until(this.#verbs.run('expand', () => handle.expand(sizeBytes)))) !== '') return;
    const sizes = this.#layer(node.clients.layerOf(handle))?.sizes;
    const grown = sizes?.find((size) => size.blocks * blockBytes >= sizeBytes);
    this.#verbs.promised(`a growth to ${sizeBytes}`, grown?.sequence);
  }

  /** Freezes one volume, or some as a group, with writes before and behind it; perhaps without waiting for the answer. */
  async freeze(step: Extract<Step, { kind: 'freeze' }>): Promise<void> {
    const node = this.#node;
    const { clients, machine } = node;
    if (machine.store!.state !== 'ready') return;
    const volumes = this.#volumes().filter(([, handle]) => !this.#freezes.has(handle));
    const count = Math.min(step.group, volumes.length);
    if (count === 0 || this.#snapshots().length + count > SNAPSHOTS_MAX) return;
    const first = step.volume % volumes.length;
    const group = Array.from({ length: count }, (_, n) => volumes[(first + n) % volumes.length]);
    const heads = group.map(([head]) => head);
    const write = (head: number): void => {
      const { sizeBytes, blockBytes } = clients.handles.get(head)!;
      for (let n = 0; n < WRITES_AROUND_FREEZE; n += 1) {
        const at = machine.random.below(sizeBytes / blockBytes) * blockBytes;
        void clients.write(head, at, blockBytes, 1 + machine.random.below(2 ** 30));
      }
    };
    if (step.writes) for (const head of heads) write(head);
    const freeze = this.#freezeNow(heads).finally(() => {
      for (const [, handle] of group) this.#freezes.delete(handle);
    });
    for (const [, handle] of group) this.#freezes.set(handle, freeze);
    if (step.writes) for (const head of heads) write(head);
    if (step.wait) await node.until(freeze);
  }

  async #freezeNow(heads: readonly number[]): Promise<void> {
    const node = this.#node;
    let children: number[] = [];
    const freeze = async (): Promise<void> => {
      children = await node.machine.manager!.freeze(heads as LayerId[]);
    };
    if ((await this.#verbs.run(heads.length > 1 ? 'freeze of a group' : 'freeze', freeze)) !== '') {
      node.control.uncertain = true;
      return;
    }
    node.guard(() => {
      const born = children.map((child) => this.#layer(child));
      const at = born[0]?.bornAt;
      this.#verbs.promised(`the freeze of ${heads.join()}`, at);
      for (const [n, head] of heads.entries()) {
        const child = born[n];
        if (child?.parent !== head || child.bornAt !== at || !child.birth.follows) {
          throw new Violation(`the freeze of ${heads.join()} gives layer ${head} the head ${children[n]}`);
        }
        node.control.record(child.birth.volume, child.id);
      }
    });
  }

  async clone(snapshot: number, moreBlocks: number): Promise<void> {
    const snapshots = this.#snapshots();
    if (snapshots.length === 0) return;
    const { id, blockBytes, sizeBlocks } = snapshots[snapshot % snapshots.length];
    await this.create(blockBytes, Math.max(1, sizeBlocks + moreBlocks), id);
  }

  /** A new child of a snapshot becomes the head of a volume that descends from it; the old head is dropped. */
  async revert(snapshot: number, volume: number): Promise<void> {
    const snapshots = this.#snapshots();
    if (snapshots.length === 0) return;
    const to = snapshots[snapshot % snapshots.length];
    const volumes = this.#volumes().filter(([head]) => this.#descends(head, to.id));
    const old = await this.#close(volumes[volume % volumes.length]?.[1]);
    if (old === null || !(await this.create(to.blockBytes, to.sizeBlocks, to.id))) return;
    this.#node.count('revert');
    // The volume of before was taken in again while it was the only one.
    const handle = this.#node.clients.handles.get(old);
    const again = handle === undefined ? old : await this.#close(handle);
    if (again !== null) await this.#drop(again);
  }

  #descends(layer: number, from: number): boolean {
    for (let each = this.#layer(layer); each !== undefined; each = this.#layer(each.parent)) {
      if (each.id === from) return true;
    }
    return false;
  }

  async discard(snapshot: number): Promise<void> {
    const node = this.#node;
    const { clients } = node;
    const snapshots = this.#snapshots();
    if (snapshots.length === 0) return;
    const { id } = snapshots[snapshot % snapshots.length];
    const handle = clients.snapshots.get(id);
    if (handle !== undefined) {
      clients.leaving.add(handle);
      await node.until(handle.close());
      clients.leaving.delete(handle);
    }
    clients.snapshots.delete(id);
    node.expectations.forgetHandle(id);
    await this.#drop(id);
  }

  /** Reads some of a frozen layer, and tries to write to it. */
  look(step: Extract<Step, { kind: 'look' }>): void {
    const node = this.#node;
    const { clients } = node;
    if (node.machine.store!.state !== 'ready') return;
    node.look();
    const open = [...clients.snapshots].sort(([a], [b]) => a - b);
    if (open.length === 0) return;
    const [layer, { blockBytes, sizeBytes }] = open[step.snapshot % open.length];
    const offset = Math.floor(((step.at / 65_536) * sizeBytes) / blockBytes) * blockBytes;
    const length = Math.min(Math.ceil(step.lengthBytes / blockBytes) * blockBytes, sizeBytes - offset);
    void clients.submit(Operation.READ, layer, offset, length);
    if (step.write) void clients.write(layer, offset, blockBytes, step.seed);
  }

  /** Comparisons while everything goes on: what they say is of no moment, but they say something. */
  compareBusily(): void {
    const { machine, expectations } = this.#node;
    const manager = machine.manager!;
    const layers = expectations.history.alive().filter(({ bornAt }) => bornAt <= expectations.durable);
    if (layers.length === 0 || machine.store!.state !== 'ready') return;
    const pick = (): LayerHistory => layers[machine.random.below(layers.length)];
    const known = new Set<number>(manager.layers().flatMap(({ layer, hidden }) => (hidden ? [] : [layer])));
    const [from, to] = [pick(), pick()];
    if (!known.has(from.id) || !known.has(to.id)) return;
    // They may be dropped meanwhile.
    const gone = 'UNKNOWN_LAYER';
    void this.#verbs.run('usage while busy', () => manager.usage(to.id as LayerId), gone);
    if (from.birth.root !== to.birth.root) return;
    void this.#verbs.run('diff while busy', () => manager.diff(from.id as LayerId, to.id as LayerId, 0, 1000), gone);
  }

  /** When nothing is under way any more and all merges are done, the tree, sums, usage and differences are exact. */
  async compare(): Promise<void> {
    const node = this.#node;
    const { clients, machine, expectations } = node;
    machine.faults.disarm();
    for (const [, handle] of this.#volumes()) await node.until(this.#freezes.get(handle) ?? Promise.resolve());
    await node.until(clients.settled());
    await node.ready();
    if (machine.halfRead || expectations.damaged || expectations.history.layers.size === 0) return;
    if (!(await this.#merged())) return;
    const manager = machine.manager!;
    if ((await node.until(this.#verbs.run('checkpoint', () => manager.checkpoint()))) !== '') return;
    const { history } = node.expectations;
    checkSums(manager.layers(), history);
    const layers = history.alive();
    const { random } = machine;
    for (let n = 0; n < COMPARISONS && layers.length > 0; n += 1) {
      const to = layers[random.below(layers.length)];
      const family = layers.filter(({ birth }) => birth.root === to.birth.root);
      const from = random.below(4) === 0 ? null : family[random.below(family.length)];
      const rangesMax = 1 + random.below(random.below(2) === 0 ? 5 : 500);
      const usage = this.#verbs.run('usage', async () =>
        checkUsage(await manager.usage(to.id as LayerId), to, history),
      );
      await node.until(usage);
      await node.until(this.#verbs.run('diff', () => checkDifference(manager, from, to, rangesMax)));
      node.throwViolation();
    }
    node.count('comparison');
  }

  /** Waits for the merges; false when the disk was full, so that they need not have come to an end. */
  async #merged(): Promise<boolean> {
    const node = this.#node;
    const { machine } = node;
    const sinceMs = machine.time.nowMs - 2 * MERGE_PATIENCE_MS;
    let is = '';
    let should = '';
    for (let n = 0; n < MERGES_MAX; n += 1) {
      await node.until(machine.store!.merged());
      should = treeOf([...node.expectations.history.settledTree()]);
      is = treeOf(machine.manager!.layers().map(({ layer, parent }) => [layer, parent ?? 0]));
      if (is === should) return true;
      await node.sleep(MERGE_PATIENCE_MS);
      await node.ready();
    }
    if (machine.faults.noSpaceAtMs >= sinceMs) return false;
    throw new Violation(`when everything is merged the layers are ${is}; ${should} would be right`);
  }
}

function treeOf(rows: readonly (readonly [number, number])[]): string {
  return rows
    .toSorted(([a], [b]) => a - b)
    .map(([layer, parent]) => (parent === 0 ? `${layer}` : `${layer} of ${parent}`))
    .join();
}
