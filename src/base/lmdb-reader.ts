/**
 * Reads the rows of an LMDB file through a descriptor that can only read: nothing is mapped, no lock is taken, and no byte of
 * the folder changes. For a file that nobody writes and whose pages hang together (`structureProblem` says so). The layout
 * is that of lmdb-structure.ts.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import {
  BIG_DATA,
  BRANCH,
  childOf,
  HEADER_BYTES,
  keyOf,
  type Meta,
  META_BYTES,
  NODE_BYTES,
  numberAt,
  readMeta,
  structureProblem,
} from './lmdb-structure.js';

/** Pages that are kept: those near the root are asked for again and again. */
const PAGES_KEPT_MAX = 2048;

export interface LmdbRow {
  readonly key: Buffer;
  readonly value: Buffer;
}

export class LmdbReader {
  readonly #file: number;
  readonly #meta: Meta | null;
  readonly #pages = new Map<number, Buffer>();
  /** '' or what is wrong with the pages: then it has no rows. */
  readonly problem: string;

  private constructor(file: number, meta: Meta | null, problem: string) {
    this.#file = file;
    this.#meta = meta;
    this.problem = problem;
  }

  /** Looks at all pages first. Throws what opening and reading throw. */
  static open(path: string): LmdbReader {
    const file = openSync(path, 'r');
    try {
      const read = (offset: number, length: number): Buffer => readAt(file, offset, length);
      const problem = structureProblem({ read, fileBytes: fstatSync(file).size, enough: () => false });
      if (problem !== '') return new LmdbReader(file, null, problem);
      const first = readMeta(read(0, META_BYTES), 0);
      const second = readMeta(read(first.pageBytes, META_BYTES), 1);
      return new LmdbReader(file, first.transaction > second.transaction ? first : second, '');
    } catch (thrown) {
      closeSync(file);
      throw thrown;
    }
  }

  get(key: Uint8Array): Buffer | null {
    for (const row of this.rows(key)) return row.key.equals(key) ? row.value : null;
    return null;
  }

  /** All rows from a key on, in the order of their bytes. */
  *rows(from: Uint8Array = new Uint8Array(0)): Generator<LmdbRow> {
    if (this.#meta !== null && this.#meta.rows.root >= 0) yield* this.#below(this.#meta.rows.root, Buffer.from(from));
  }

  close(): void {
    closeSync(this.#file);
  }

  *#below(number: number, from: Buffer): Generator<LmdbRow> {
    const page = this.#page(number);
    const nodes: number[] = [];
    for (let at = HEADER_BYTES; at < HEADER_BYTES + page.readUInt16LE(20); at += 2) {
      nodes.push(HEADER_BYTES + page.readUInt16LE(at));
    }
    if ((page.readUInt16LE(18) & BRANCH) !== 0) {
      // The child that the key would be in: the last whose first key is not behind it.
      let n = nodes.length - 1;
      while (n > 0 && Buffer.compare(keyOf(page, nodes[n]), from) > 0) n -= 1;
      for (; n < nodes.length; n += 1) yield* this.#below(childOf(page, nodes[n]), from);
      return;
    }
    for (const node of nodes) {
      const key = keyOf(page, node);
      if (Buffer.compare(key, from) >= 0) yield { key: Buffer.from(key), value: this.#value(page, node) };
    }
  }

  #value(page: Buffer, node: number): Buffer {
    const bytes = page.readUInt32LE(node);
    const at = node + NODE_BYTES + page.readUInt16LE(node + 6);
    if ((page.readUInt16LE(node + 4) & BIG_DATA) === 0) return Buffer.from(page.subarray(at, at + bytes));
    return readAt(this.#file, numberAt(page, at) * page.length + HEADER_BYTES, bytes);
  }

  #page(number: number): Buffer {
    let page = this.#pages.get(number);
    if (page === undefined) {
      const { pageBytes } = this.#meta as Meta;
      page = readAt(this.#file, number * pageBytes, pageBytes);
      const oldest = this.#pages.keys().next();
      if (this.#pages.size >= PAGES_KEPT_MAX && oldest.done !== true) this.#pages.delete(oldest.value);
    } else {
      this.#pages.delete(number);
    }
    this.#pages.set(number, page);
    return page;
  }
}

function readAt(file: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, readSync(file, bytes, 0, length, offset));
}
