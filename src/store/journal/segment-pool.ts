import { messageOf } from '../../base/errors.js';
import { viewOf } from '../../base/bytes.js';
import type { Log } from '../../base/log.js';
import type { Random } from '../../base/clock.js';
import { FileError } from '../../io/file-error.js';
import type { Files } from '../../io/files.js';
import type { Checksums } from '../../io/block-keys.js';
import {
  FREE_FILES_MAX,
  OPENING_SEGMENTS,
  READY_SEGMENTS,
  RESERVE_SEGMENTS,
  SEGMENT_HEADER_BYTES,
  ZERO_STEP_BYTES,
} from '../limits.js';
import { StoreError } from '../store-error.js';
import { slotOfName, type SegmentFiles } from './segment-files.js';
import { decodeSegmentHeader } from './segment-header.js';
import type { SegmentRow, SegmentTable } from './segment-table.js';

/** What a segment is taken for: data; blocks that the cleaner moves; holes and layer verbs; the start of a store. */
export type SegmentUse = 'data' | 'moving' | 'holes' | 'opening';

/** Segments that stay held back when one is taken. */
const KEEP: Record<SegmentUse, number> = {
  data: RESERVE_SEGMENTS,
  // What is cleaned comes back, so the cleaner may use what holes may.
  moving: OPENING_SEGMENTS,
  holes: OPENING_SEGMENTS,
  opening: 0,
};

export interface SegmentPoolDependencies {
  readonly files: Files;
  readonly segmentFiles: SegmentFiles;
  readonly table: SegmentTable;
  readonly checksums: Checksums;
  readonly random: Random;
  readonly log: Log;
  /** Makes the slot's fresh generation and stamp durable in the map's database. */
  readonly register: (row: SegmentRow) => Promise<void>;
  /** Whether everything else that is held back of the disk is there: else only the segment of the next start is made. */
  readonly mayGrow: () => Promise<boolean>;
}

/**
 * Keeps preallocated segments ready. A ready segment is registered under a fresh generation and stamp before its file
 * may take a record: recovery then knows the stamp even if the segment's own header is damaged, and a generation is
 * never used twice. The last RESERVE_SEGMENTS are held back for holes, layer verbs and pads, so that a full disk can be
 * emptied again (P5), and the last OPENING_SEGMENTS of these for the next start.
 */
export class SegmentPool {
  readonly #directory: string;
  readonly #segmentBytes: number;
  readonly #io: SegmentPoolDependencies;
  readonly #ready: number[] = [];
  /** Ready segments whose blocks have been written before. */
  readonly #written = new Set<number>();
  readonly #segmentsMax: number;
  /** Segment files that there are, free ones too; null: not counted yet. */
  #files: number | null = null;
  /** Free slots without a file. */
  readonly #removed = new Set<number>();
  #generation: number;
  #filling: Promise<void> | null = null;
  #closed = false;
  /** Free segments whose files are kept. */
  #filesKeptMax = FREE_FILES_MAX;
  /** The segment being filled with zeros: out of the ready list meanwhile. */
  #zeroing: { readonly slot: number; cancel: boolean; done: Promise<void> } | null = null;

  constructor(
    options: { directory: string; segmentBytes: number; segmentsMax: number; generation: number },
    dependencies: SegmentPoolDependencies,
  ) {
    this.#directory = options.directory;
    this.#segmentBytes = options.segmentBytes;
    this.#segmentsMax = options.segmentsMax;
    this.#generation = options.generation;
    this.#io = dependencies;
    for (const row of dependencies.table.rows()) if (row.state === 'ready') this.#addReady(row.slot);
  }

