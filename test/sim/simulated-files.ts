import type { Checksums } from '../../src/io/block-keys.js';
import { FileError } from '../../src/io/file-error.js';
import { fileErrorOfErrno } from '../../src/io/file-fault.js';
import type { FileId, FileLock, Files, OpenMode, SpaceReport } from '../../src/io/files.js';
import { OpenStatus, type OpenBatch } from '../../src/io/open-batch.js';
import type { SealBatch } from '../../src/io/seal-batch.js';
import { SECTOR_BYTES } from '../base/power-cut.js';
import type { SeededRandom } from '../base/seeded-random.js';
import { openBlock, openRowOf, sealBatch, type OpenRow, type SealedBatch, type SealedRecord } from './block-seal.js';
import type { FaultCall, FaultPlan } from './fault-plan.js';
import { isBesideJournal } from './journal-history.js';
import type { SectorFile } from './sector-file.js';
import type { SimulatedDisk } from './simulated-disk.js';
import type { SimulatedKeys } from './simulated-keys.js';
import type { SimulatedProcess } from './simulated-process.js';
import type { SimulatedTime } from './simulated-time.js';

const EIO = -5;
const ENOSPC = -28;

/** Sees every append before a byte of it is in a file. */
export interface AppendWitness {
  sealed(path: string, records: readonly SealedRecord[]): void;
  /** An append to the journal has ended. */
  appended(status: number): void;
  /** An fdatasync of a file that holds appends of this process to the journal has failed. */
  syncFailed(path: string): void;
  /** Somebody broke a rule of the interface. */
  misuse(what: string): void;
}

export interface FilesWorld {
  readonly process: SimulatedProcess;
  readonly time: SimulatedTime;
  readonly disk: SimulatedDisk;
  readonly faults: FaultPlan;
  readonly keys: SimulatedKeys;
  readonly checksums: Checksums;
  readonly witness: AppendWitness;
  readonly random: () => SeededRandom;
  /** Share of block reads in percent that are not in the page cache. */
  readonly missPercent: number;
  /** False: blocks of another generation are taken, as if nobody compared it. */
  readonly sameGeneration: boolean;
}

interface OpenFile {
  readonly path: string;
  readonly file: SectorFile;
  /** After a failed sync or writeback every later sync of this open file fails, until it is closed. */
  failed: number;
  appends: number;
}

const nothing = (): void => undefined;

/**
 * The file interface over a simulated disk, for one process. Calls take simulated time, so slow ones are overtaken; what
 * a dead process had under way is done in part or not at all.
 */
export class SimulatedFiles implements Files {
  readonly #world: FilesWorld;
  readonly #open = new Map<number, OpenFile>();
  readonly #locked: Set<string>;
  #lastId = 2;

  constructor(world: FilesWorld, locked = new Set<string>()) {
    this.#world = world;
    this.#locked = locked;
  }

  /** Some file's sync or writeback has failed, and it is still open: its later syncs fail too. */
  get failing(): boolean {
    for (const { failed } of this.#open.values()) if (failed !== 0) return true;
    return false;
  }

  /** Milliseconds that a call takes: mostly a fraction of one, now and then many. */
  #latencyMs(slow: boolean): number {
    const random = this.#world.random();
    const base = slow ? 500 + random.below(6000) : 20 + random.below(280);
    return (random.below(24) === 0 ? base * 60 : base) / 1000;
  }

