/**
 * Looks whether the pages of an LMDB file hang together, by reading the file and mapping nothing. LMDB believes its
 * pages: a flipped bit in one of them hides rows, ends the process that follows it (SIGBUS), or gives a page that is in
 * use to the next writer. The layout is that of the LMDB which the `lmdb` package carries (data version 2), little endian:
 *
 *   page    0  8  page number                     meta page, behind the header
 *           8  8  transaction that wrote it         0  4  magic 0xBEEFC0DE
 *          16  2  pad                               4  4  data version
 *          18  2  flags: 1 branch, 2 leaf,         24 48  the tree of free pages
 *                 4 overflow, 8 meta               72 48  the tree of rows
 *          20  2  lower: bytes of pointers        120  8  last page
 *          22  2  upper: where nodes begin        128  8  transaction
 *          24     pointers, 2 bytes each: a node's offset behind this header
 *
 *   tree    0  4  pad (page size, in the first)   node    0  4  bytes of data (branch: low bits of the child)
 *           4  2  flags: 8 for integer keys               4  2  flags: 1 data on overflow pages (branch: high bits)
 *           6  2  depth                                   6  2  bytes of key
 *           8  8  branch pages                            8     key, then data
 *          16  8  leaf pages
 *          24  8  overflow pages
 *          32  8  entries
 *          40  8  root, all ones: none
 *
 * Each tree is walked breadth first. A row of the tree of free pages is a count and as many words: 0 is a gap, -n says
 * that the next word starts a run of n pages.
 */

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

export interface StructureOptions {
  /** Bytes of the file from `offset` on; fewer at its end. */
  readonly read: (offset: number, length: number) => Buffer;
  readonly fileBytes: number;
  /** Asked before each page of rows: true ends the walk, and what was not reached is not judged. */
  readonly enough: () => boolean;
}

const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
export const HEADER_BYTES = 24;
export const META_BYTES = HEADER_BYTES + 144;
export const NODE_BYTES = 8;
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65536;
export const BRANCH = 1;
const LEAF = 2;
const OVERFLOW = 4;
const META = 8;
export const BIG_DATA = 1;
/** First page, transaction, number of pages. */
const BIG_DATA_BYTES = 24;
const INTEGER_KEYS = 8;
const NO_PAGE = 2n ** 64n - 1n;
/** Deeper than any tree can be. */
const DEPTH_MAX = 32;

/** Ends the walk; its message is the answer. */
class Problem extends Error {}

interface Tree {
  readonly name: string;
  readonly integerKeys: boolean;
  readonly depth: number;
  readonly branchPages: number;
  readonly leafPages: number;
  readonly overflowPages: number;
  readonly entries: number;
  /** -1: empty. */
  readonly root: number;
}

export interface Meta {
  readonly pageBytes: number;
  readonly free: Tree;
  readonly rows: Tree;
  readonly lastPage: number;
  readonly transaction: number;
}

/** A page to visit, and the range of keys that it may hold. */
interface Visit {
  readonly page: number;
  readonly from: Buffer | null;
  readonly to: Buffer | null;
}

/** `structureProblem` of a file. Throws what reading it throws. */
export function fileStructureProblem(path: string, enough: () => boolean): string {
  const file = openSync(path, 'r');
  try {
    const read = (offset: number, length: number): Buffer => {
      const bytes = Buffer.alloc(length);
      return bytes.subarray(0, readSync(file, bytes, 0, length, offset));
    };
    return structureProblem({ read, fileBytes: fstatSync(file).size, enough });
  } finally {
    closeSync(file);
  }
}

/** '' or what is wrong with the file, a part of a sentence. */
export function structureProblem(options: StructureOptions): string {
  try {
    new Walk(options).run();
    return '';
  } catch (thrown) {
    if (thrown instanceof Problem) return thrown.message;
    // A number out of any range on a page that nothing vouches for.
    if (thrown instanceof RangeError) return `its pages cannot be followed: ${thrown.message}`;
    throw thrown;
  }
}

class Walk {
  readonly #options: StructureOptions;
  readonly #seen = new Set<number>([0, 1]);
  #meta!: Meta;

  constructor(options: StructureOptions) {
    this.#options = options;
  }

  run(): void {
    const [one, other] = this.#metas();
    this.#meta = one.transaction > other.transaction ? one : other;
    const { free, rows, lastPage, pageBytes } = this.#meta;
    // Each commit writes the older of the two, so they are one apart. A new file, or a compacted copy, has but one.
    const before = this.#meta === one ? other : one;
    const apart = this.#meta.transaction - before.transaction;
    if (apart !== 1 && (before.transaction !== 0 || before.rows.root >= 0)) {
      throw new Problem(`its two meta pages are ${String(apart)} transactions apart`);
    }
    // Pages at the end that are free may never have been written.
    if (lastPage < 1 || lastPage > 2 ** 44) throw new Problem(`its last page is said to be ${String(lastPage)}`);
    if (this.#options.fileBytes < 2 * pageBytes) throw new Problem('it is shorter than its meta pages');
    const complete = this.#walk(
      free,
      () => false,
      (node) => this.#takeFree(node),
    );
    if (complete) this.#walk(rows, this.#options.enough, () => undefined);
  }

