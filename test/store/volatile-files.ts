import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statfsSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { FileError } from '../../src/io/file-error.js';
import type { FileId, FileLock, Files, OpenMode, SpaceReport } from '../../src/io/files.js';
import { NativeFiles } from '../../src/io/native-files.js';
import type { OpenBatch } from '../../src/io/open-batch.js';
import { RECORD_INTS, type SealBatch } from '../../src/io/seal-batch.js';
import { PAGE_BYTES, PowerCut, SECTOR_BYTES, type CutPolicy } from '../base/power-cut.js';
import type { SeededRandom } from '../base/seeded-random.js';

/** Older versions need no policy of their own: a sector has an earlier write's when only the later one is lost. */
const CUT_POLICIES: readonly CutPolicy[] = ['all lost', 'coins', 'few lost', 'one lost', 'pages', 'all kept'];

/** What a sector held before: kept until a sync covers what was written over it. */
type Undo = Map<number, Buffer>;

/** What a machine's disk has been promised: it outlives the processes that write to it. */
export class VolatileDisk {
  /** By path: sectors written before the oldest sync under way, before the next one, ..., and after the last one. */
  readonly unsynced = new Map<string, Undo[]>();
  /** Files whose directory entry no directory sync has covered. */
  readonly unlinked = new Set<string>();

  /** The power goes: takes back a subset of what no completed sync covered. Nothing may be under way. */
  cut(random: SeededRandom): void {
    const policy = CUT_POLICIES[random.below(CUT_POLICIES.length)];
    for (const [path, stack] of this.unsynced) {
      if (!existsSync(path)) continue;
      const file = openSync(path, 'r+');
      const kept = new Set<number>();
      for (const undo of stack.toReversed()) {
        const sectors = [...undo.keys()].sort((a, b) => a - b);
        if (sectors.length === 0) continue;
        const power = new PowerCut(policy, random, sectors.length);
        for (const [n, sector] of sectors.entries()) {
          const lost = power.loses(n, Math.floor((sector * SECTOR_BYTES) / PAGE_BYTES));
          // What a later write left on the disk is not taken back by the loss of an earlier one.
          if (!lost || kept.has(sector)) kept.add(sector);
          else writeSync(file, undo.get(sector) as Buffer, 0, SECTOR_BYTES, sector * SECTOR_BYTES);
        }
      }
      closeSync(file);
    }
    for (const path of this.unlinked) if (existsSync(path) && random.below(2) === 0) unlinkSync(path);
    this.unsynced.clear();
    this.unlinked.clear();
  }
}

/**
 * Files whose unsynced sectors a power cut takes back, in part, as a seed says. Bytes are really written; what they
 * replaced is remembered until a completed sync. After `cut` nothing of this object answers or touches the disk: the
 * process that used it is dead. A sync costs nothing real, so that many seeds fit a short test.
 */
export class VolatileFiles implements Files {
  readonly #real = new NativeFiles();
  readonly #disk: VolatileDisk;
  readonly #paths = new Map<FileId, string>();
  readonly #under = new Set<Promise<void>>();
  #dead = false;
  /** Called before and after each operation that changes something; a test cuts the power in it. */
  onStep: () => void = () => undefined;

  constructor(options: { disk: VolatileDisk }) {
    this.#disk = options.disk;
  }

  get dead(): boolean {
    return this.#dead;
  }

  /** From here on nothing happens any more. */
  die(): void {
    this.#dead = true;
  }

  /** After `die`: waits for what the kernel still has, and closes what is open. */
  async settle(): Promise<void> {
    this.#dead = true;
    while (this.#under.size > 0) await Promise.all([...this.#under]);
    for (const file of this.#paths.keys()) closeSync(file);
    this.#paths.clear();
  }

  #step(): Promise<void> {
    this.onStep();
    return this.#dead ? new Promise(() => undefined) : Promise.resolve();
  }

  #pathOf(file: FileId): string {
    return this.#paths.get(file) as string;
  }

