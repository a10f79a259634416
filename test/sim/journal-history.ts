/**
 * The journal as the disk's twin saw it being appended: the one order of all changes of all volumes (P3). It is decoded
 * here once more, from the bytes, with the offsets of src/store/journal/record.ts typed out.
 */
import type { SealedRecord } from './block-seal.js';

const KIND = { WRITE: 1, HOLE: 2, RELOCATE: 3, BARRIER: 4, OPEN: 5, MERGE: 6, DROP: 7, PAD: 8 } as const;

/** What a block held from a journal sequence on. */
export interface Version {
  readonly sequence: number;
  /** null: zeros. */
  readonly content: Uint8Array | null;
  /** Where its sealed block lies; null for zeros. */
  readonly place: Place | null;
}

export interface Place {
  readonly path: string;
  readonly offset: number;
  readonly storedBytes: number;
}

/** Where a layer comes from. */
export interface Birth {
  readonly id: number;
  readonly blockBytes: number;
  readonly bornAt: number;
  /** 0: none. */
  readonly parent: number;
  /** It is the head of its parent's volume: a BARRIER made it. */
  readonly follows: boolean;
  /** First layer of its volume: heads that follow each other are one volume. */
  readonly volume: number;
  /** When its volume began. */
  readonly volumeBornAt: number;
  /** The layer without a parent that it descends from. */
  readonly root: number;
}

/**
 * One layer's life. Rows are in journal order; the first version of every block is zeros from the birth of the volume, or of
 * an ancestor: a child begins with what its parent has at that moment, and from then on each goes its own way.
 */
export class LayerHistory {
  readonly blocks = new Map<number, Version[]>();
  readonly sizes: { sequence: number; blocks: number }[] = [];
  frozenAt = Number.POSITIVE_INFINITY;
  droppedAt = Number.POSITIVE_INFINITY;

  constructor(readonly birth: Birth) {}

  static rootOf(entry: JournalEntry): LayerHistory {
    const { layer: id, blockBytes, sequence: bornAt } = entry;
    const own = { volume: id, volumeBornAt: bornAt, root: id };
    return new LayerHistory({ id, blockBytes, bornAt, parent: 0, follows: false, ...own });
  }

  /** A child as it is born. The versions themselves are shared: who shows the same one shows the same write. */
  bear(id: number, bornAt: number, follows: boolean, sizeBlocks = this.sizeBlocks): LayerHistory {
    const { blockBytes, root } = this.birth;
    const { volume, volumeBornAt } = follows ? this.birth : { volume: id, volumeBornAt: bornAt };
    const child = new LayerHistory({ id, blockBytes, bornAt, parent: this.id, follows, volume, volumeBornAt, root });
    // A smaller one never shows what lies past its end, however it grows.
    for (const [block, versions] of this.blocks) if (block < sizeBlocks) child.blocks.set(block, [...versions]);
    if (follows) child.sizes.push(...this.sizes);
    return child;
  }

  get id(): number {
    return this.birth.id;
  }

  get blockBytes(): number {
    return this.birth.blockBytes;
  }

  get bornAt(): number {
    return this.birth.bornAt;
  }

  get parent(): number {
    return this.birth.parent;
  }

  get frozen(): boolean {
    return this.frozenAt !== Number.POSITIVE_INFINITY;
  }

  /** The newest record that changed what it shows, or could have: its birth, or the end of its changes. */
  get settledAt(): number {
    return this.frozen ? this.frozenAt : this.bornAt;
  }

  get sizeBlocks(): number {
    let most = 0;
    for (const { blocks } of this.sizes) most = Math.max(most, blocks);
    return most;
  }

  get alive(): boolean {
    return this.droppedAt === Number.POSITIVE_INFINITY;
  }

  versions(block: number): readonly Version[] {
    return this.blocks.get(block) ?? [];
  }

  latest(block: number): Uint8Array | null {
    return this.blocks.get(block)?.at(-1)?.content ?? null;
  }

  /** The write that a block shows; null for zeros. */
  shown(block: number): Version | null {
    const version = this.blocks.get(block)?.at(-1);
    return version === undefined || version.content === null ? null : version;
  }

  copy(): LayerHistory {
    const copy = new LayerHistory(this.birth);
    for (const [block, versions] of this.blocks) copy.blocks.set(block, [...versions]);
    copy.sizes.push(...this.sizes);
    copy.frozenAt = this.frozenAt;
    copy.droppedAt = this.droppedAt;
    return copy;
  }
}

export interface BlockChange {
  readonly block: number;
  readonly content: Uint8Array | null;
  readonly place: Place | null;
}

/** A record, decoded. */
export interface JournalEntry {
  readonly sequence: number;
  readonly path: string;
  /** Where the record begins in its file. */
  readonly offset: number;
  readonly layer: number;
  readonly kind: number;
  readonly blockBytes: number;
  /** OPEN: size of the layer in blocks. */
  readonly sizeBlocks: number;
  /** OPEN: the parent, 0 for none. */
  readonly other: number;
  /** MERGE: the layer that begins to go; else 0. */
  readonly merged: number;
  /** BARRIER: who freezes, and who is the head then. */
  readonly pairs: readonly { readonly head: number; readonly child: number }[];
  /** Sequence up to which the record says everything is durable. */
  readonly durableUpTo: number;
  readonly changes: readonly BlockChange[];
}

