/**
 * One batch of block reads: where each sealed block lies, what it must prove, and where its plaintext goes.
 * Rows may name different files, keyrings and destinations. The kernel reads rows that are adjacent on disk together.
 */

/** Ints per row: file, destination number, offset in the destination, keyring, plaintext bytes, stored bytes, what is delivered. */
export const OPEN_INTS = 7;
/** What is delivered: the plaintext, or the block as it is sealed, once it is proven, of generation 0. */
export const Deliver = { PLAIN: 0, SEALED: 1 } as const;
/** Doubles per row: file offset of the sealed block, block index (additional data), expected segment generation. */
export const OPEN_NUMBERS = 3;

/** Values of `status`. Negative numbers other than these are errnos. */
export const OpenStatus = {
  OK: 0,
  /** Not in the page cache (openNow only). */
  MISS: 1,
  /** The tag or checksum does not match: the bytes are not what was written. */
  UNAUTHENTIC: 2,
  /** The block header is damaged (its CRC32C is wrong). */
  HEADER: 3,
  /** The header names another segment generation: a lost write left an older block here. */
  GENERATION: 4,
  /** The header names a data key that this keyring does not hold, or plaintext where the keyring forbids it. */
  KEY: 5,
  /** The file ends before the block does. */
  SHORT: 6,
} as const;

export class OpenBatch {
  ints = new Int32Array(OPEN_INTS * 64);
  numbers = new Float64Array(OPEN_NUMBERS * 64);
  status = new Int32Array(64);
  count = 0;
  readonly destinations: Uint8Array[] = [];

  clear(): void {
    this.count = 0;
    this.destinations.length = 0;
  }

  /**
   * Adds a row with status MISS and returns its number. Plaintext goes to destination[offset, offset + plainBytes), a block
   * that is delivered as it is sealed to [offset, offset + storedBytes).
   */
  add(
    file: number,
    fileOffset: number,
    storedBytes: number,
    generation: number,
    index: number,
    keyring: number,
    destination: number,
    destinationOffset: number,
    plainBytes: number,
    deliver: 0 | 1 = Deliver.PLAIN,
  ): number {
    const row = this.count;
    if (row === this.status.length) this.#grow();
    let at = row * OPEN_INTS;
    this.ints[at++] = file;
    this.ints[at++] = destination;
    this.ints[at++] = destinationOffset;
    this.ints[at++] = keyring;
    this.ints[at++] = plainBytes;
    this.ints[at++] = storedBytes;
    this.ints[at] = deliver;
    at = row * OPEN_NUMBERS;
    this.numbers[at++] = fileOffset;
    this.numbers[at++] = index;
    this.numbers[at] = generation;
    this.status[row] = OpenStatus.MISS;
    this.count = row + 1;
    return row;
  }

  #grow(): void {
    const ints = new Int32Array(this.ints.length * 2);
    ints.set(this.ints);
    this.ints = ints;
    const numbers = new Float64Array(this.numbers.length * 2);
    numbers.set(this.numbers);
    this.numbers = numbers;
    const status = new Int32Array(this.status.length * 2);
    status.set(this.status);
    this.status = status;
  }
}
