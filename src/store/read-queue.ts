import type { Clock } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import { UnderWay } from '../base/under-way.js';
import { type BlockRequest, type DeviceFault, RequestFlag } from '../device/block-device.js';
import type { KeyringId } from '../io/block-keys.js';
import type { Files } from '../io/files.js';
import { Deliver, OpenBatch, OpenStatus } from '../io/open-batch.js';
import { storedBytesOf } from '../io/record-layout.js';
import type { Engine } from './engine.js';
import { LEAF_BLOCKS, READ_BATCHES_MAX } from './limits.js';
import { offsetUnitsOf, slotOf, storedUnitsOf, UNLOADED } from './location.js';
import type { Layer } from './map/layer.js';

/** What a read must know of the head that it goes through. */
export interface ReadSource {
  readonly layer: Layer;
  readonly keyring: KeyringId;
  /** Reads accepted and not completed; the queue counts them, closing waits for none. */
  readonly reads: UnderWay;
}

/** A block that could not be opened, for the log and the counters. */
export interface BadBlock {
  readonly layer: number;
  readonly block: number;
  readonly slot: number;
  readonly fileOffset: number;
  /** An OpenStatus, MAP_STATUS, or a negative errno. */
  readonly status: number;
}

interface Part {
  request: BlockRequest;
  source: ReadSource;
  firstRow: number;
  endRow: number;
}

/** A batch under way: reused when it is done. */
class ReadBatch {
  readonly open = new OpenBatch();
  readonly parts: Part[] = [];
  partCount = 0;
  /** Segment slot by row. */
  readonly slots: number[] = [];
  /** Slots pinned while the batch is with the reader threads. */
  readonly pinned: number[] = [];

  clear(): void {
    this.open.clear();
    this.partCount = 0;
    this.pinned.length = 0;
  }

  addPart(request: BlockRequest, source: ReadSource, firstRow: number): void {
    const row = this.partCount;
    if (row === this.parts.length) this.parts.push({ request, source, firstRow, endRow: firstRow });
    else {
      const part = this.parts[row];
      part.request = request;
      part.source = source;
      part.firstRow = firstRow;
    }
    this.partCount = row + 1;
  }
}

/** Status of a block whose place the map cannot tell; it has no slot and no offset (-1). Above every OpenStatus. */
export const MAP_STATUS = 100;
/** Status of a block whose segment has no file. */
export const SEGMENT_STATUS = 101;

const STATUS_TEXT: Readonly<Record<number, string>> = {
  [MAP_STATUS]: 'the leaf of the map that says where the block lies is damaged',
  [SEGMENT_STATUS]: 'the file of the segment that it lies in is gone',
  [OpenStatus.UNAUTHENTIC]: 'the block does not authenticate',
  [OpenStatus.HEADER]: 'the block header is damaged',
  [OpenStatus.GENERATION]: 'an older block lies where a write was lost',
  [OpenStatus.KEY]: 'the block names a key that is not of this volume',
  [OpenStatus.SHORT]: 'the segment ends before the block',
};

/** A `BadBlock.status` in words. */
export function describeStatus(status: number): string {
  return STATUS_TEXT[status] ?? `read failed with errno ${-status}`;
}

/**
 * Gathers the reads of one turn of the event loop into one kernel call. What is in the page cache is answered without
 * leaving the thread; the rest goes to reader threads, and leaves of the map that are not in memory are fetched first.
 */
export class ReadQueue {
  readonly #files: Files;
  readonly #clock: Clock;
  readonly #engine: () => Engine | null;
  readonly #bad: (block: BadBlock) => void;
  #requests: BlockRequest[] = [];
  #sources: ReadSource[] = [];
  #scheduled = false;
  readonly #idle: ReadBatch[] = [];
  /** Batches with the reader threads. */
  readonly #under = new UnderWay();
  /** Why nothing is read any more; null while the store lives. */
  #ended: DeviceFault | null = null;

  constructor(dependencies: {
    files: Files;
    clock: Clock;
    /** null while the store reopens: reads wait. */
    engine: () => Engine | null;
    bad: (block: BadBlock) => void;
  }) {
    this.#files = dependencies.files;
    this.#clock = dependencies.clock;
    this.#engine = dependencies.engine;
    this.#bad = dependencies.bad;
  }

  /** Takes a READ whose range is inside the layer and aligned to its blocks. */
  submit(request: BlockRequest, source: ReadSource): void {
    source.reads.begin();
    this.#enqueue(request, source);
  }

