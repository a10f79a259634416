import { assert } from '../../base/assert.js';
import { SealBatch } from '../../io/seal-batch.js';
import { BATCH_BYTES_MAX, PAGE_BYTES, RECORD_ALIGN_BYTES, RECORD_EXTENTS_MAX } from '../limits.js';
import { packLocation, WHOLE_STORED_UNITS } from '../location.js';
import { encodeExtent, encodeRecordHeader, headerBytesOf, RECORD_HEADER_BYTES, RecordKind } from './record.js';

/** What the journal needs to know of a layer. */
export interface JournalLayer {
  readonly id: number;
  readonly blockBytes: number;
  /** Ordinal of its newest record; counted up as records are built. */
  ordinal: number;
}

/** The segment and position that a batch is built for. */
export interface BatchStart {
  readonly slot: number;
  readonly generation: number;
  readonly stampLow: number;
  readonly stampHigh: number;
  readonly offset: number;
  /** Records must end here. */
  readonly limit: number;
  readonly sequence: number;
  readonly durableUpTo: number;
}

/** One published extent: `location` is 0 for zeros. */
export interface Publication<L extends JournalLayer> {
  layer: L;
  first: number;
  count: number;
  location: number;
  sequence: number;
}

const ALIGN = RECORD_ALIGN_BYTES;
/** A BARRIER tells of a head in two extents. */
const BARRIER_EXTENTS = 2;
/** Heads that one BARRIER can freeze. */
export const BARRIER_HEADS_MAX = Math.floor(RECORD_EXTENTS_MAX / BARRIER_EXTENTS);
/** Shortest PAD: a header without extents, aligned. */
const PAD_BYTES_MIN = Math.ceil(RECORD_HEADER_BYTES / ALIGN) * ALIGN;

/**
 * Records gathered for one append. Positions and locations are settled here, before a byte is sealed, so that
 * publishing after the append is a walk over numbers.
 *
 * Use: `start`, then per layer run `openRecord`, `addData`/`addZeros`, `closeRecord`; layer verbs through `addVerb`;
 * `addPad` last. Objects are reused from batch to batch.
 */
export class AppendBatch<L extends JournalLayer> {
  readonly seal = new SealBatch();
  /** Rows [0, publicationCount) are valid. */
  readonly publications: Publication<L>[] = [];
  publicationCount = 0;
  /** Offset in the segment where the next record would start; after the last one, where the append ends. */
  position = 0;
  sequence = 0;
  payloadBytes = 0;
  #start: BatchStart | null = null;
  #layer: L | null = null;
  #epoch = 0;
  #firstBlock = 0;
  #extents: { first: number; count: number; zeros: boolean }[] = [];
  #extentCount = 0;