  #metas(): [Meta, Meta] {
    const first = readMeta(this.#options.read(0, META_BYTES), 0);
    const second = readMeta(this.#options.read(first.pageBytes, META_BYTES), 1);
    if (first.pageBytes !== second.pageBytes) throw new Problem('its two meta pages differ in the size of a page');
    return [first, second];
  }

  /** false: it was enough before the end. */
  #walk(tree: Tree, enough: () => boolean, take: (data: Buffer) => void): boolean {
    const counted = { branch: 0, leaf: 0, overflow: 0, entries: 0 };
    let level: Visit[] = tree.root < 0 ? [] : [{ page: tree.root, from: null, to: null }];
    let depth = 0;
    while (level.length > 0) {
      depth += 1;
      if (depth > Math.min(tree.depth, DEPTH_MAX)) throw new Problem(`${tree.name} are deeper than they say`);
      const below: Visit[] = [];
      for (const visit of level) {
        if (depth === tree.depth && enough()) return false;
        const page = this.#read(visit.page, tree);
        const flags = page.readUInt16LE(18);
        if (flags !== (depth === tree.depth ? LEAF : BRANCH))
          throw new Problem(`page ${String(visit.page)} is of a wrong kind`);
        const nodes = this.#nodes(page, visit, tree, flags === BRANCH);
        if (flags === BRANCH) {
          counted.branch += 1;
          for (const [n, node] of nodes.entries()) {
            const from = n === 0 ? visit.from : keyOf(page, node);
            const to = n + 1 === nodes.length ? visit.to : keyOf(page, nodes[n + 1]);
            below.push({ page: childOf(page, node), from, to });
          }
          continue;
        }
        counted.leaf += 1;
        counted.entries += nodes.length;
        for (const node of nodes) counted.overflow += this.#data(page, node, tree, take);
      }
      level = below;
    }
    const same =
      depth === tree.depth &&
      counted.branch === tree.branchPages &&
      counted.leaf === tree.leafPages &&
      counted.overflow === tree.overflowPages &&
      counted.entries === tree.entries;
    if (!same) throw new Problem(`${tree.name} do not add up`);
    return true;
  }

  #read(number: number, tree: Tree): Buffer {
    this.#claim(number, tree.name);
    const { pageBytes, transaction } = this.#meta;
    const page = this.#options.read(number * pageBytes, pageBytes);
    if (page.length < pageBytes) throw new Problem(`page ${String(number)} lies behind the end of the file`);
    if (numberAt(page, 0) !== number) throw new Problem(`another page lies in the place of page ${String(number)}`);
    if (numberAt(page, 8) > transaction) throw new Problem(`page ${String(number)} is newer than the file`);
    return page;
  }

  #claim(number: number, name: string): void {
    if (number < 2 || number > this.#meta.lastPage)
      throw new Problem(`${name} name page ${String(number)}, which is not there`);
    if (this.#seen.has(number)) throw new Problem(`page ${String(number)} is in use twice`);
    this.#seen.add(number);
  }

  /** Offsets of a page's nodes, which fill it from `upper` on without gaps, their keys in order and inside the range. */
  #nodes(page: Buffer, visit: Visit, tree: Tree, branch: boolean): number[] {
    const wrong = (what: string): Problem => new Problem(`page ${String(visit.page)} ${what}`);
    const lower = page.readUInt16LE(20);
    const upper = page.readUInt16LE(22);
    const room = page.length - HEADER_BYTES;
    if (lower % 2 !== 0 || lower === 0 || lower > upper || upper > room) throw wrong('has no sound header');
    const nodes: number[] = [];
    const ends = new Map<number, number>();
    let last: Buffer | null = null;
    for (let at = HEADER_BYTES; at < HEADER_BYTES + lower; at += 2) {
      const node = HEADER_BYTES + page.readUInt16LE(at);
      if (node < HEADER_BYTES + upper || node + NODE_BYTES > page.length) throw wrong('points out of itself');
      ends.set(node, endOf(page, node, branch));
      const key = keyOf(page, node);
      // The first key of a branch page stands for everything below its second.
      const free = branch && nodes.length === 0;
      if (!free) {
        if (last !== null && order(last, key, tree) >= 0) throw wrong('has its keys out of order');
        if (visit.from !== null && order(key, visit.from, tree) < 0) throw wrong('holds keys of another page');
        if (visit.to !== null && order(key, visit.to, tree) >= 0) throw wrong('holds keys of another page');
        last = key;
      }
      nodes.push(node);
    }
    let at = HEADER_BYTES + upper;
    for (const [node, end] of [...ends].sort(([a], [b]) => a - b)) {
      if (node !== at) throw wrong('has nodes that do not fit together');
      at = end;
    }
    if (at !== page.length) throw wrong('has nodes that do not fit together');
    return nodes;
  }

  /** Hands a leaf node's data on; the number of overflow pages that it takes. */
  #data(page: Buffer, node: number, tree: Tree, take: (data: Buffer) => void): number {
    const bytes = page.readUInt32LE(node);
    const flags = page.readUInt16LE(node + 4);
    const at = node + NODE_BYTES + page.readUInt16LE(node + 6);
    if (flags === 0) {
      take(page.subarray(at, at + bytes));
      return 0;
    }
    if (flags !== BIG_DATA) throw new Problem(`${tree.name} hold a row of an unknown kind`);
    const first = numberAt(page, at);
    const { pageBytes } = this.#meta;
    const head = this.#read(first, tree);
    const pages = head.readUInt32LE(20);
    const wanted = numberAt(page, at + 16);
    if (head.readUInt16LE(18) !== OVERFLOW || pages !== wanted || HEADER_BYTES + bytes > pages * pageBytes) {
      throw new Problem(`page ${String(first)} does not hold the row that it should`);
    }
    for (let n = 1; n < pages; n += 1) this.#claim(first + n, tree.name);
    const from = first * pageBytes + HEADER_BYTES;
    if (from + bytes > this.#options.fileBytes)
      throw new Problem(`page ${String(first)} lies behind the end of the file`);
    // Only the lists of free pages are read; rows carry checksums of their own.
    if (tree.integerKeys) take(this.#options.read(from, bytes));
    return pages;
  }

  #takeFree(data: Buffer): void {
    const words = data.length / 8;
    const count = words < 1 ? 0 : numberAt(data, 0);
    if (!Number.isInteger(words) || count > words - 1) throw new Problem('a list of free pages is damaged');
    for (let n = 1; n <= count; n += 1) {
      const word = data.readBigInt64LE(n * 8);
      if (word === 0n) continue;
      let run = 1;
      let first = Number(word);
      if (word < 0n) {
        run = -first;
        n += 1;
        if (n > count || run > this.#meta.lastPage) throw new Problem('a list of free pages is damaged');
        first = numberAt(data, n * 8);
      }
      for (let page = first; page < first + run; page += 1) this.#claim(page, 'free pages');
    }
  }
}

