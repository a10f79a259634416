import { PAGE_BYTES, PowerCut, SECTOR_BYTES, type CutPolicy } from '../base/power-cut.js';
import type { SeededRandom } from '../base/seeded-random.js';

const PAGE_SECTORS = PAGE_BYTES / SECTOR_BYTES;
/** Space is given out in pieces of this size. */
export const CHUNK_BYTES = 64 * 1024;

/** What a cached sector is to the disk. */
interface Dirty {
  /** Grows with every write: tells what a sync that began earlier has covered. */
  version: number;
  /** What the sector held between the stable content and the newest: any of it may have reached the disk. */
  readonly older: { readonly version: number; readonly bytes: Uint8Array }[];
}

/** A page that differs, or may differ, from what the disk holds. */
interface CachedPage {
  readonly bytes: Uint8Array;
  readonly dirty: (Dirty | null)[];
  /** Sectors whose write failed after the kernel had forgotten them: read from memory, never written. */
  readonly ghost: boolean[];
}

/** What a sync that has begun covers. */
export interface SyncCover {
  readonly sectors: readonly { readonly sector: number; readonly version: number }[];
  readonly sizeBytes: number;
}

export const CUT_POLICIES: readonly CutPolicy[] = [
  'all lost',
  'all kept',
  'coins',
  'few lost',
  'one lost',
  'pages',
  'older versions',
];

/**
 * The content of one file: what the disk holds, and over it the page cache with what was written since. Sectors of
 * 512 bytes reach the disk whole, in any order, at any time between their write and the end of a sync that covers them.
 */
export class SectorFile {
  readonly #stable = new Map<number, Uint8Array>();
  readonly #cache = new Map<number, CachedPage>();
  /** Space taken, in chunks. */
  readonly chunks = new Set<number>();
  /** Sectors that the medium cannot read any more; writing one mends it. */
  readonly bad = new Set<number>();
  #sizeBytes = 0;
  #stableSizeBytes = 0;
  #version = 0;

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Copies [offset, offset + length) to `into` as far as the file goes; returns the bytes copied. */
  read(offset: number, into: Uint8Array, intoOffset: number, length: number): number {
    const end = Math.min(offset + length, this.#sizeBytes);
    let at = offset;
    while (at < end) {
      const page = Math.floor(at / PAGE_BYTES);
      const within = at % PAGE_BYTES;
      const step = Math.min(end - at, PAGE_BYTES - within);
      const target = intoOffset + at - offset;
      const bytes = this.#cache.get(page)?.bytes ?? this.#stable.get(page);
      if (bytes === undefined) into.fill(0, target, target + step);
      else into.set(bytes.subarray(within, within + step), target);
      at += step;
    }
    return Math.max(end - offset, 0);
  }

  /** Whether the medium can give back all of a range. */
  readable(offset: number, length: number): boolean {
    if (this.bad.size === 0) return true;
    return ![...this.bad].some(
      (sector) => sector * SECTOR_BYTES < offset + length && offset < (sector + 1) * SECTOR_BYTES,
    );
  }

  /** Puts bytes into the page cache. */
  write(offset: number, bytes: Uint8Array): void {
    if (this.bad.size > 0) this.#mend(offset, bytes.length);
    let at = 0;
    while (at < bytes.length) {
      const page = Math.floor((offset + at) / PAGE_BYTES);
      const within = (offset + at) % PAGE_BYTES;
      const step = Math.min(bytes.length - at, PAGE_BYTES - within);
      const cached = this.#cached(page);
      this.#touch(cached, within, step);
      cached.bytes.set(bytes.subarray(at, at + step), within);
      at += step;
    }
    this.#sizeBytes = Math.max(this.#sizeBytes, offset + bytes.length);
  }

  /** Zeros over a range; pages that nobody has written stay unwritten. */
  writeZeros(offset: number, length: number): void {
    const end = offset + length;
    for (let at = offset; at < end;) {
      const page = Math.floor(at / PAGE_BYTES);
      const within = at % PAGE_BYTES;
      const step = Math.min(end - at, PAGE_BYTES - within);
      if (this.#cache.has(page) || this.#stable.has(page)) {
        const cached = this.#cached(page);
        this.#touch(cached, within, step);
        cached.bytes.fill(0, within, within + step);
      }
      at += step;
    }
  }

  #mend(offset: number, length: number): void {
    for (const sector of this.bad) {
      if (sector * SECTOR_BYTES >= offset && (sector + 1) * SECTOR_BYTES <= offset + length) this.bad.delete(sector);
    }
  }

