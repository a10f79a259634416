import { FileError } from './file-error.js';
import type { FileId, FileLock, Files, OpenMode, SpaceReport } from './files.js';
import type { OpenBatch } from './open-batch.js';

/**
 * Files of which nothing can be changed: each is opened for reading alone, and every change is refused with READ_ONLY. What
 * only makes durable what is there already is done at once, and what is written to an open file is forgotten: replay mends a
 * lost header that way, and goes on by what it knows.
 */
export class ReadOnlyFiles implements Files {
  readonly #next: Files;

  constructor(next: Files) {
    this.#next = next;
  }

  open(path: string, mode: OpenMode): Promise<FileId> {
    if (mode === 'create') return refuse(path);
    return this.#next.open(path, mode === 'write' ? 'read' : mode);
  }

  close(file: FileId): Promise<void> {
    return this.#next.close(file);
  }

  sizeBytes(file: FileId): Promise<number> {
    return this.#next.sizeBytes(file);
  }

  list(directory: string): Promise<string[]> {
    return this.#next.list(directory);
  }

  exists(path: string): Promise<boolean> {
    return this.#next.exists(path);
  }

  readFile(path: string): Promise<Uint8Array> {
    return this.#next.readFile(path);
  }

  space(path: string): Promise<SpaceReport> {
    return this.#next.space(path);
  }

  read(file: FileId, offset: number, into: Uint8Array, intoOffset: number, length: number): Promise<number> {
    return this.#next.read(file, offset, into, intoOffset, length);
  }

  openNow(batch: OpenBatch): number {
    return this.#next.openNow(batch);
  }

  openLater(batch: OpenBatch, done: () => void): void {
    this.#next.openLater(batch, done);
  }

  dropCache(file: FileId, offset: number, length: number): Promise<void> {
    return this.#next.dropCache(file, offset, length);
  }

  readAhead(file: FileId, offset: number, length: number): Promise<void> {
    return this.#next.readAhead(file, offset, length);
  }

  readonly sync = nothing;
  readonly syncDirectory = nothing;
  readonly writeback = nothing;

  readonly makeDirectory = refuse;
  readonly rename = refuse;
  readonly remove = refuse;
  readonly replaceFile = refuse;
  readonly lock = (path: string): Promise<FileLock> => refuse(path);
  readonly write = nothing;
  readonly allocate = refuseFile;
  readonly fillZeros = refuseFile;
  readonly punch = refuseFile;
  readonly truncate = refuseFile;

  appendNow(): number {
    return -EROFS;
  }

  appendLater(_file: FileId, _offset: number, _batch: unknown, done: (status: number) => void): void {
    queueMicrotask(() => {
      done(-EROFS);
    });
  }
}

const EROFS = 30;

function nothing(): Promise<void> {
  return Promise.resolve();
}

function refuse(path: string): Promise<never> {
  return Promise.reject(new FileError(`${path} is only looked at`, { code: 'READ_ONLY', path }));
}

function refuseFile(file: FileId): Promise<never> {
  return refuse(`file ${String(file)}`);
}
