/**
 * The store's whole view of a disk: names, bytes, durability, and the batch kernels that move sealed blocks.
 * `native-files.ts` implements it over the addon; a simulated twin implements it for seeded crash tests, so nothing
 * below this interface may be reached around it. Paths are absolute. Failures are FileError.
 */
import type { OpenBatch } from './open-batch.js';
import type { SealBatch } from './seal-batch.js';

/** An open file. In the real implementation the descriptor's number. */
export type FileId = number & { readonly unit: 'file' };

export interface SpaceReport {
  readonly freeBytes: number;
  readonly totalBytes: number;
}

export interface FileLock {
  release(): Promise<void>;
}

/**
 * `read`: existing, read only. `scan`: the same, and a read brings no other pages into the page cache than those it asks
 * for. `write`: existing, read and write. `create`: must not exist; mode 0600.
 */
export type OpenMode = 'read' | 'scan' | 'write' | 'create';

export interface Files {
  open(path: string, mode: OpenMode): Promise<FileId>;
  close(file: FileId): Promise<void>;
  sizeBytes(file: FileId): Promise<number>;
  /** Names in a directory, sorted. */
  list(directory: string): Promise<string[]>;
  exists(path: string): Promise<boolean>;
  /** Makes the directory and its parents, mode 0700; fine if it is there. */
  makeDirectory(directory: string): Promise<void>;
  /** fsync of a directory: entries made or removed in it before are durable after. */
  syncDirectory(directory: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  readFile(path: string): Promise<Uint8Array>;
  /** Replaces a small file so that a crash leaves the old or the new content: temporary file, fsync, rename, directory fsync. */
  replaceFile(path: string, bytes: Uint8Array, mode: number): Promise<void>;
  space(path: string): Promise<SpaceReport>;
  /** An exclusive advisory lock that dies with the process (flock/OFD). FileError LOCKED when someone else holds it. */
  lock(path: string): Promise<FileLock>;

  /** Reads up to `length` bytes at `offset` into `into` at `intoOffset` on a reader thread. Resolves to bytes read (short at end of file). */
  read(file: FileId, offset: number, into: Uint8Array, intoOffset: number, length: number): Promise<number>;
  /** Writes all of `bytes` at `offset` on a background thread. */
  write(file: FileId, offset: number, bytes: Uint8Array): Promise<void>;
  /**
   * Reserves disk space for a range (fallocate; the file grows). FileError NO_SPACE when there is not enough; what was
   * reserved by then stays with the file, so who gives up removes or truncates it.
   */
  allocate(file: FileId, offset: number, length: number): Promise<void>;
  /** Writes zeros to a range in the background, in pieces, so that later appends there need no allocation. */
  fillZeros(file: FileId, offset: number, length: number): Promise<void>;
  /** Gives a range back to the file system; it reads as zeros. */
  punch(file: FileId, offset: number, length: number): Promise<void>;
  truncate(file: FileId, length: number): Promise<void>;
  /** fdatasync on the sync thread. After a failure the kernel may have dropped the dirty pages: never retry and believe. */
  sync(file: FileId): Promise<void>;
  /**
   * Starts writeback of a range (sync_file_range WRITE), waits for it and resolves; says nothing about durability. A
   * failure here counts as a failed sync: the kernel tells of lost pages only once.
   */
  writeback(file: FileId, offset: number, length: number): Promise<void>;
  /** Drops clean cached pages of a range (posix_fadvise DONTNEED); length 0: to the end. */
  dropCache(file: FileId, offset: number, length: number): Promise<void>;
  /** Starts reading a range into the page cache (posix_fadvise WILLNEED): advice, which says nothing about the disk. */
  readAhead(file: FileId, offset: number, length: number): Promise<void>;

  /**
   * Seals the batch and writes it at `offset` in this thread. Returns 0 or a negative errno; after a failure the
   * file's content in the range is undefined and no later record may be placed behind it.
   */
  appendNow(file: FileId, offset: number, batch: SealBatch): number;
  /** The same on the append thread. `batch` and its sources stay untouched until `done(0 or negative errno)`. */
  appendLater(file: FileId, offset: number, batch: SealBatch, done: (status: number) => void): void;
  /** Reads and opens every block whose pages are cached; the rest gets status MISS. Returns the number of misses. */
  openNow(batch: OpenBatch): number;
  /** Reads and opens the blocks with status MISS on reader threads, then calls `done`. */
  openLater(batch: OpenBatch, done: () => void): void;
}
