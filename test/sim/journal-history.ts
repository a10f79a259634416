/**
 * The journal as the disk's twin saw it being appended: the one order of all changes of all volumes (P3). It is decoded
 * here once more, from the bytes, with the offsets of src/store/journal/record.ts typed out.
 */
import type { SealedRecord } from './block-seal.js';

const KIND = { WRITE: 1, HOLE: 2, OPEN: 5, DROP: 7, PAD: 8 } as const;

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

/** One layer's life. Rows are in journal order; the first version of every block is zeros from its birth. */
export class LayerHistory {
  readonly blocks = new Map<number, Version[]>();
  readonly sizes: { sequence: number; blocks: number }[] = [];
  droppedAt = Number.POSITIVE_INFINITY;

  constructor(
    readonly id: number,
    readonly blockBytes: number,
    readonly bornAt: number,
  ) {}

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

  copy(): LayerHistory {
    const copy = new LayerHistory(this.id, this.blockBytes, this.bornAt);
    for (const [block, versions] of this.blocks) copy.blocks.set(block, [...versions]);
    copy.sizes.push(...this.sizes);
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
  /** Sequence up to which the record says everything is durable. */
  readonly durableUpTo: number;
  readonly changes: readonly BlockChange[];
}

export function decodeEntry(path: string, record: SealedRecord): JournalEntry {
  const { header } = record;
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const u64 = (at: number): number => Number(view.getBigUint64(at, true));
  const kind = view.getUint16(6, true);
  const log2 = view.getUint32(68, true);
  const changes: BlockChange[] = [];
  let next = 0;
  if (kind === KIND.WRITE || kind === KIND.HOLE) {
    for (let n = 0; n < view.getUint32(60, true); n += 1) {
      const at = 96 + 16 * n;
      const first = u64(at);
      const zeros = (view.getUint32(at + 12, true) & 1) !== 0;
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
  return {
    sequence: u64(24),
    path,
    offset: record.offset,
    layer: u64(32),
    kind,
    blockBytes: log2 === 0 ? 0 : 2 ** log2,
    sizeBlocks: kind === KIND.OPEN ? u64(96) : 0,
    durableUpTo: u64(48),
    changes,
  };
}

export class JournalHistory {
  readonly layers = new Map<number, LayerHistory>();
  /** Where the records lie that count. */
  headers: { readonly sequence: number; readonly path: string; readonly offset: number }[] = [];
  /** Sequence of the newest record. */
  last = 0;

  /** Adds what an append is about to write. '' or what is wrong with it. */
  add(entry: JournalEntry): string {
    if (entry.sequence !== this.last + 1) return `record ${entry.sequence} follows record ${this.last}`;
    this.last = entry.sequence;
    this.headers.push({ sequence: entry.sequence, path: entry.path, offset: entry.offset });
    if (entry.kind === KIND.PAD) return '';
    let layer = this.layers.get(entry.layer);
    if (entry.kind === KIND.OPEN) {
      if (layer === undefined) {
        layer = new LayerHistory(entry.layer, entry.blockBytes, entry.sequence);
        this.layers.set(entry.layer, layer);
      }
      if (!layer.alive) return `record ${entry.sequence} opens layer ${entry.layer} again`;
      layer.sizes.push({ sequence: entry.sequence, blocks: entry.sizeBlocks });
      return '';
    }
    if (layer === undefined || !layer.alive)
      return `record ${entry.sequence} is of layer ${entry.layer}, which is not there`;
    if (entry.kind === KIND.DROP) {
      layer.droppedAt = entry.sequence;
      return '';
    }
    for (const { block, content, place } of entry.changes) {
      let versions = layer.blocks.get(block);
      if (versions === undefined) {
        if (content === null) continue;
        layer.blocks.set(block, (versions = [{ sequence: layer.bornAt, content: null, place: null }]));
      }
      versions.push({ sequence: entry.sequence, content, place });
    }
    return '';
  }

  /** The journal goes on at `sequence`: what stood there and behind it never happened. */
  rewind(sequence: number): void {
    for (const layer of [...this.layers.values()]) {
      if (layer.bornAt >= sequence) {
        this.layers.delete(layer.id);
        continue;
      }
      if (layer.droppedAt >= sequence) layer.droppedAt = Number.POSITIVE_INFINITY;
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
    for (const layer of [...this.layers.values()]) {
      if (layer.droppedAt <= durable) {
        this.layers.delete(layer.id);
        continue;
      }
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

  copy(): JournalHistory {
    const copy = new JournalHistory();
    for (const [id, layer] of this.layers) copy.layers.set(id, layer.copy());
    copy.headers = [...this.headers];
    copy.last = this.last;
    return copy;
  }
}