/** Throws for a page that is none. */
export function readMeta(page: Buffer, number: number): Meta {
  const name = `meta page ${String(number)}`;
  if (page.length < META_BYTES) throw new Problem('it is shorter than its meta pages');
  const at = HEADER_BYTES;
  const flags = page.readUInt16LE(18);
  if (numberAt(page, 0) !== number || flags !== META || page.readUInt32LE(at) !== MAGIC) {
    throw new Problem(`${name} is damaged`);
  }
  const version = page.readUInt32LE(at + 4);
  if (version !== DATA_VERSION) throw new Problem(`${name} has data version ${String(version)}`);
  const pageBytes = page.readUInt32LE(at + 24);
  const power = pageBytes > 0 && (pageBytes & (pageBytes - 1)) === 0;
  if (!power || pageBytes < PAGE_BYTES_MIN || pageBytes > PAGE_BYTES_MAX) throw new Problem(`${name} is damaged`);
  return {
    pageBytes,
    free: readTree(page, at + 24, 'free pages', INTEGER_KEYS),
    rows: readTree(page, at + 72, 'rows', 0),
    lastPage: numberAt(page, at + 120),
    transaction: numberAt(page, at + 128),
  };
}

function readTree(page: Buffer, at: number, name: string, flags: number): Tree {
  if (page.readUInt16LE(at + 4) !== flags) throw new Problem(`the tree of ${name} has other flags than it should`);
  return {
    name,
    integerKeys: flags === INTEGER_KEYS,
    depth: page.readUInt16LE(at + 6),
    branchPages: numberAt(page, at + 8),
    leafPages: numberAt(page, at + 16),
    overflowPages: numberAt(page, at + 24),
    entries: numberAt(page, at + 32),
    root: page.readBigUInt64LE(at + 40) === NO_PAGE ? -1 : numberAt(page, at + 40),
  };
}

function endOf(page: Buffer, node: number, branch: boolean): number {
  const flags = page.readUInt16LE(node + 4);
  const data = branch ? 0 : (flags & BIG_DATA) !== 0 ? BIG_DATA_BYTES : page.readUInt32LE(node);
  const bytes = NODE_BYTES + page.readUInt16LE(node + 6) + data;
  const end = node + bytes + (bytes % 2);
  if (end > page.length) throw new Problem('a row reaches out of its page');
  return end;
}

export function keyOf(page: Buffer, node: number): Buffer {
  return page.subarray(node + NODE_BYTES, node + NODE_BYTES + page.readUInt16LE(node + 6));
}

export function childOf(page: Buffer, node: number): number {
  return page.readUInt32LE(node) + page.readUInt16LE(node + 4) * 2 ** 32;
}

function order(one: Buffer, other: Buffer, tree: Tree): number {
  if (!tree.integerKeys) return Buffer.compare(one, other);
  return numberAt(one, 0) - numberAt(other, 0);
}

/** Beyond 2^53 it is no number that is exact, and no page either. */
export function numberAt(bytes: Buffer, at: number): number {
  return Number(bytes.readBigUInt64LE(at));
}
