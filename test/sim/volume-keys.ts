import type { HeadKeys } from '../../src/store/head.js';
import { PLAIN_KEY_NUMBER } from '../../src/io/block-keys.js';
import type { Birth } from './journal-history.js';

/** Drawn keys have higher numbers than any layer. */
const DRAWN_FROM = 1_000_000;

/** What the control plane has recorded of a volume's keys, for the volume and its snapshots. */
export interface KeyRow {
  /** When the volume began, in the journal. */
  readonly bornAt: number;
  /** Data keys that its blocks may be under, the one of new writes last unless they are not encrypted. */
  readonly numbers: readonly number[];
  readonly encrypted: boolean;
  /** Blocks that are not encrypted may be there. */
  readonly plain: boolean;
}

/**
 * The keys of all volumes, as far as the control plane has them: a key that no row names is destroyed. It goes back with the
 * disk, as the real one would.
 */
export class VolumeKeys {
  /** By volume, which is its first layer. */
  readonly #rows = new Map<number, KeyRow>();
  #drawn = 0;

  copy(): VolumeKeys {
    const copy = new VolumeKeys();
    for (const [volume, row] of this.#rows) copy.#rows.set(volume, row);
    copy.#drawn = this.#drawn;
    return copy;
  }

  /**
   * The row of a volume. Every third family begins without encryption; a clone begins with the keys of the volume that it
   * shows blocks of: `origin`.
   */
  rowOf(birth: Birth, origin: Birth | undefined): KeyRow {
    const { volume, volumeBornAt: bornAt, root } = birth;
    let row = this.#rows.get(volume);
    if (row !== undefined) return row;
    if (origin !== undefined) row = { ...this.rowOf(origin, undefined), bornAt };
    else if (root % 3 === 0) row = { bornAt, numbers: [], encrypted: false, plain: true };
    else row = { bornAt, numbers: [root], encrypted: true, plain: false };
    this.#rows.set(volume, row);
    return row;
  }

  get(volume: number): KeyRow | undefined {
    return this.#rows.get(volume);
  }

  put(volume: number, row: KeyRow): void {
    this.#rows.set(volume, row);
  }

  /** The journal goes on at `sequence`: volumes that began there or later have never been. */
  rewind(sequence: number): void {
    for (const [volume, { bornAt }] of this.#rows) if (bornAt >= sequence) this.#rows.delete(volume);
  }

  /** The number of a new data key. */
  draw(): number {
    return DRAWN_FROM + (this.#drawn += 1);
  }
}

/** What seals new writes. */
export function sealingNumberOf({ numbers, encrypted }: KeyRow): number {
  return encrypted ? (numbers.at(-1) ?? PLAIN_KEY_NUMBER) : PLAIN_KEY_NUMBER;
}

/** Under which its blocks may be, though no new write is. */
export function retiredNumbersOf(row: KeyRow): number[] {
  const sealing = sealingNumberOf(row);
  return [...(row.plain ? [PLAIN_KEY_NUMBER] : []), ...row.numbers].filter((number) => number !== sealing);
}

/** The row of a volume none of whose blocks is under `number` any more. */
export function without(row: KeyRow, number: number): KeyRow {
  if (number === PLAIN_KEY_NUMBER) return { ...row, plain: false };
  return { ...row, numbers: row.numbers.filter((each) => each !== number) };
}

/** What a volume, or one of its snapshots, is opened with. Secrets follow from numbers, so that a restored disk can be opened. */
export function headKeysOf(row: KeyRow): HeadKeys {
  const keys = row.numbers.map((number) => {
    const secret = new Uint8Array(32).fill(number * 7 + 1);
    new DataView(secret.buffer).setUint32(0, number);
    return { number, secret };
  });
  if (row.encrypted) return { keys, plain: row.plain ? 'read' : 'refused' };
  return { keys, plain: 'written' };
}
