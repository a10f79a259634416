import { UnderWay } from '../../base/under-way.js';
import type { FileId, Files } from '../../io/files.js';
import { UNWRITTEN_BYTES_MAX, WRITEBACK_STEP_BYTES } from '../limits.js';
import { CacheWindow } from './cache-window.js';
import type { SegmentFiles } from './segment-files.js';
import type { SegmentTable } from './segment-table.js';

export interface WritebackDependencies {
  readonly files: Files;
  readonly segmentFiles: SegmentFiles;
  readonly table: SegmentTable;
  /** Unwritten bytes went down: appends that waited may go on. */
  readonly progressed: () => void;
}

/** Starts writeback of the head early and steadily, so that dirty pages neither pile up nor stall an fdatasync. */
export class Writeback {
  readonly #io: WritebackDependencies;
  readonly #cached: CacheWindow;
  readonly #underWay = new UnderWay();
  #slot = -1;
  #file = -1 as FileId;
  /** What lies before it in the head is on its way to the disk. */
  #from = 0;
  #offset = 0;
  #unwrittenBytes = 0;

  /** `cacheBytes`: what of the journal stays in the page cache. */
  constructor(options: { segmentBytes: number; cacheBytes: number }, dependencies: WritebackDependencies) {
    this.#io = dependencies;
    this.#cached = new CacheWindow({ bytesMax: options.cacheBytes }, dependencies);
    const chain = [...dependencies.table.rows()].filter((row) => row.state === 'chain');
    const slots = chain.toSorted((a, b) => a.generation - b.generation).map((row) => row.slot);
    this.#cached.found(slots, options.segmentBytes);
  }

  /** Too much is waiting for the disk: appends wait. */
  get congested(): boolean {
    return this.#unwrittenBytes >= UNWRITTEN_BYTES_MAX;
  }

  /** Far from congested: nothing will make an append wait that is done at once. */
  get calm(): boolean {
    return this.#unwrittenBytes < UNWRITTEN_BYTES_MAX / 2;
  }

  /** Another head, which is appended to from here on. What was appended to the last one is started with. */
  head(slot: number, file: FileId, offset: number): void {
    this.#start();
    this.#slot = slot;
    this.#file = file;
    this.#from = offset;
    this.#offset = offset;
  }

  /** The head has grown up to here. */
  appended(offset: number): void {
    this.#unwrittenBytes += offset - this.#offset;
    this.#offset = offset;
    if (offset - this.#from >= WRITEBACK_STEP_BYTES) this.#start();
  }

  /** What was appended must get here once, or appends wait for it for ever. */
  #start(): void {
    const slot = this.#slot;
    const from = this.#from;
    const length = this.#offset - from;
    if (length === 0) return;
    this.#from = this.#offset;
    this.#io.segmentFiles.pin(slot);
    this.#underWay.begin();
    const settle = (): void => {
      this.#cached.written(slot, from, length);
      this.#underWay.end();
      this.#io.segmentFiles.unpin(slot);
      this.#unwrittenBytes -= length;
      this.#io.progressed();
    };
    // A failed writeback is reported again by the fdatasync that decides.
    this.#io.files.writeback(this.#file, from, length).then(settle, settle);
  }

  /** Resolves when nothing is with the addon's threads. */
  async settled(): Promise<void> {
    await this.#underWay.ended();
    await this.#cached.settled();
  }
}