  /** Ready segments join the chain in the order of their generations: recovery tells by it what an older one cut off. */
  #addReady(slot: number): void {
    const { generations } = this.#io.table;
    const at = this.#ready.findIndex((other) => generations[other] > generations[slot]);
    this.#ready.splice(at < 0 ? this.#ready.length : at, 0, slot);
  }

  /** Whether one can be taken for this use without anything being cleaned. */
  has(use: SegmentUse): boolean {
    return this.held + this.#unprepared > KEEP[use];
  }

  /** Segments that data can still take without anything being cleaned, as far as the limit of the journal says. */
  get spare(): number {
    return this.held + this.#unprepared - RESERVE_SEGMENTS;
  }

  /** Segments that can be prepared for certain. Without a limit the journal grows as the disk lets it, which only trying tells. */
  get #unprepared(): number {
    const room = Number.isFinite(this.#segmentsMax) ? Math.max(0, this.#segmentsMax - this.fileCount) : 0;
    return room + this.#freeFiles;
  }

  get segmentsMax(): number {
    return this.#segmentsMax;
  }

  /** Segment files that there are, those included that hold nothing. */
  get fileCount(): number {
    return this.#files ?? this.#io.table.slots;
  }

  get #freeFiles(): number {
    return this.#io.table.count('free') - this.#removed.size;
  }

  /** Whether as many are held back as must stay when one is taken for this use. */
  holds(use: SegmentUse): boolean {
    return this.held >= KEEP[use];
  }

  /** Prepared segments; one that is being filled with zeros is held as well. */
  get held(): number {
    return this.#ready.length + (this.#zeroing === null ? 0 : 1);
  }

  /** The highest generation given out. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * A ready segment, prepared now if none is; null when only those are left, or can be made, that are held back from this
   * use.
   */
  async take(use: SegmentUse): Promise<number | null> {
    const keep = KEEP[use];
    const { generations } = this.#io.table;
    const zeroing = this.#zeroing;
    if (zeroing !== null && !(this.#ready.length > keep && generations[this.#ready[0]] < generations[zeroing.slot])) {
      zeroing.cancel = true;
      await zeroing.done;
    }
    if (this.#ready.length <= keep) await this.#fill(keep + 1);
    if (this.#ready.length <= keep) return null;
    const slot = this.#ready.shift() as number;
    this.#written.delete(slot);
    this.refill();
    return slot;
  }

  /** Tries to hold back as many as must stay when one is taken for this use; whether they are there. */
  async replenish(use: SegmentUse): Promise<boolean> {
    await this.#fill(KEEP[use]);
    return this.holds(use);
  }

  /** Prepares segments in the background up to the usual number. */
  refill(): void {
    if (this.#closed) return;
    void this.#fill(RESERVE_SEGMENTS + READY_SEGMENTS).catch((thrown: unknown) => {
      this.#io.log.warn(
        { error: messageOf(thrown) },
        'journal: a segment could not be prepared; tried again when one is needed',
      );
    });
  }

  async #fill(wanted: number): Promise<void> {
    while (this.#filling !== null) await this.#filling;
    if (this.#ready.length >= wanted || this.#closed) return;
    const filling = this.#prepareUpTo(wanted);
    this.#filling = filling.then(
      () => undefined,
      () => undefined,
    );
    try {
      await filling;
    } finally {
      this.#filling = null;
    }
  }

  async #prepareUpTo(wanted: number): Promise<void> {
    while (this.#ready.length < wanted && !this.#closed) {
      try {
        const slot = await this.#prepare();
        if (slot === null) return;
        this.#addReady(slot);
      } catch (thrown) {
        const fault = thrown instanceof FileError || thrown instanceof StoreError ? thrown.code : '';
        if (fault !== 'NO_SPACE' && fault !== 'FULL') throw thrown;
        return;
      }
    }
  }

  /** null: what is left of the disk is held back for something else. */
  async #prepare(): Promise<number | null> {
    const { files, segmentFiles, table, random } = this.#io;
    await this.#countFiles();
    let slot = -1;
    // One whose file is there costs no space.
    for (const row of table.rows()) {
      if (row.state !== 'free' || (slot >= 0 && this.#removed.has(row.slot))) continue;
      slot = row.slot;
      if (!this.#removed.has(slot)) break;
    }
    const recycled = slot >= 0 && !this.#removed.has(slot);
    if (!recycled && this.fileCount >= this.#segmentsMax) return null;
    if (!recycled && this.held >= OPENING_SEGMENTS && !(await this.#io.mayGrow())) return null;
    const known = slot >= 0;
    if (!known) slot = table.slots;
    // 1. The file and its space. One that a crash left behind unregistered has no header yet and is taken over; one
    //    with a header belongs to somebody (another node's journal, copied here) and is left alone.
    let exists = await files.exists(segmentFiles.path(slot));
    while (exists && !known && (await this.#hasHeader(slot))) {
      slot += 1;
      exists = await files.exists(segmentFiles.path(slot));
    }
    const file = await segmentFiles.open(slot, exists ? 'write' : 'create');
    try {
      await files.allocate(file, 0, this.#segmentBytes);
      // 2. Size and directory entry must survive: a chain with a missing file is damage.
      await files.sync(file);
      await files.syncDirectory(this.#directory);
    } catch (thrown) {
      // Whatever part was allocated goes back, so that failing to make a segment does not eat the rest of the disk.
      // The file of a free slot counts as one without any from then on. First the row: what a start takes for a part of the
      // chain, or for moved blocks, has to be whole.
      const isFree = !recycled || (await this.#isRegistered(table.row(slot)));
      if (isFree) await files.truncate(file, 0).catch(() => undefined);
      if (recycled && isFree) this.#removed.add(slot);
      // Nothing of it was in use, so nothing is lost: the next try begins with a file of which no failure is remembered.
      await segmentFiles.forget(slot).catch(() => undefined);
      throw thrown;
    }
    if (!exists) this.#files = this.fileCount + 1;
    this.#removed.delete(slot);
    // 3. Register last: from here on the slot counts as ready.
    const stamp = viewOf(random.bytes(8));
    this.#generation += 1;
    const row: SegmentRow = {
      slot,
      generation: this.#generation,
      stampLow: stamp.getUint32(0, true),
      stampHigh: stamp.getUint32(4, true),
      state: 'ready',
      firstSequence: 0,
      liveBytes: 0,
      usedBytes: 0,
      tier: 0,
    };
    //    In the table before: a checkpoint that runs meanwhile must not put the row of the old generation over this one.
    table.put(row);
    try {
      await this.#io.register(row);
    } catch (thrown) {
      table.free(slot);
      throw thrown;
    }
    if (exists && recycled) this.#written.add(slot);
    return slot;
  }

  /** Tries to make a row durable; whether it is. */
  #isRegistered(row: SegmentRow): Promise<boolean> {
    return this.#io.register(row).then(
      () => true,
      () => false,
    );
  }

  async #countFiles(): Promise<void> {
    if (this.#files !== null) return;
    const { files, table } = this.#io;
    const present = new Set((await files.list(this.#directory)).map(slotOfName).filter((slot) => slot >= 0));
    this.#files = present.size;
    for (const row of table.rows()) if (row.state === 'free' && !present.has(row.slot)) this.#removed.add(row.slot);
  }

  /**
   * Takes segments back of which nothing is live, nothing is replayed and nothing is read any more. A few files are kept
   * for the next uses, whose blocks need no allocation; the rest goes back to the file system.
   */
  async release(slots: readonly number[]): Promise<void> {
    while (this.#filling !== null) await this.#filling;
    const releasing = this.#releaseNow(slots);
    // No segment is prepared meanwhile: it might be one of these.
    this.#filling = releasing.catch(() => undefined);
    try {
      await releasing;
    } finally {
      this.#filling = null;
    }
  }

  async #releaseNow(slots: readonly number[]): Promise<void> {
    const { files, segmentFiles, table } = this.#io;
    await this.#countFiles();
    for (const slot of slots) table.free(slot);
    const surplus = [...table.rows()]
      .filter((row) => row.state === 'free' && !this.#removed.has(row.slot))
      .map((row) => row.slot)
      .slice(this.#filesKeptMax);
    for (const slot of surplus) {
      // First the row: a segment that is part of the chain has a file.
      this.#removed.add(slot);
      await this.#io.register(table.row(slot));
      await segmentFiles.remove(slot);
      this.#files = this.fileCount - 1;
    }
    if (surplus.length > 0) await files.syncDirectory(this.#directory);
  }

  /**
   * Removes every file that was written before and is not in use, and until `recycle` each that comes free: what lay in them
   * is to be nowhere.
   */
  async discard(): Promise<void> {
    this.#filesKeptMax = 0;
    while (this.#filling !== null) await this.#filling;
    const slots = this.#ready.filter((slot) => this.#written.has(slot));
    for (const slot of slots) {
      this.#ready.splice(this.#ready.indexOf(slot), 1);
      this.#written.delete(slot);
    }
    await this.release(slots);
    this.refill();
  }

  /** Files are kept for the next uses again. */
  recycle(): void {
    this.#filesKeptMax = FREE_FILES_MAX;
  }

  async #hasHeader(slot: number): Promise<boolean> {
    const page = new Uint8Array(SEGMENT_HEADER_BYTES);
    await this.#io.files.read(await this.#io.segmentFiles.open(slot), 0, page, 0, page.length);
    return decodeSegmentHeader(page, this.#io.checksums.crc32c.bind(this.#io.checksums)) !== null;
  }

  /**
   * Fills the next ready segment with zeros in the background: the first use of preallocated blocks costs each
   * fdatasync a commit of the file system's own journal, later uses do not. The segment is out of the ready list
   * meanwhile, so that it cannot join the chain under the zeros; `take` cuts the filling short when it is needed.
   */
  zeroNext(): void {
    if (this.#zeroing !== null || this.#closed) return;
    const at = this.#ready.findIndex((slot) => !this.#written.has(slot));
    if (at < 0) return;
    const [slot] = this.#ready.splice(at, 1);
    const job = { slot, cancel: false, done: Promise.resolve() };
    job.done = this.#zero(slot, job)
      .catch(async (thrown: unknown) => {
        this.#io.log.warn({ slot, error: messageOf(thrown) }, 'journal: a segment could not be filled with zeros');
        await this.#io.segmentFiles.forget(slot).catch(() => undefined);
      })
      .finally(() => {
        this.#addReady(slot);
        this.#zeroing = null;
      });
    this.#zeroing = job;
  }

  async #zero(slot: number, job: { readonly cancel: boolean }): Promise<void> {
    const { files, segmentFiles } = this.#io;
    segmentFiles.pin(slot);
    try {
      const file = await segmentFiles.open(slot);
      for (let at = 0; at < this.#segmentBytes; at += ZERO_STEP_BYTES) {
        if (job.cancel || this.#closed) return;
        await files.fillZeros(file, at, Math.min(ZERO_STEP_BYTES, this.#segmentBytes - at));
      }
      await files.sync(file);
      this.#written.add(slot);
    } finally {
      segmentFiles.unpin(slot);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    while (this.#filling !== null) await this.#filling;
    await this.#zeroing?.done;
  }
}