  #cached(page: number): CachedPage {
    let cached = this.#cache.get(page);
    if (cached === undefined) {
      const stable = this.#stable.get(page);
      cached = {
        bytes: stable === undefined ? new Uint8Array(PAGE_BYTES) : stable.slice(),
        dirty: new Array<Dirty | null>(PAGE_SECTORS).fill(null),
        ghost: new Array<boolean>(PAGE_SECTORS).fill(false),
      };
      this.#cache.set(page, cached);
    }
    return cached;
  }

  #touch(cached: CachedPage, within: number, length: number): void {
    this.#version += 1;
    const last = Math.floor((within + length - 1) / SECTOR_BYTES);
    for (let n = Math.floor(within / SECTOR_BYTES); n <= last; n += 1) {
      const dirty = cached.dirty[n];
      if (dirty === null) {
        cached.dirty[n] = { version: this.#version, older: [] };
        cached.ghost[n] = false;
        continue;
      }
      const bytes = cached.bytes.slice(n * SECTOR_BYTES, (n + 1) * SECTOR_BYTES);
      dirty.older.push({ version: dirty.version, bytes });
      dirty.version = this.#version;
    }
  }

  setSize(sizeBytes: number): void {
    if (sizeBytes < this.#sizeBytes) {
      const from = Math.ceil(sizeBytes / PAGE_BYTES);
      for (const pages of [this.#cache, this.#stable])
        for (const page of pages.keys()) if (page >= from) pages.delete(page);
      const chunk = Math.ceil(sizeBytes / CHUNK_BYTES);
      for (const each of this.chunks) if (each >= chunk) this.chunks.delete(each);
      this.#stableSizeBytes = Math.min(this.#stableSizeBytes, sizeBytes);
    }
    this.#sizeBytes = sizeBytes;
  }

  beginSync(): SyncCover {
    const sectors: { sector: number; version: number }[] = [];
    for (const [page, cached] of this.#cache) {
      for (let n = 0; n < PAGE_SECTORS; n += 1) {
        const dirty = cached.dirty[n];
        if (dirty !== null) sectors.push({ sector: page * PAGE_SECTORS + n, version: dirty.version });
      }
    }
    return { sectors, sizeBytes: this.#sizeBytes };
  }

  /** What the sync covered is on the disk. */
  endSync(cover: SyncCover): void {
    for (const { sector, version } of cover.sectors) this.#store(sector, version);
    this.#stableSizeBytes = Math.min(cover.sizeBytes, this.#sizeBytes);
  }

  /**
   * The kernel could not store everything, and says so once. Each sector was stored, is still dirty, or counts as clean
   * although only memory has it.
   */
  failSync(cover: SyncCover, random: SeededRandom): void {
    const policy = random.below(4);
    for (const { sector, version } of cover.sectors) {
      const fate = policy === 3 ? random.below(3) : policy;
      if (fate === 0) this.#store(sector, version);
      if (fate !== 2) continue;
      const cached = this.#cache.get(Math.floor(sector / PAGE_SECTORS));
      const n = sector % PAGE_SECTORS;
      if (cached === undefined || cached.dirty[n]?.version !== version) continue;
      cached.dirty[n] = null;
      cached.ghost[n] = true;
    }
  }

  #store(sector: number, version: number): void {
    const page = Math.floor(sector / PAGE_SECTORS);
    const cached = this.#cache.get(page);
    const n = sector % PAGE_SECTORS;
    const dirty = cached?.dirty[n];
    if (cached === undefined || dirty === undefined || dirty === null) return;
    const within = n * SECTOR_BYTES;
    if (dirty.version === version) {
      this.#settle(page, within, cached.bytes.subarray(within, within + SECTOR_BYTES));
      cached.dirty[n] = null;
      if (cached.dirty.every((each) => each === null) && !cached.ghost.includes(true)) this.#cache.delete(page);
      return;
    }
    const at = dirty.older.findIndex((each) => each.version === version);
    if (at < 0) return;
    this.#settle(page, within, dirty.older[at].bytes);
    dirty.older.splice(0, at + 1);
  }

  #settle(page: number, within: number, bytes: Uint8Array): void {
    let stable = this.#stable.get(page);
    if (stable === undefined) this.#stable.set(page, (stable = new Uint8Array(PAGE_BYTES)));
    stable.set(bytes, within);
  }

  /** Clean pages leave memory: what only memory had is gone. */
  dropClean(): void {
    for (const [page, cached] of this.#cache) {
      if (!cached.ghost.includes(true)) continue;
      const stable = this.#stable.get(page);
      for (let n = 0; n < PAGE_SECTORS; n += 1) {
        if (!cached.ghost[n]) continue;
        cached.ghost[n] = false;
        const within = n * SECTOR_BYTES;
        if (stable === undefined) cached.bytes.fill(0, within, within + SECTOR_BYTES);
        else cached.bytes.set(stable.subarray(within, within + SECTOR_BYTES), within);
      }
      if (cached.dirty.every((each) => each === null)) this.#cache.delete(page);
    }
  }

  /** Whether some sector is in memory only although it counts as stored. */
  get haunted(): boolean {
    for (const cached of this.#cache.values()) if (cached.ghost.includes(true)) return true;
    return false;
  }

  /** The power goes: an arbitrary part of what no sync covered is on the disk, the rest is as it was. */
  cut(policy: CutPolicy, random: SeededRandom): void {
    const unsynced: { page: number; n: number; dirty: Dirty }[] = [];
    for (const [page, cached] of this.#cache) {
      cached.dirty.forEach((dirty, n) => {
        if (dirty !== null) unsynced.push({ page, n, dirty });
      });
    }
    const power = new PowerCut(policy, random, unsynced.length);
    for (const [at, { page, n, dirty }] of unsynced.entries()) {
      if (power.loses(at, page)) continue;
      const old = policy === 'older versions' && dirty.older.length > 0;
      if (old) this.#settle(page, n * SECTOR_BYTES, dirty.older[random.below(dirty.older.length)].bytes);
      else {
        const cached = this.#cache.get(page)!;
        this.#settle(page, n * SECTOR_BYTES, cached.bytes.subarray(n * SECTOR_BYTES, (n + 1) * SECTOR_BYTES));
      }
    }
    this.#cache.clear();
    const kept = policy === 'all kept' || (policy !== 'all lost' && random.below(2) === 0);
    const sizeBytes = kept ? this.#sizeBytes : Math.min(this.#stableSizeBytes, this.#sizeBytes);
    this.setSize(sizeBytes);
    this.#stableSizeBytes = sizeBytes;
  }

  /** The medium changes by itself: these bytes are on the disk and in memory, and no sync has to do with it. */
  damage(offset: number, bytes: Uint8Array): void {
    bytes.forEach((byte, n) => {
      const page = Math.floor((offset + n) / PAGE_BYTES);
      const within = (offset + n) % PAGE_BYTES;
      const cached = this.#cache.get(page);
      if (cached !== undefined) cached.bytes[within] = byte;
      let stable = this.#stable.get(page);
      if (stable === undefined) this.#stable.set(page, (stable = new Uint8Array(PAGE_BYTES)));
      stable[within] = byte;
    });
  }

  /** A copy of what the disk holds, for going back to it. Everything must be on the disk. */
  copy(): SectorFile {
    const copy = new SectorFile();
    for (const [page, bytes] of this.#stable) copy.#stable.set(page, bytes.slice());
    for (const chunk of this.chunks) copy.chunks.add(chunk);
    copy.#sizeBytes = this.#sizeBytes;
    copy.#stableSizeBytes = this.#sizeBytes;
    return copy;
  }
}
