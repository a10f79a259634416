import type { SeededRandom } from '../base/seeded-random.js';

/** One damage of one file. */
export interface Damage {
  /** Relative to the storage path. */
  readonly path: string;
  readonly kind: DamageKind;
  /** Byte, sector or page where it begins. */
  readonly offset: number;
  /** What the file holds afterwards. */
  apply(bytes: Buffer): Buffer;
}

type DamageKind = 'bit' | 'byte' | 'sector' | 'stale page' | 'swapped pages';

const SECTOR_BYTES = 512;
const PAGE_BYTES = 4096;

export function describeDamage({ path, kind, offset }: Damage): string {
  return `${kind} at ${String(offset)} of ${path}`;
}

function flipBit(path: string, offset: number, bit: number): Damage {
  return change(path, 'bit', offset, (bytes) => {
    bytes[offset] ^= 1 << bit;
  });
}

/** Any other value than the one that is there. */
function changeByte(path: string, offset: number, by: number): Damage {
  return change(path, 'byte', offset, (bytes) => {
    bytes[offset] ^= 1 + (by % 255);
  });
}

/** Either of the two, as the seed says. */
export function flip(path: string, offset: number, random: SeededRandom): Damage {
  return random.below(2) === 0 ? flipBit(path, offset, random.below(8)) : changeByte(path, offset, random.below(255));
}

export function zeroSector(path: string, sector: number): Damage {
  return change(path, 'sector', sector * SECTOR_BYTES, (bytes) => {
    bytes.fill(0, sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
  });
}

/** A write that never reached the disk: the page is what `older` says it was once. */
function stalePage(path: string, page: number, older: Buffer): Damage {
  const from = page * PAGE_BYTES;
  return change(path, 'stale page', from, (bytes) => {
    bytes.fill(0, from, from + PAGE_BYTES);
    bytes.set(older.subarray(from, from + PAGE_BYTES), from);
  });
}

export function swapPages(path: string, one: number, other: number): Damage {
  return change(path, 'swapped pages', one * PAGE_BYTES, (bytes) => {
    const held = Buffer.from(bytes.subarray(one * PAGE_BYTES, (one + 1) * PAGE_BYTES));
    bytes.copy(bytes, one * PAGE_BYTES, other * PAGE_BYTES, (other + 1) * PAGE_BYTES);
    held.copy(bytes, other * PAGE_BYTES);
  });
}

function change(path: string, kind: DamageKind, offset: number, edit: (bytes: Buffer) => void): Damage {
  return {
    path,
    kind,
    offset,
    apply: (bytes) => {
      const copy = Buffer.from(bytes);
      edit(copy);
      return copy;
    },
  };
}

/** Every page of which an older version is known that differs. */
export function stalePages(path: string, bytes: Buffer, older: readonly Buffer[]): Damage[] {
  const found: Damage[] = [];
  for (let page = 0; (page + 1) * PAGE_BYTES <= bytes.length; page += 1) {
    const now = bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    const versions: Buffer[] = [];
    for (const version of older) {
      const then = Buffer.alloc(PAGE_BYTES);
      // The file may have been shorter then.
      then.set(version.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES));
      if (then.equals(now) || versions.some((seen) => seen.equals(then))) continue;
      versions.push(then);
      found.push(stalePage(path, page, version));
    }
  }
  return found;
}

/** `count` of them, spread by the seed, in their order. */
export function sampleOf<T>(all: readonly T[], count: number, random: SeededRandom): T[] {
  if (all.length <= count) return [...all];
  const left = [...all];
  const chosen: T[] = [];
  while (chosen.length < count) chosen.push(...left.splice(random.below(left.length), 1));
  return chosen;
}
