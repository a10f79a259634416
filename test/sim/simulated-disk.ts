import { createHash } from 'node:crypto';
import { fileErrorOfErrno } from '../../src/io/file-fault.js';
import type { SeededRandom } from '../base/seeded-random.js';
import { CHUNK_BYTES, CUT_POLICIES, SectorFile } from './sector-file.js';

const ENOENT = -2;
const EEXIST = -17;
const ENOSPC = -28;
const MAP_BYTES_MIN = 64 * 1024;

/** A directory: its names as processes see them, and as the disk holds them. A map's database lies in one. */
export class Directory {
  readonly names = new Map<string, DiskNode>();
  readonly stable = new Map<string, DiskNode>();
  /** Rows of the map's database by hexadecimal key; every commit that has resolved is on the disk. */
  readonly rows = new Map<string, Uint8Array>();
}

type DiskNode = Directory | SectorFile;

/** One change of names that reaches the disk whole or not at all. */
type NameChange = readonly { readonly directory: Directory; readonly name: string; readonly node: DiskNode | null }[];

/** The disk of one machine: it outlives the processes that write to it, and only a part of what they wrote its power. */
export class SimulatedDisk {
  #root = new Directory();
  /** Changes of names that no directory sync has covered, in order. */
  #pending: NameChange[] = [];
  capacityBytes: number;
  /** Bytes of all rows of databases; kept here, because counting them is dear. */
  rowBytes = 0;
  /** Bytes that the databases' files have grown to: they use freed pages again, and give none back. */
  #mapBytes = 0;

  constructor(options: { capacityBytes: number }) {
    this.capacityBytes = options.capacityBytes;
  }

  get usedBytes(): number {
    let chunks = 0;
    for (const { node } of this.#walk(this.#root, '')) if (node instanceof SectorFile) chunks += node.chunks.size;
    return chunks * CHUNK_BYTES + this.#mapBytes;
  }

  get freeBytes(): number {
    return Math.max(0, this.capacityBytes - this.usedBytes);
  }

  *#walk(directory: Directory, path: string): Generator<{ path: string; node: DiskNode }> {
    for (const [name, node] of directory.names) {
      yield { path: `${path}/${name}`, node };
      if (node instanceof Directory) yield* this.#walk(node, `${path}/${name}`);
    }
  }

  /** Every file, by path. */
  files(): { path: string; file: SectorFile }[] {
    return [...this.#walk(this.#root, '')].flatMap(({ path, node }) =>
      node instanceof SectorFile ? [{ path, file: node }] : [],
    );
  }