  get start(): BatchStart {
    assert(this.#start !== null, 'a batch was begun');
    return this.#start;
  }

  get empty(): boolean {
    return this.seal.recordCount === 0 && this.#extentCount === 0;
  }

  begin(start: BatchStart): void {
    this.seal.clear();
    this.seal.generation = start.generation;
    this.#start = start;
    this.publicationCount = 0;
    this.position = start.offset;
    this.sequence = start.sequence;
    this.payloadBytes = 0;
    this.#layer = null;
    this.#extentCount = 0;
  }

  /** Ends the open record unless it belongs to this layer and epoch, and opens one. */
  openRecord(layer: L, epoch: number): void {
    if (this.#layer === layer && this.#epoch === epoch && this.#extentCount < RECORD_EXTENTS_MAX - 2) return;
    this.closeRecord();
    this.#layer = layer;
    this.#epoch = epoch;
    this.#firstBlock = this.seal.blockCount;
    this.#extentCount = 0;
  }

  /** How many more blocks of the open record's layer fit, with one more extent. */
  room(): number {
    const layer = this.#layer;
    assert(layer !== null, 'room is asked of an open record');
    const unit = layer.blockBytes / 64;
    const stored = unit * WHOLE_STORED_UNITS;
    const blocks = this.seal.blockCount - this.#firstBlock;
    const head = headerBytesOf(this.#extentCount + 1) + unit + ALIGN;
    const segmentRoom = this.start.limit - this.position - head - blocks * stored;
    const batchRoom = BATCH_BYTES_MAX - this.payloadBytes;
    return Math.max(0, Math.floor(Math.min(segmentRoom / stored, batchRoom / layer.blockBytes)));
  }

  /** Whether an extent of zeros fits into the open record. */
  roomForZeros(): boolean {
    return this.#extentCount < RECORD_EXTENTS_MAX && (this.room() > 0 || this.#headRoom());
  }

  #headRoom(): boolean {
    const layer = this.#layer as L;
    const unit = layer.blockBytes / 64;
    const blocks = this.seal.blockCount - this.#firstBlock;
    const end =
      this.position + headerBytesOf(this.#extentCount + 1) + unit + ALIGN + blocks * unit * WHOLE_STORED_UNITS;
    return end <= this.start.limit;
  }

  /** Adds a data block at the end of the record. The caller has checked `room`. */
  addBlock(index: number, source: number, sourceOffset: number, sealingKey: number, counter: number): void {
    const layer = this.#layer as L;
    this.#extend(index, 1, false);
    this.seal.addBlock(source, sourceOffset, sealingKey, this.#epoch, index, counter);
    this.payloadBytes += layer.blockBytes;
  }

  addZeros(first: number, count: number): void {
    this.#extend(first, count, true);
  }

  #extend(first: number, count: number, zeros: boolean): void {
    if (this.#extentCount > 0) {
      const last = this.#extents[this.#extentCount - 1];
      if (last.zeros === zeros && last.first + last.count === first && last.count + count < 2 ** 32) {
        last.count += count;
        return;
      }
    }
    if (this.#extentCount === this.#extents.length) this.#extents.push({ first, count, zeros });
    else {
      const row = this.#extents[this.#extentCount];
      row.first = first;
      row.count = count;
      row.zeros = zeros;
    }
    this.#extentCount += 1;
  }

  /** Whether a further extent may be added to the open record. */
  get extentsLeft(): number {
    return RECORD_EXTENTS_MAX - this.#extentCount;
  }

  closeRecord(): void {
    const layer = this.#layer;
    if (layer === null || this.#extentCount === 0) {
      this.#layer = null;
      return;
    }
    const blocks = this.seal.blockCount - this.#firstBlock;
    const unit = layer.blockBytes / 64;
    const stored = unit * WHOLE_STORED_UNITS;
    const headerBytes = headerBytesOf(this.#extentCount);
    const align = blocks > 0 ? Math.max(unit, ALIGN) : ALIGN;
    const payloadAt = Math.ceil((this.position + headerBytes) / align) * align;
    const payloadOffset = payloadAt - this.position;
    const recordBytes = payloadOffset + blocks * stored;
    const at = this.seal.reserveHeader(payloadOffset);
    layer.ordinal += 1;
    this.#encode(at, layer, blocks > 0 ? RecordKind.WRITE : RecordKind.HOLE, recordBytes, payloadOffset);
    let offset = payloadAt;
    for (let n = 0; n < this.#extentCount; n += 1) {
      const extent = this.#extents[n];
      encodeExtent(this.seal.headers, at + RECORD_HEADER_BYTES + n * 16, extent.first, extent.count, extent.zeros);
      const location = extent.zeros ? 0 : packLocation(this.start.slot, offset / unit, WHOLE_STORED_UNITS);
      if (!extent.zeros) offset += extent.count * stored;
      this.#publish(layer, extent.first, extent.count, location);
    }
    this.seal.addRecord(at, payloadOffset, this.#firstBlock, blocks, blocks > 0 ? layer.blockBytes : 0);
    this.#finish(recordBytes);
    this.#layer = null;
    this.#extentCount = 0;
  }

  #publish(layer: L, first: number, count: number, location: number): void {
    const n = this.publicationCount;
    if (n === this.publications.length) {
      this.publications.push({ layer, first, count, location, sequence: this.sequence });
    } else {
      const row = this.publications[n];
      row.layer = layer;
      row.first = first;
      row.count = count;
      row.location = location;
      row.sequence = this.sequence;
    }
    this.publicationCount = n + 1;
  }

  /** A record without payload: OPEN (size in blocks, parent), MERGE (`parent`: the heir) or DROP. False when it does not fit here. */
  addVerb(kind: RecordKind, layer: L, sizeBlocks: number, parent: number): boolean {
    this.closeRecord();
    const extents = kind === RecordKind.OPEN ? 1 : 0;
    const recordBytes = Math.ceil(headerBytesOf(extents) / ALIGN) * ALIGN;
    if (this.position + recordBytes > this.start.limit) return false;
    const at = this.seal.reserveHeader(recordBytes);
    layer.ordinal += 1;
    this.#extentCount = extents;
    this.#epoch = 0;
    this.#encode(at, layer, kind, recordBytes, recordBytes, parent);
    this.#extentCount = 0;
    if (extents === 1) encodeExtent(this.seal.headers, at + RECORD_HEADER_BYTES, sizeBlocks, 0, false);
    this.seal.addRecord(at, recordBytes, this.seal.blockCount, 0, 0);
    this.#finish(recordBytes);
    return true;
  }

  /** A BARRIER: each head freezes, and its child is the head from here on. False when it does not fit here. */
  addBarrier(pairs: readonly { readonly head: L; readonly child: L }[]): boolean {
    this.closeRecord();
    const extents = BARRIER_EXTENTS * pairs.length;
    const recordBytes = Math.ceil(headerBytesOf(extents) / ALIGN) * ALIGN;
    if (this.position + recordBytes > this.start.limit) return false;
    const at = this.seal.reserveHeader(recordBytes);
    this.#extentCount = extents;
    this.#epoch = 0;
    this.#encode(at, null, RecordKind.BARRIER, recordBytes, recordBytes);
    this.#extentCount = 0;
    let row = at + RECORD_HEADER_BYTES;
    for (const { head, child } of pairs) {
      head.ordinal += 1;
      encodeExtent(this.seal.headers, row, head.id, child.id, false);
      encodeExtent(this.seal.headers, row + 16, head.ordinal, 0, false);
      row += 16 * BARRIER_EXTENTS;
    }
    this.seal.addRecord(at, recordBytes, this.seal.blockCount, 0, 0);
    this.#finish(recordBytes);
    return true;
  }

  /** Closes the page with a PAD record, so that bytes a sync makes durable are never rewritten. */
  addPad(): void {
    this.closeRecord();
    let padBytes = Math.ceil(this.position / PAGE_BYTES) * PAGE_BYTES - this.position;
    if (padBytes === 0) return;
    if (padBytes < PAD_BYTES_MIN) padBytes += PAGE_BYTES;
    const at = this.seal.reserveHeader(padBytes);
    this.#extentCount = 0;
    this.#epoch = 0;
    this.#encode(at, null, RecordKind.PAD, padBytes, padBytes);
    this.seal.addRecord(at, padBytes, this.seal.blockCount, 0, 0);
    this.#finish(padBytes);
  }

  #encode(at: number, layer: L | null, kind: RecordKind, recordBytes: number, payloadOffset: number, parent = 0): void {
    const start = this.start;
    encodeRecordHeader(this.seal.headers, at, {
      kind,
      stampLow: start.stampLow,
      stampHigh: start.stampHigh,
      recordBytes,
      sequence: this.sequence,
      layer: layer?.id ?? 0,
      ordinal: layer?.ordinal ?? 0,
      durableUpTo: start.durableUpTo,
      epoch: this.#epoch,
      extentCount: this.#extentCount,
      payloadOffset,
      blockBytes: layer?.blockBytes ?? 0,
      payloadCrc: 0,
      parent,
    });
  }

  #finish(recordBytes: number): void {
    this.position += recordBytes;
    this.sequence += 1;
  }
}