  #remember(file: FileId, offset: number, length: number): void {
    const path = this.#pathOf(file);
    let stack = this.#disk.unsynced.get(path);
    if (stack === undefined) this.#disk.unsynced.set(path, (stack = [new Map()]));
    const undo = stack[stack.length - 1];
    const from = Math.floor(offset / SECTOR_BYTES);
    const end = Math.ceil((offset + length) / SECTOR_BYTES);
    if (end <= from) return;
    const old = Buffer.alloc((end - from) * SECTOR_BYTES);
    readSync(file, old, 0, old.length, from * SECTOR_BYTES);
    for (let sector = from; sector < end; sector += 1) {
      if (undo.has(sector)) continue;
      undo.set(sector, Buffer.from(old.subarray((sector - from) * SECTOR_BYTES, (sector - from + 1) * SECTOR_BYTES)));
    }
  }

  async #turn(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (this.#dead) await new Promise(() => undefined);
  }

  async open(path: string, mode: OpenMode): Promise<FileId> {
    await this.#step();
    try {
      const file = openSync(path, mode === 'read' || mode === 'scan' ? 'r' : mode === 'write' ? 'r+' : 'wx+') as FileId;
      if (mode === 'create') this.#disk.unlinked.add(path);
      this.#paths.set(file, path);
      return file;
    } catch {
      throw new FileError(`cannot open ${path}`, { code: mode === 'create' ? 'EXISTS' : 'NOT_FOUND', path });
    }
  }

  async close(file: FileId): Promise<void> {
    if (this.#dead) return;
    this.#paths.delete(file);
    closeSync(file);
    await Promise.resolve();
  }

  async sizeBytes(file: FileId): Promise<number> {
    await this.#turn();
    return fstatSync(file).size;
  }

  async list(directory: string): Promise<string[]> {
    await this.#turn();
    return readdirSync(directory).sort();
  }

  async exists(path: string): Promise<boolean> {
    await this.#turn();
    return existsSync(path);
  }

  async makeDirectory(directory: string): Promise<void> {
    await this.#turn();
    mkdirSync(directory, { recursive: true });
  }

  async syncDirectory(directory: string): Promise<void> {
    await this.#step();
    await this.#turn();
    for (const path of this.#disk.unlinked) if (dirname(path) === directory) this.#disk.unlinked.delete(path);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#step();
    renameSync(from, to);
  }

  async remove(path: string): Promise<void> {
    await this.#step();
    rmSync(path);
  }

  readFile(): Promise<Uint8Array> {
    throw new Error('the store reads no whole files');
  }

  replaceFile(): Promise<void> {
    throw new Error('the store replaces no files');
  }

  async space(path: string): Promise<SpaceReport> {
    await this.#turn();
    const facts = statfsSync(path);
    return { freeBytes: facts.bavail * facts.bsize, totalBytes: facts.blocks * facts.bsize };
  }

  lock(): Promise<FileLock> {
    throw new Error('the store takes no locks');
  }

  async read(file: FileId, offset: number, into: Uint8Array, intoOffset: number, length: number): Promise<number> {
    await this.#turn();
    return readSync(file, into, intoOffset, length, offset);
  }

  async write(file: FileId, offset: number, bytes: Uint8Array): Promise<void> {
    await this.#step();
    this.#remember(file, offset, bytes.length);
    writeSync(file, bytes, 0, bytes.length, offset);
    await this.#step();
  }

  async allocate(file: FileId, offset: number, length: number): Promise<void> {
    await this.#step();
    if (fstatSync(file).size < offset + length) ftruncateSync(file, offset + length);
    await this.#step();
  }

  async fillZeros(file: FileId, offset: number, length: number): Promise<void> {
    await this.#step();
    this.#remember(file, offset, length);
    writeSync(file, Buffer.alloc(length), 0, length, offset);
    await this.#turn();
  }

  async punch(file: FileId, offset: number, length: number): Promise<void> {
    await this.#step();
    this.#remember(file, offset, length);
    writeSync(file, Buffer.alloc(length), 0, length, offset);
    await this.#step();
  }

  async truncate(file: FileId, length: number): Promise<void> {
    await this.#step();
    ftruncateSync(file, length);
  }

  async sync(file: FileId): Promise<void> {
    await this.#step();
    // What is written from here on is not covered; what was, can be lost until the sync has ended.
    const stack = this.#disk.unsynced.get(this.#pathOf(file));
    const last = stack?.at(-1);
    stack?.push(new Map());
    await this.#turn();
    if (stack !== undefined && last !== undefined) stack.splice(0, stack.indexOf(last) + 1);
    await this.#step();
  }

  async writeback(): Promise<void> {
    await this.#turn();
  }

  async dropCache(): Promise<void> {
    await this.#turn();
  }

  async readAhead(): Promise<void> {
    await this.#turn();
  }

  appendNow(file: FileId, offset: number, batch: SealBatch): number {
    this.onStep();
    if (this.#dead) return -5;
    this.#remember(file, offset, appendBytesOf(offset, batch));
    const status = this.#real.appendNow(file, offset, batch);
    this.onStep();
    return this.#dead ? -5 : status;
  }

  appendLater(file: FileId, offset: number, batch: SealBatch, done: (status: number) => void): void {
    this.onStep();
    if (this.#dead) return;
    this.#remember(file, offset, appendBytesOf(offset, batch));
    const status = this.#real.appendNow(file, offset, batch);
    setImmediate(() => {
      this.onStep();
      if (!this.#dead) done(status);
    });
  }

  openNow(batch: OpenBatch): number {
    if (this.#dead) return batch.count;
    return this.#real.openNow(batch);
  }

  openLater(batch: OpenBatch, done: () => void): void {
    if (this.#dead) return;
    const under = new Promise<void>((resolve) => {
      this.#real.openLater(batch, () => {
        resolve();
        if (!this.#dead) done();
      });
    });
    this.#under.add(under);
    void under.then(() => this.#under.delete(under));
  }
}

/** What the kernel writes for a batch at `offset`, zeros up to the page border included. */
function appendBytesOf(offset: number, batch: SealBatch): number {
  let bytes = 0;
  for (let n = 0; n < batch.recordCount; n += 1) {
    const blockBytes = batch.recordBlockBytes[n];
    bytes += batch.records[n * RECORD_INTS + 1];
    bytes += batch.records[n * RECORD_INTS + 3] * (blockBytes + blockBytes / 64);
  }
  return Math.ceil((offset + bytes) / PAGE_BYTES) * PAGE_BYTES - offset;
}