  #find(path: string): DiskNode | null {
    let node: DiskNode = this.#root;
    for (const name of path.split('/')) {
      if (name === '') continue;
      const next: DiskNode | undefined = node instanceof Directory ? node.names.get(name) : undefined;
      if (next === undefined) return null;
      node = next;
    }
    return node;
  }

  exists(path: string): boolean {
    return this.#find(path) !== null;
  }

  directory(path: string): Directory {
    const node = this.#find(path);
    if (!(node instanceof Directory)) throw fileErrorOfErrno('open', path, ENOENT);
    return node;
  }

  file(path: string): SectorFile {
    const node = this.#find(path);
    if (!(node instanceof SectorFile)) throw fileErrorOfErrno('open', path, ENOENT);
    return node;
  }

  #parentOf(path: string): { directory: Directory; name: string } {
    const at = path.lastIndexOf('/');
    return { directory: this.directory(path.slice(0, at)), name: path.slice(at + 1) };
  }

  #change(change: NameChange): void {
    for (const { directory, name, node } of change) {
      if (node === null) directory.names.delete(name);
      else directory.names.set(name, node);
    }
    this.#pending.push(change);
  }

  create(path: string): SectorFile {
    if (this.exists(path)) throw fileErrorOfErrno('create', path, EEXIST);
    const file = new SectorFile();
    this.#change([{ ...this.#parentOf(path), node: file }]);
    return file;
  }

  makeDirectory(path: string): void {
    let built = '';
    for (const name of path.split('/').filter((each) => each !== '')) {
      built += `/${name}`;
      if (!this.exists(built)) this.#change([{ ...this.#parentOf(built), node: new Directory() }]);
    }
  }

  rename(from: string, to: string): void {
    const node = this.#find(from);
    if (node === null) throw fileErrorOfErrno('rename', from, ENOENT);
    this.#change([
      { ...this.#parentOf(from), node: null },
      { ...this.#parentOf(to), node },
    ]);
  }

  remove(path: string): void {
    this.file(path);
    this.#change([{ ...this.#parentOf(path), node: null }]);
  }

  /** The directory's names are on the disk, with everything that belongs to the same changes. */
  syncDirectory(path: string): void {
    const directory = this.directory(path);
    this.#pending = this.#pending.filter((change) => {
      if (!change.some((each) => each.directory === directory)) return true;
      settle(change);
      return false;
    });
  }

  /** Takes space for a range as far as there is some; false when it ran out. */
  allocate(file: SectorFile, offset: number, length: number): boolean {
    let free = this.freeBytes;
    for (let chunk = Math.floor(offset / CHUNK_BYTES); chunk * CHUNK_BYTES < offset + length; chunk += 1) {
      if (!file.chunks.has(chunk)) {
        if (free < CHUNK_BYTES) return false;
        free -= CHUNK_BYTES;
        file.chunks.add(chunk);
      }
      const end = Math.min((chunk + 1) * CHUNK_BYTES, offset + length);
      if (end > file.sizeBytes) file.setSize(end);
    }
    return true;
  }

  /** As `allocate`, for bytes that are written where nothing is allocated. */
  demand(file: SectorFile, path: string, offset: number, length: number): void {
    for (let chunk = Math.floor(offset / CHUNK_BYTES); chunk * CHUNK_BYTES < offset + length; chunk += 1) {
      if (file.chunks.has(chunk)) continue;
      if (this.freeBytes < CHUNK_BYTES) throw fileErrorOfErrno('write', path, ENOSPC);
      file.chunks.add(chunk);
    }
  }

  /** Room for the rows of a commit; false when the databases would have to grow and the disk is full. */
  growMap(moreBytes: number): boolean {
    const wanted = 2 * (this.rowBytes + moreBytes) + MAP_BYTES_MIN;
    if (wanted <= this.#mapBytes) return true;
    if (wanted - this.#mapBytes > this.freeBytes) return false;
    this.#mapBytes = wanted;
    return true;
  }

  /** A range reads as zeros, and what it covers whole goes back. */
  punch(file: SectorFile, offset: number, length: number): void {
    file.writeZeros(offset, length);
    for (let chunk = Math.ceil(offset / CHUNK_BYTES); (chunk + 1) * CHUNK_BYTES <= offset + length; chunk += 1) {
      file.chunks.delete(chunk);
    }
  }

  /** The power goes. */
  cut(random: SeededRandom): void {
    const policy = CUT_POLICIES[random.below(CUT_POLICIES.length)];
    for (const change of this.#pending) if (random.below(2) === 0) settle(change);
    this.#pending = [];
    this.#revert(this.#root);
    for (const { file } of this.files()) file.cut(policy, random);
    this.#countRows();
  }

  #revert(directory: Directory): void {
    directory.names.clear();
    for (const [name, node] of directory.stable) {
      directory.names.set(name, node);
      if (node instanceof Directory) this.#revert(node);
    }
  }

  #countRows(): void {
    this.rowBytes = 0;
    for (const { node } of this.#walk(this.#root, '')) {
      if (!(node instanceof Directory)) continue;
      for (const [key, value] of node.rows) this.rowBytes += key.length / 2 + value.length;
    }
  }

  /** A copy of the whole disk as it is after a cut. */
  copy(): SimulatedDisk {
    const copy = new SimulatedDisk({ capacityBytes: this.capacityBytes });
    copy.#root = copyOf(this.#root);
    copy.#countRows();
    copy.#mapBytes = this.#mapBytes;
    return copy;
  }

  /** Tells two disks apart: every name, byte and row. */
  digest(): string {
    const hash = createHash('sha256');
    for (const { path, node } of [...this.#walk(this.#root, '')].sort((a, b) => (a.path < b.path ? -1 : 1))) {
      hash.update(`${path}\n`);
      if (node instanceof SectorFile) {
        // What is held back is never written, and large.
        const bytes = new Uint8Array(Math.min(node.sizeBytes, 4 * 1024 * 1024));
        node.read(0, bytes, 0, bytes.length);
        hash.update(`${node.sizeBytes}\n`).update(bytes);
      } else {
        for (const key of [...node.rows.keys()].sort()) hash.update(`${key}\n`).update(node.rows.get(key)!);
      }
    }
    return hash.digest('hex');
  }
}

function settle(change: NameChange): void {
  for (const { directory, name, node } of change) {
    if (node === null) directory.stable.delete(name);
    else directory.stable.set(name, node);
  }
}

function copyOf(directory: Directory): Directory {
  const copy = new Directory();
  for (const [name, node] of directory.stable) {
    const own = node instanceof Directory ? copyOf(node) : node.copy();
    copy.names.set(name, own);
    copy.stable.set(name, own);
  }
  for (const [key, value] of directory.rows) copy.rows.set(key, value.slice());
  return copy;
}