/** Records of moved blocks are in segments beside the journal, whatever else is in the same append. */
export function isBesideJournal(records: readonly SealedRecord[]): boolean {
  return records.length > 0 && kindOf(records[0].header) === KIND.RELOCATE;
}

function kindOf(header: Uint8Array): number {
  return new DataView(header.buffer, header.byteOffset, header.byteLength).getUint16(6, true);
}

export function decodeEntry(path: string, record: SealedRecord): JournalEntry {
  const { header } = record;
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const u64 = (at: number): number => Number(view.getBigUint64(at, true));
  const kind = view.getUint16(6, true);
  const log2 = view.getUint32(68, true);
  const changes: BlockChange[] = [];
  let next = 0;
  if (kind === KIND.WRITE || kind === KIND.HOLE || kind === KIND.RELOCATE) {
    for (let n = 0; n < view.getUint32(60, true); n += 1) {
      const at = 96 + 16 * n;
      const first = u64(at);
      const flags = view.getUint32(at + 12, true);
      // Of a RELOCATE every other row says where the blocks of the one before it lay.
      if ((flags & 2) !== 0) continue;
      const zeros = (flags & 1) !== 0;
      for (let block = first; block < first + view.getUint32(at + 8, true); block += 1) {
        if (zeros) changes.push({ block, content: null, place: null });
        else {
          const sealed = record.blocks[next++];
          const place = { path, offset: sealed.offset, storedBytes: sealed.storedBytes };
          changes.push({ block, content: sealed.plain, place });
        }
      }
    }
  }
  const pairs: { head: number; child: number }[] = [];
  if (kind === KIND.BARRIER) {
    for (let n = 0; n < view.getUint32(60, true); n += 2) {
      const at = 96 + 16 * n;
      pairs.push({ head: u64(at), child: view.getUint32(at + 8, true) });
    }
  }
  return {
    sequence: u64(24),
    path,
    offset: record.offset,
    layer: u64(32),
    kind,
    blockBytes: log2 === 0 ? 0 : 2 ** log2,
    sizeBlocks: kind === KIND.OPEN ? u64(96) : 0,
    other: u64(80),
    merged: kind === KIND.MERGE ? u64(32) : 0,
    pairs,
    durableUpTo: u64(48),
    changes,
  };
}

export class JournalHistory {
  readonly layers = new Map<number, LayerHistory>();
  /** Where the records lie that count. */
  headers: { readonly sequence: number; readonly path: string; readonly offset: number; readonly verb: boolean }[] = [];
  /** Sequence of the newest record. */
  last = 0;

  /** Adds what an append is about to write. '' or what is wrong with it. */
  add(entry: JournalEntry): string {
    if (entry.sequence !== this.last + 1) return `record ${entry.sequence} follows record ${this.last}`;
    this.last = entry.sequence;
    const verb = entry.kind > KIND.HOLE && entry.kind !== KIND.PAD;
    this.headers.push({ sequence: entry.sequence, path: entry.path, offset: entry.offset, verb });
    if (entry.kind === KIND.PAD) return '';
    if (entry.kind === KIND.BARRIER) return this.#freeze(entry);
    if (entry.kind === KIND.MERGE) return this.#merge(entry);
    const layer = this.layers.get(entry.layer);
    if (entry.kind === KIND.OPEN) return this.#open(entry, layer);
    if (layer === undefined || !layer.alive)
      return `record ${entry.sequence} is of layer ${entry.layer}, which is not there`;
    if (entry.kind === KIND.DROP) {
      layer.droppedAt = entry.sequence;
      return '';
    }
    if (layer.frozen) return `record ${entry.sequence} changes layer ${entry.layer}, which is frozen`;
    for (const { block, content, place } of entry.changes) {
      let versions = layer.blocks.get(block);
      if (versions === undefined) {
        if (content === null) continue;
        // A freeze changes nothing: what nobody had written before it was zeros since the volume began.
        layer.blocks.set(block, (versions = [{ sequence: layer.birth.volumeBornAt, content: null, place: null }]));
      }
      versions.push({ sequence: entry.sequence, content, place });
    }
    return '';
  }