  #complete(request: BlockRequest, source: ReadSource, fault: DeviceFault | null): void {
    request.done(fault);
    source.reads.end();
  }

  #enqueue(request: BlockRequest, source: ReadSource): void {
    if (this.#ended !== null) {
      this.#complete(request, source, this.#ended);
      return;
    }
    this.#requests.push(request);
    this.#sources.push(source);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.endOfTurn(this.#run);
  }

  /** Looks again at what waits; after the store has reopened. */
  wake(): void {
    if (this.#scheduled || this.#requests.length === 0) return;
    this.#scheduled = true;
    this.#clock.endOfTurn(this.#run);
  }

  /** Whether reads wait, or are with the reader threads. */
  get busy(): boolean {
    return this.#under.count > 0 || this.#requests.length > 0;
  }

  /** Resolves when no batch is with the reader threads. */
  drain(): Promise<void> {
    return this.#under.ended();
  }

  /** Fails everything that waits and everything that still comes, from a fetch that was under way or a head. */
  end(fault: DeviceFault): void {
    this.#ended = fault;
    const requests = this.#requests;
    const sources = this.#sources;
    this.#requests = [];
    this.#sources = [];
    for (let n = 0; n < requests.length; n += 1) this.#complete(requests[n], sources[n], fault);
  }

  readonly #run = (): void => {
    this.#scheduled = false;
    const engine = this.#engine();
    // With enough batches at the disk the rest waits here, where it gathers, and not in the addon's queues.
    if (engine === null || this.#requests.length === 0 || this.#under.count >= READ_BATCHES_MAX) return;
    const requests = this.#requests;
    const sources = this.#sources;
    this.#requests = [];
    this.#sources = [];
    const batch = this.#idle.pop() ?? new ReadBatch();
    batch.clear();
    for (let n = 0; n < requests.length; n += 1) this.#add(engine, batch, requests[n], sources[n]);
    if (batch.partCount === 0) {
      this.#idle.push(batch);
      return;
    }
    if (batch.open.count === 0 || this.#files.openNow(batch.open) === 0) {
      this.#finish(batch);
      return;
    }
    this.#under.begin();
    for (let row = 0; row < batch.open.count; row += 1) {
      if (batch.open.status[row] !== OpenStatus.MISS) continue;
      const slot = batch.slots[row];
      engine.segmentFiles.pin(slot);
      batch.pinned.push(slot);
    }
    this.#files.openLater(batch.open, () => {
      for (const slot of batch.pinned) engine.segmentFiles.unpin(slot);
      this.#finish(batch);
      this.#under.end();
      this.wake();
    });
  };

  /** Adds the rows of one request, or puts it aside until a leaf or a file is there. */
  #add(engine: Engine, batch: ReadBatch, request: BlockRequest, source: ReadSource): void {
    const { map, table, segmentFiles } = engine;
    const { layer, keyring } = source;
    if (layer.gone) {
      this.#complete(request, source, { code: 'CLOSED' });
      return;
    }
    const blockBytes = layer.blockBytes;
    const unit = blockBytes / 64;
    const firstRow = batch.open.count;
    const destination = batch.open.destinations.length;
    batch.open.destinations.push(request.data);
    const first = request.offsetBytes / blockBytes;
    const count = request.lengthBytes / blockBytes;
    const isSealed = (request.flags & RequestFlag.SEALED) !== 0;
    const deliver = isSealed ? Deliver.SEALED : Deliver.PLAIN;
    const step = isSealed ? storedBytesOf(blockBytes) : blockBytes;
    for (let n = 0; n < count; n += 1) {
      const location = map.locate(layer, first + n);
      const at = request.dataOffset + n * step;
      if (location > 0) {
        const slot = slotOf(location);
        const file = segmentFiles.opened(slot);
        if (file === undefined) {
          this.#giveBack(batch, firstRow, destination);
          this.#openLater(engine, slot, request, source);
          return;
        }
        batch.slots[batch.open.count] = slot;
        batch.open.add(
          file,
          offsetUnitsOf(location) * unit,
          storedUnitsOf(location) * unit,
          table.generations[slot],
          first + n,
          keyring,
          destination,
          at,
          blockBytes,
          deliver,
        );
      } else if (location === UNLOADED) {
        this.#giveBack(batch, firstRow, destination);
        this.#fetchLater(engine, Math.floor((first + n) / LEAF_BLOCKS), request, source);
        return;
      } else if (isSealed) {
        this.#giveBack(batch, firstRow, destination);
        this.#complete(request, source, { code: 'IO', detail: `block ${first + n} holds nothing that is sealed` });
        return;
      } else {
        request.data.fill(0, at, at + blockBytes);
      }
    }
    batch.addPart(request, source, firstRow);
    batch.parts[batch.partCount - 1].endRow = batch.open.count;
  }

  #giveBack(batch: ReadBatch, firstRow: number, destination: number): void {
    batch.open.count = firstRow;
    batch.open.destinations.length = destination;
  }

  #fetchLater(engine: Engine, leaf: number, request: BlockRequest, source: ReadSource): void {
    engine.map.fetch(source.layer, leaf, (failure) => {
      if (failure === null || this.#engine() !== engine) {
        this.#enqueue(request, source);
        return;
      }
      const { blockBytes, id } = source.layer;
      const first = Math.max(leaf * LEAF_BLOCKS, request.offsetBytes / blockBytes);
      const end = Math.min((leaf + 1) * LEAF_BLOCKS, (request.offsetBytes + request.lengthBytes) / blockBytes);
      for (let block = first; block < end; block += 1) {
        this.#bad({ layer: id, block, slot: -1, fileOffset: -1, status: MAP_STATUS });
      }
      this.#complete(request, source, { code: 'IO', detail: failure.message });
    });
  }

  #openLater(engine: Engine, slot: number, request: BlockRequest, source: ReadSource): void {
    engine.segmentFiles.open(slot).then(
      () => {
        this.#enqueue(request, source);
      },
      (thrown: unknown) => {
        if (this.#engine() !== engine) this.#enqueue(request, source);
        else
          this.#complete(request, source, {
            code: 'IO',
            detail: `segment ${slot} cannot be opened: ${messageOf(thrown)}`,
          });
      },
    );
  }

  #finish(batch: ReadBatch): void {
    const { status, numbers } = batch.open;
    for (let n = 0; n < batch.partCount; n += 1) {
      const part = batch.parts[n];
      let fault: DeviceFault | null = null;
      for (let row = part.firstRow; row < part.endRow; row += 1) {
        if (status[row] === OpenStatus.OK) continue;
        const block = numbers[row * 3 + 1];
        this.#bad({
          layer: part.source.layer.id,
          block,
          slot: batch.slots[row],
          fileOffset: numbers[row * 3],
          status: status[row],
        });
        fault ??= { code: 'IO', detail: `block ${block}: ${describeStatus(status[row])}` };
      }
      this.#complete(part.request, part.source, fault);
    }
    this.#idle.push(batch);
  }
}
