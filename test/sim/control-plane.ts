import type { LayerSummary } from '../../src/volume/volume-host.js';
import { Violation } from './expectations.js';
import type { JournalHistory, LayerHistory } from './journal-history.js';
import { VolumeKeys, type KeyRow } from './volume-keys.js';

/**
 * What the control plane has recorded: each volume's head, as far as the store has answered. What a crash or a failure left
 * in between it finds out from what the store says alone, and must come to what the journal says.
 */
export class ControlPlane {
  /** Head by volume, which is its first layer. */
  readonly #heads = new Map<number, number>();
  /** A verb has failed: it may have happened all the same. */
  uncertain = false;

  constructor(readonly keys = new VolumeKeys()) {}

  copy(): ControlPlane {
    const copy = new ControlPlane(this.keys.copy());
    for (const [volume, head] of this.#heads) copy.#heads.set(volume, head);
    return copy;
  }

  /** The keys of the volume of a layer. A clone is opened before it is frozen: its first layer is the one that has a parent. */
  keysOf({ birth }: LayerHistory, history: JournalHistory): KeyRow {
    return this.keys.rowOf(birth, birth.follows ? undefined : history.layers.get(birth.parent)?.birth);
  }

  record(volume: number, head: number): void {
    this.#heads.set(volume, head);
  }

  forget(volume: number): void {
    this.#heads.delete(volume);
  }

  /** Whether it takes a layer for the head of a volume: then it is no snapshot of anybody's yet. */
  hasHead(layer: number): boolean {
    return [...this.#heads.values()].includes(layer);
  }

  /**
   * A volume whose head the store says is frozen has its newest child as its head; one whose head is gone is gone, and a
   * head of nobody is taken in.
   */
  reconcile(layers: readonly LayerSummary[], history: JournalHistory): void {
    this.uncertain = false;
    const byId = new Map<number, LayerSummary>(layers.map((layer) => [layer.layer, layer]));
    for (const [volume, recorded] of this.#heads) {
      let head = byId.get(recorded);
      while (head?.state === 'frozen') {
        const parent = head.layer;
        const children = layers.filter((each) => each.parent === parent);
        head = children.length === 0 ? undefined : children.reduce((a, b) => (b.layer > a.layer ? b : a));
      }
      if (head === undefined) this.#heads.delete(volume);
      else this.#heads.set(volume, head.layer);
    }
    for (const { id, birth } of history.heads()) {
      const head = this.#heads.get(birth.volume) ?? id;
      if (head !== id) throw new Violation(`volume ${birth.volume} goes on in layer ${head}: its head is layer ${id}`);
      this.#heads.set(birth.volume, id);
    }
  }
}