  #open(entry: JournalEntry, known: LayerHistory | undefined): string {
    let layer = known;
    if (layer === undefined) {
      const parent = this.layers.get(entry.other);
      if (entry.other !== 0 && (parent === undefined || !parent.frozen || !parent.alive)) {
        return `record ${entry.sequence} makes layer ${entry.layer} from layer ${entry.other}, which is no snapshot`;
      }
      layer = parent?.bear(entry.layer, entry.sequence, false, entry.sizeBlocks) ?? LayerHistory.rootOf(entry);
      this.layers.set(entry.layer, layer);
    }
    if (!layer.alive || layer.frozen) return `record ${entry.sequence} opens layer ${entry.layer} again`;
    layer.sizes.push({ sequence: entry.sequence, blocks: entry.sizeBlocks });
    return '';
  }

  #freeze(entry: JournalEntry): string {
    for (const { head: id, child } of entry.pairs) {
      const head = this.layers.get(id);
      if (head === undefined || !head.alive || head.frozen) return `record ${entry.sequence} freezes layer ${id}`;
      if (this.layers.has(child)) return `record ${entry.sequence} makes layer ${child} again`;
      head.frozenAt = entry.sequence;
      this.layers.set(child, head.bear(child, entry.sequence, true));
    }
    return '';
  }

  /** Changes nothing that anybody sees; but who is merged is nobody's, and his heir descends from him. */
  #merge(entry: JournalEntry): string {
    const layer = this.layers.get(entry.layer);
    if (layer === undefined) return '';
    const heirs = this.#childrenLeft(layer);
    // Layers that are over at a durable sequence are forgotten; what was merged before may be among them.
    if (!layer.alive && heirs.length === 1) return '';
    return `record ${entry.sequence} merges layer ${entry.layer}, which has ${heirs.length} children`;
  }

  /** Layers that were made from this one, those from hidden ones that are merged by now among them. */
  #childrenLeft(layer: LayerHistory): LayerHistory[] {
    const direct = [...this.layers.values()].filter((each) => each.parent === layer.id);
    return direct.flatMap((child) => {
      if (child.alive) return [child];
      const below = this.#childrenLeft(child);
      return below.length > 1 ? [child] : below;
    });
  }

  /**
   * What is left when every hidden layer that can go has gone, parents by id (0: none): those that are there, and of the
   * dropped ones those that several others are made from.
   */
  settledTree(): Map<number, number> {
    const tree = new Map<number, number>();
    const below = (parent: number, layers: readonly LayerHistory[]): void => {
      for (const layer of layers) {
        tree.set(layer.id, parent);
        below(layer.id, this.#childrenLeft(layer));
      }
    };
    const roots = [...this.layers.values()].filter((layer) => !this.layers.has(layer.parent));
    below(
      0,
      roots.flatMap((root) => (root.alive ? [root] : this.#rootsLeft(root))),
    );
    return tree;
  }

  /** Whether something that was made from this layer is still there. */
  hasLeft(id: number): boolean {
    const layer = this.layers.get(id);
    return layer !== undefined && this.#childrenLeft(layer).length > 0;
  }

  #rootsLeft(root: LayerHistory): LayerHistory[] {
    const children = this.#childrenLeft(root);
    return children.length > 1 ? [root] : children;
  }

  /** The journal goes on at `sequence`: what stood there and behind it never happened. */
  rewind(sequence: number): void {
    for (const layer of [...this.layers.values()]) {
      if (layer.bornAt >= sequence) {
        this.layers.delete(layer.id);
        continue;
      }
      if (layer.droppedAt >= sequence) layer.droppedAt = Number.POSITIVE_INFINITY;
      if (layer.frozenAt >= sequence) layer.frozenAt = Number.POSITIVE_INFINITY;
      while ((layer.sizes.at(-1)?.sequence ?? 0) >= sequence) layer.sizes.pop();
      for (const [block, versions] of layer.blocks) {
        while ((versions.at(-1)?.sequence ?? 0) >= sequence) versions.pop();
        if (versions.length === 1 && versions[0].content === null) layer.blocks.delete(block);
      }
    }
    this.headers = this.headers.filter((header) => header.sequence < sequence);
    this.last = sequence - 1;
  }

  /** Forgets what no crash can bring back: versions and layers that were over at a durable sequence. */
  settle(durable: number): void {
    const parents = new Set<number>();
    // Children have higher ids than their parents; who has some is needed to tell whose child is whose.
    for (const layer of [...this.layers.values()].sort((a, b) => b.id - a.id)) {
      if (layer.droppedAt <= durable && !parents.has(layer.id)) {
        this.layers.delete(layer.id);
        continue;
      }
      parents.add(layer.parent);
      for (const versions of layer.blocks.values()) {
        let keep = versions.length - 1;
        while (keep > 0 && versions[keep].sequence > durable) keep -= 1;
        versions.splice(0, keep);
      }
    }
  }

  /** Layers that are there, by id. */
  alive(): LayerHistory[] {
    return [...this.layers.values()].filter((layer) => layer.alive).sort((a, b) => a.id - b.id);
  }

  /** Layers that can be written to, by id. */
  heads(): LayerHistory[] {
    return this.alive().filter((layer) => !layer.frozen);
  }

  /** Layers that change no more and are somebody's, by id. */
  snapshots(): LayerHistory[] {
    return this.alive().filter((layer) => layer.frozen);
  }

  copy(): JournalHistory {
    const copy = new JournalHistory();
    for (const [id, layer] of this.layers) copy.layers.set(id, layer.copy());
    copy.headers = [...this.headers];
    copy.last = this.last;
    return copy;
  }
}
