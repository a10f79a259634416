import { close, constants, fstat, open } from 'node:fs';
import { lstat, mkdir, open as openHandle, readdir, readFile, rename, rm, statfs, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { errnoOf } from '../base/errors.js';
import { addon, type Outcome } from './addon.js';
import { fileErrorOfErrno, fileErrorOfThrown } from './file-fault.js';
import { lockFile } from './file-lock.js';
import type { FileId, FileLock, Files, OpenMode, SpaceReport } from './files.js';
import { OpenStatus, type OpenBatch } from './open-batch.js';
import type { SealBatch } from './seal-batch.js';

const openDescriptor = promisify(open);
const closeDescriptor = promisify(close);
const statDescriptor = promisify(fstat);

const OPEN_FLAGS = {
  read: constants.O_RDONLY,
  scan: constants.O_RDONLY,
  write: constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
} as const;

/** Files of the machine. Names go through node:fs, bytes through the addon and its threads. */
export class NativeFiles implements Files {
  /** Of open files: for the text of errors. */
  readonly #paths = new Map<FileId, string>();
  /**
   * Files whose written pages the kernel could not store. It says so once per descriptor and then forgets, so that the
   * next fdatasync would succeed over lost data: we do not forget.
   */
  readonly #failedWrites = new Map<FileId, number>();

  async open(path: string, mode: OpenMode): Promise<FileId> {
    const file = (await named('open', path, openDescriptor(path, OPEN_FLAGS[mode], 0o600))) as FileId;
    this.#paths.set(file, path);
    if (mode === 'scan') {
      // Advice: where it is not taken, more is cached than was asked for, and nothing else is different.
      await settle('advise', path, (done) => addon.noReadAhead(file, 0, 0, done)).catch(() => undefined);
    }
    return file;
  }

  async close(file: FileId): Promise<void> {
    const path = this.#pathOf(file);
    this.#paths.delete(file);
    this.#failedWrites.delete(file);
    await named('close', path, closeDescriptor(file));
  }

  async sizeBytes(file: FileId): Promise<number> {
    const facts = await named('stat', this.#pathOf(file), statDescriptor(file));
    return facts.size;
  }

  async list(directory: string): Promise<string[]> {
    const names = await named('list', directory, readdir(directory));
    return names.sort();
  }

  async exists(path: string): Promise<boolean> {
    try {
      await lstat(path);
      return true;
    } catch (thrown) {
      if (errnoOf(thrown) === 'ENOENT') return false;
      throw fileErrorOfThrown('look for', path, thrown);
    }
  }

  async makeDirectory(directory: string): Promise<void> {
    await named('make', directory, mkdir(directory, { recursive: true, mode: 0o700 }));
  }

  syncDirectory(directory: string): Promise<void> {
    return settle('sync', directory, (done) => addon.syncDirectory(directory, done));
  }

  async rename(from: string, to: string): Promise<void> {
    await named('rename', from, rename(from, to));
  }

  async remove(path: string): Promise<void> {
    await named('remove', path, unlink(path));
  }

  async readFile(path: string): Promise<Uint8Array> {
    return await named('read', path, readFile(path));
  }

  async replaceFile(path: string, bytes: Uint8Array, mode: number): Promise<void> {
    // One name, so that what a crash leaves is found and overwritten, not collected.
    const temporary = `${path}.new`;
    try {
      // Removed first: an old one may have a wider mode, and the mode of open() is for new files only.
      await rm(temporary, { force: true });
      const handle = await openHandle(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode);
      try {
        // 1. The content is durable before the name points to it, or a crash could leave an empty file.
        await handle.writeFile(bytes);
        await handle.chmod(mode);
        await handle.sync();
      } finally {
        await handle.close();
      }
      // 2. Old or new, never between.
      await rename(temporary, path);
    } catch (thrown) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw fileErrorOfThrown('replace', path, thrown);
    }
    // 3. The name itself becomes durable.
    await this.syncDirectory(dirname(path));
  }

  async space(path: string): Promise<SpaceReport> {
    const facts = await named('measure', path, statfs(path));
    return { freeBytes: facts.bavail * facts.bsize, totalBytes: facts.blocks * facts.bsize };
  }

  lock(path: string): Promise<FileLock> {
    return lockFile(path);
  }

  read(file: FileId, offset: number, into: Uint8Array, intoOffset: number, length: number): Promise<number> {
    return count('read', this.#pathOf(file), (done) => addon.read(file, offset, into, intoOffset, length, done));
  }

  write(file: FileId, offset: number, bytes: Uint8Array): Promise<void> {
    return settle('write', this.#pathOf(file), (done) => addon.write(file, offset, bytes, done));
  }

  allocate(file: FileId, offset: number, length: number): Promise<void> {
    return settle('allocate', this.#pathOf(file), (done) => addon.allocate(file, offset, length, done));
  }

  fillZeros(file: FileId, offset: number, length: number): Promise<void> {
    return settle('fill', this.#pathOf(file), (done) => addon.fillZeros(file, offset, length, done));
  }

  punch(file: FileId, offset: number, length: number): Promise<void> {
    return settle('punch', this.#pathOf(file), (done) => addon.punch(file, offset, length, done));
  }

  truncate(file: FileId, length: number): Promise<void> {
    return settle('truncate', this.#pathOf(file), (done) => addon.truncate(file, 0, length, done));
  }

  sync(file: FileId): Promise<void> {
    return this.#believeFailures('sync', file, (done) => addon.sync(file, done));
  }

  writeback(file: FileId, offset: number, length: number): Promise<void> {
    return this.#believeFailures('write back', file, (done) => addon.writeback(file, offset, length, done));
  }

  dropCache(file: FileId, offset: number, length: number): Promise<void> {
    return settle('drop the cache of', this.#pathOf(file), (done) => addon.dropCache(file, offset, length, done));
  }

  readAhead(file: FileId, offset: number, length: number): Promise<void> {
    return settle('read ahead in', this.#pathOf(file), (done) => addon.readAhead(file, offset, length, done));
  }

  appendNow(file: FileId, offset: number, batch: SealBatch): number {
    return addon.appendNow(
      file,
      offset,
      batch.headers,
      batch.headerBytes,
      batch.records,
      batch.recordCount,
      batch.recordBlockBytes,
      batch.blockInts,
      batch.blockNumbers,
      batch.blockCount,
      batch.sources,
      batch.generation,
    );
  }

  appendLater(file: FileId, offset: number, batch: SealBatch, done: (status: number) => void): void {
    const refused = addon.appendLater(
      file,
      offset,
      batch.headers,
      batch.headerBytes,
      batch.records,
      batch.recordCount,
      batch.recordBlockBytes,
      batch.blockInts,
      batch.blockNumbers,
      batch.blockCount,
      batch.sources,
      batch.generation,
      done,
    );
    if (refused < 0) queueMicrotask(() => done(refused));
  }

  openNow(batch: OpenBatch): number {
    return addon.openNow(batch.ints, batch.numbers, batch.status, batch.count, batch.destinations);
  }

  openLater(batch: OpenBatch, done: () => void): void {
    const { status, count: rows } = batch;
    const refused = addon.openLater(batch.ints, batch.numbers, status, rows, batch.destinations, done);
    if (refused === 0) return;
    for (let row = 0; row < rows; row += 1) if (status[row] === OpenStatus.MISS) status[row] = refused;
    queueMicrotask(done);
  }

  #pathOf(file: FileId): string {
    return this.#paths.get(file) ?? `file ${String(file)}`;
  }

  async #believeFailures(verb: string, file: FileId, start: Start): Promise<void> {
    const path = this.#pathOf(file);
    let refused = false;
    const outcome = await new Promise<Outcome>((resolve) => {
      const errno = start(resolve);
      refused = errno < 0;
      if (refused) resolve(errno);
    });
    // A full queue tried nothing, so it tells nothing about the pages.
    if (refused) throw fileErrorOfErrno(verb, path, outcome);
    // Looked at after: a failure may have come while this one was on its way.
    const failed = outcome < 0 ? outcome : this.#failedWrites.get(file);
    if (failed === undefined) return;
    // A descriptor that was closed meanwhile may be another file's by now.
    if (this.#paths.get(file) === path) this.#failedWrites.set(file, failed);
    throw fileErrorOfErrno(verb, path, failed);
  }
}

/** Starts a call of the addon; a negative errno says that it was not even queued. */
type Start = (done: (outcome: Outcome) => void) => Outcome;

async function count(verb: string, path: string, start: Start): Promise<number> {
  const outcome = await new Promise<Outcome>((resolve) => {
    const refused = start(resolve);
    if (refused < 0) resolve(refused);
  });
  if (outcome < 0) throw fileErrorOfErrno(verb, path, outcome);
  return outcome;
}

async function settle(verb: string, path: string, start: Start): Promise<void> {
  await count(verb, path, start);
}

async function named<T>(verb: string, path: string, attempt: Promise<T>): Promise<T> {
  try {
    return await attempt;
  } catch (thrown) {
    throw fileErrorOfThrown(verb, path, thrown);
  }
}
