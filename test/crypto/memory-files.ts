import { FileError } from '../../src/io/file-error.js';
import type { FileId, FileLock, Files, OpenMode, SpaceReport } from '../../src/io/files.js';

interface Content {
  bytes: Uint8Array;
  mode: number;
}

/**
 * As much of a disk as keys need: whole small files in memory. `journal` lists what was done, `failOn` makes a kind of
 * call on a path fail. What keys have no business with throws.
 */
export class MemoryFiles implements Files {
  readonly content = new Map<string, Content>();
  readonly journal: string[] = [];
  failOn: (call: string, path: string) => boolean = () => false;
  readonly #open = new Map<FileId, string>();
  #lastId = 0;

  readonly modeOf = (path: string): Promise<number> => Promise.resolve(this.#at(path).mode);

  /** Puts a file there, as an editor or a thief would. */
  put(path: string, bytes: Uint8Array | string, mode = 0o600): void {
    this.content.set(path, { bytes: typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes, mode });
  }

  open(path: string, mode: OpenMode): Promise<FileId> {
    return this.#do(`open ${mode}`, path, () => {
      this.#at(path);
      const id = ++this.#lastId as FileId;
      this.#open.set(id, path);
      return id;
    });
  }

  close(file: FileId): Promise<void> {
    this.#open.delete(file);
    return Promise.resolve();
  }

  sizeBytes(file: FileId): Promise<number> {
    return Promise.resolve(this.#at(this.#pathOf(file)).bytes.length);
  }

  list(directory: string): Promise<string[]> {
    const names = [...this.content.keys()].filter((path) => path.startsWith(`${directory}/`));
    return Promise.resolve(
      names
        .map((path) => path.slice(directory.length + 1))
        .filter((name) => !name.includes('/'))
        .sort(),
    );
  }

  exists(path: string): Promise<boolean> {
    return Promise.resolve(this.content.has(path));
  }

  makeDirectory(directory: string): Promise<void> {
    return this.#do('makeDirectory', directory, () => undefined);
  }

  syncDirectory(directory: string): Promise<void> {
    return this.#do('syncDirectory', directory, () => undefined);
  }

  rename(from: string, to: string): Promise<void> {
    return this.#do('rename', from, () => {
      this.content.set(to, this.#at(from));
      this.content.delete(from);
    });
  }

  remove(path: string): Promise<void> {
    return this.#do('remove', path, () => {
      this.#at(path);
      this.content.delete(path);
    });
  }

  /** A Buffer, as a real disk's may be: its slices are views. */
  readFile(path: string): Promise<Uint8Array> {
    return this.#do('readFile', path, () => Buffer.from(this.#at(path).bytes));
  }

  replaceFile(path: string, bytes: Uint8Array, mode: number): Promise<void> {
    return this.#do('replaceFile', path, () => {
      this.content.set(path, { bytes: Uint8Array.from(bytes), mode });
    });
  }

  write(file: FileId, offset: number, bytes: Uint8Array): Promise<void> {
    const path = this.#pathOf(file);
    return this.#do('write', path, () => {
      this.#at(path).bytes.set(bytes, offset);
    });
  }

  sync(file: FileId): Promise<void> {
    return this.#do('sync', this.#pathOf(file), () => undefined);
  }

  space = notForKeys as () => Promise<SpaceReport>;
  lock = notForKeys as () => Promise<FileLock>;
  read = notForKeys as () => Promise<number>;
  allocate = notForKeys as () => Promise<void>;
  fillZeros = notForKeys as () => Promise<void>;
  punch = notForKeys as () => Promise<void>;
  truncate = notForKeys as () => Promise<void>;
  writeback = notForKeys as () => Promise<void>;
  dropCache = notForKeys as () => Promise<void>;
  readAhead = notForKeys as () => Promise<void>;
  appendNow = notForKeys as () => number;
  appendLater = notForKeys as () => void;
  openNow = notForKeys as () => number;
  openLater = notForKeys as () => void;

  #do<T>(call: string, path: string, act: () => T): Promise<T> {
    return new Promise((resolve) => {
      this.journal.push(`${call} ${path}`);
      if (this.failOn(call, path)) throw new FileError(`${path}: refused`, { code: 'IO', path, errno: 'EIO' });
      resolve(act());
    });
  }

  #at(path: string): Content {
    const content = this.content.get(path);
    if (content === undefined) throw new FileError(`${path}: not found`, { code: 'NOT_FOUND', path });
    return content;
  }

  #pathOf(file: FileId): string {
    const path = this.#open.get(file);
    if (path === undefined) throw new Error(`file ${String(file)} is not open`);
    return path;
  }
}

function notForKeys(): never {
  throw new Error('keys have no business with this');
}