  /** Runs `effect` after a while, unless the fault plan or a death comes first. `part` is what a death leaves of it. */
  #call<T>(
    fault: FaultCall | null,
    verb: string,
    path: string,
    effect: () => T,
    part: () => void = nothing,
  ): Promise<T> {
    const { process, time, faults } = this.#world;
    process.step();
    if (process.dead) return new Promise(nothing);
    return new Promise((resolve, reject) => {
      // Each call has an end of its own, also those that leave nothing.
      const abandon = (): void => part();
      process.underway.set(abandon, `${verb} ${path}`);
      time.schedule(this.#latencyMs(fault === 'sync' || fault === 'directory'), process, () => {
        process.underway.delete(abandon);
        const errno = fault === null ? 0 : faults.take(fault);
        try {
          if (errno !== 0) throw fileErrorOfErrno(verb, path, errno);
          const value = effect();
          process.step();
          if (!process.dead) resolve(value);
        } catch (thrown) {
          if (!process.dead) reject(thrown instanceof Error ? thrown : new Error(String(thrown)));
        }
      });
    });
  }

  #of(file: number): OpenFile {
    const open = this.#open.get(file);
    if (open !== undefined) return open;
    this.#world.witness.misuse(`file ${file} is used, but it is not open`);
    throw new FileError('not open', { code: 'IO', path: '', errno: 'EBADF' });
  }

  open(path: string, mode: OpenMode): Promise<FileId> {
    return this.#call(null, 'open', path, () => {
      const { disk } = this.#world;
      const file = mode === 'create' ? disk.create(path) : disk.file(path);
      const id = (this.#lastId += 1);
      this.#open.set(id, { path, file, failed: 0, appends: 0 });
      return id as FileId;
    });
  }

  close(file: FileId): Promise<void> {
    const { path } = this.#of(file);
    return this.#call(null, 'close', path, () => void this.#open.delete(file));
  }

  sizeBytes(file: FileId): Promise<number> {
    const open = this.#of(file);
    return this.#call(null, 'stat', open.path, () => open.file.sizeBytes);
  }

  list(directory: string): Promise<string[]> {
    return this.#call(null, 'list', directory, () => [...this.#world.disk.directory(directory).names.keys()].sort());
  }

  exists(path: string): Promise<boolean> {
    return this.#call(null, 'look for', path, () => this.#world.disk.exists(path));
  }

  makeDirectory(directory: string): Promise<void> {
    return this.#call(null, 'make', directory, () => this.#world.disk.makeDirectory(directory));
  }

  syncDirectory(directory: string): Promise<void> {
    return this.#call('directory', 'sync', directory, () => this.#world.disk.syncDirectory(directory));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#call(null, 'rename', from, () => this.#world.disk.rename(from, to));
  }

  remove(path: string): Promise<void> {
    return this.#call(null, 'remove', path, () => this.#world.disk.remove(path));
  }

  readFile(path: string): Promise<Uint8Array> {
    return this.#call(null, 'read', path, () => {
      const file = this.#world.disk.file(path);
      if (!file.readable(0, file.sizeBytes)) throw fileErrorOfErrno('read', path, EIO);
      const bytes = new Uint8Array(file.sizeBytes);
      file.read(0, bytes, 0, bytes.length);
      return bytes;
    });
  }

  async replaceFile(path: string, bytes: Uint8Array, _mode: number): Promise<void> {
    const temporary = `${path}.new`;
    if (await this.exists(temporary)) await this.remove(temporary);
    const file = await this.open(temporary, 'create');
    await this.write(file, 0, bytes);
    await this.sync(file);
    await this.close(file);
    await this.#call(null, 'replace', path, () => this.#world.disk.rename(temporary, path));
    await this.syncDirectory(path.slice(0, path.lastIndexOf('/')));
  }

  space(path: string): Promise<SpaceReport> {
    const { disk } = this.#world;
    return this.#call(null, 'measure', path, () => ({ freeBytes: disk.freeBytes, totalBytes: disk.capacityBytes }));
  }

  lock(path: string): Promise<FileLock> {
    return this.#call(null, 'lock', path, () => {
      if (this.#locked.has(path)) throw new FileError(`${path} is locked`, { code: 'LOCKED', path });
      this.#locked.add(path);
      return {
        release: async () => {
          this.#locked.delete(path);
        },
      };
    });
  }

  read(file: FileId, offset: number, into: Uint8Array, intoOffset: number, length: number): Promise<number> {
    const open = this.#of(file);
    return this.#call('read', 'read', open.path, () => {
      if (!open.file.readable(offset, length)) throw fileErrorOfErrno('read', open.path, EIO);
      return open.file.read(offset, into, intoOffset, length);
    });
  }

  write(file: FileId, offset: number, bytes: Uint8Array): Promise<void> {
    const open = this.#of(file);
    const store = (): void => this.#put(open, offset, bytes);
    return this.#call('write', 'write', open.path, store, () => this.#putPart(open, offset, bytes));
  }

  #put(open: OpenFile, offset: number, bytes: Uint8Array): void {
    try {
      this.#world.disk.demand(open.file, open.path, offset, bytes.length);
    } catch (thrown) {
      this.#world.faults.full();
      this.#putPart(open, offset, bytes);
      throw thrown;
    }
    open.file.write(offset, bytes);
  }

  /** Some sectors from the beginning: what a short write, or a death in the middle of one, leaves. */
  #putPart(open: OpenFile, offset: number, bytes: Uint8Array): void {
    const sectors = Math.floor(bytes.length / SECTOR_BYTES);
    const part = bytes.subarray(0, this.#world.random().below(sectors + 1) * SECTOR_BYTES);
    try {
      this.#world.disk.demand(open.file, open.path, offset, part.length);
    } catch {
      return;
    }
    open.file.write(offset, part);
  }

  allocate(file: FileId, offset: number, length: number): Promise<void> {
    const open = this.#of(file);
    return this.#call('allocate', 'allocate', open.path, () => {
      if (this.#world.disk.allocate(open.file, offset, length)) {
        // It is made ready for another use: what was appended before means nothing any more.
        open.appends = 0;
        return;
      }
      this.#world.faults.full();
      throw fileErrorOfErrno('allocate', open.path, ENOSPC);
    });
  }

  fillZeros(file: FileId, offset: number, length: number): Promise<void> {
    const open = this.#of(file);
    return this.#call('write', 'fill', open.path, () => open.file.writeZeros(offset, length));
  }

  punch(file: FileId, offset: number, length: number): Promise<void> {
    const open = this.#of(file);
    return this.#call('write', 'punch', open.path, () => this.#world.disk.punch(open.file, offset, length));
  }

  truncate(file: FileId, length: number): Promise<void> {
    const open = this.#of(file);
    return this.#call(null, 'truncate', open.path, () => open.file.setSize(length));
  }

  sync(file: FileId): Promise<void> {
    return this.#sync(file, 'sync', 'sync');
  }

  /** What is written back early still needs a sync; only the failure matters here. */
  writeback(file: FileId, _offset: number, _length: number): Promise<void> {
    return this.#sync(file, 'writeback', 'write back');
  }

  #sync(file: FileId, fault: 'sync' | 'writeback', verb: string): Promise<void> {
    const open = this.#of(file);
    const cover = open.file.beginSync();
    const { faults, witness, random } = this.#world;
    return this.#call(null, verb, open.path, () => {
      const errno = faults.take(fault);
      if (errno !== 0) {
        open.failed = errno;
        open.file.failSync(cover, random());
      }
      if (open.failed !== 0) {
        if (open.appends > 0 && fault === 'sync') witness.syncFailed(open.path);
        throw fileErrorOfErrno(verb, open.path, open.failed);
      }
      if (fault === 'sync') open.file.endSync(cover);
    });
  }

  dropCache(file: FileId, _offset: number, _length: number): Promise<void> {
    const open = this.#of(file);
    return this.#call(null, 'drop the cache of', open.path, () => open.file.dropClean());
  }

  readAhead(file: FileId): Promise<void> {
    return this.#call(null, 'read ahead in', this.#of(file).path, () => undefined);
  }

  #append(open: OpenFile, offset: number, { bytes, records }: SealedBatch): number {
    const { faults, witness } = this.#world;
    const beside = isBesideJournal(records);
    if (!beside) open.appends += 1;
    witness.sealed(open.path, records);
    const errno = faults.take('append');
    let status = errno;
    if (errno !== 0) this.#putPart(open, offset, bytes);
    else {
      try {
        this.#put(open, offset, bytes);
      } catch {
        status = ENOSPC;
      }
    }
    if (!beside) witness.appended(status);
    return status;
  }

  appendNow(file: FileId, offset: number, batch: SealBatch): number {
    const { process, keys, checksums } = this.#world;
    process.step();
    if (process.dead) return EIO;
    const status = this.#append(this.#of(file), offset, sealBatch(batch, offset, keys, checksums));
    process.step();
    return process.dead ? EIO : status;
  }

  appendLater(file: FileId, offset: number, batch: SealBatch, done: (status: number) => void): void {
    const { process, time, keys, checksums, witness } = this.#world;
    process.step();
    if (process.dead) return;
    const open = this.#of(file);
    // With the keys of now: they may be let go of while the kernel has them.
    const sealed = sealBatch(batch, offset, keys, checksums);
    const part = (): void => {
      witness.sealed(open.path, sealed.records);
      this.#putPart(open, offset, sealed.bytes);
    };
    process.underway.set(part, `append to ${open.path}`);
    time.schedule(this.#latencyMs(true), process, () => {
      process.underway.delete(part);
      const status = this.#append(open, offset, sealed);
      process.step();
      if (!process.dead) done(status);
    });
  }

  openNow(batch: OpenBatch): number {
    const { process, random, missPercent } = this.#world;
    let misses = 0;
    for (let row = 0; row < batch.count; row += 1) {
      if (process.dead || random().below(100) < missPercent) {
        batch.status[row] = OpenStatus.MISS;
        misses += 1;
      } else {
        batch.status[row] = this.#openRow(openRowOf(batch, row, this.#world.keys));
      }
    }
    return misses;
  }

  openLater(batch: OpenBatch, done: () => void): void {
    const { process, time, keys } = this.#world;
    if (process.dead) return;
    // With the keyrings of now, as appends are sealed.
    const rows = Array.from({ length: batch.count }, (_, row) => openRowOf(batch, row, keys));
    time.schedule(this.#latencyMs(false), process, () => {
      for (const [n, row] of rows.entries()) {
        if (batch.status[n] === OpenStatus.MISS) batch.status[n] = this.#openRow(row);
      }
      done();
    });
  }

  #openRow(row: OpenRow): number {
    const { faults, keys, checksums, sameGeneration } = this.#world;
    const open = this.#of(row.file);
    const errno = open.file.readable(row.offset, row.storedBytes) ? faults.take('open') : EIO;
    if (errno !== 0) {
      row.destination.fill(0);
      return errno;
    }
    const sealed = Buffer.alloc(row.storedBytes);
    if (open.file.read(row.offset, sealed, 0, row.storedBytes) < row.storedBytes) {
      row.destination.fill(0);
      return OpenStatus.SHORT;
    }
    return openBlock(row, sealed, keys, checksums, sameGeneration);
  }
}
