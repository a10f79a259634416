/**
 * One append: records in journal order, each a header template followed by sealed blocks. Arrays are owned by this
 * object, grown by `reserve...`, and reused from append to append.
 *
 * The kernel lays the records out one after another from the file offset of the append:
 *   header bytes (as given, `headerBytes` long, alignment padding included), then its blocks, each
 *   `storedBytes` long: 64 bytes of block header, ciphertext, zeros up to storedBytes.
 * It fills in: the payload CRC32C and the header CRC32C of each record (see RECORD_... constants), and the whole
 * block header. After the last record it writes zeros up to the next 4 KiB page border, so that a partial page on disk is
 * never read back; the next append overwrites those zeros.
 */

/** Ints per record in `records`: offset in `headers`, headerBytes (with padding), first block, block count. */
export const RECORD_INTS = 4;
/**
 * Ints per block in `blockInts`: source number, offset in the source, sealing key (SEALED_ALREADY: the source is a sealed
 * block, which gets another generation and no more), epoch (as int32 bits).
 */
export const BLOCK_INTS = 4;
/** Doubles per block in `blockNumbers`: block index, nonce counter. */
export const BLOCK_NUMBERS = 2;
/** In place of a sealing key. */
export const SEALED_ALREADY = 0;

export class SealBatch {
  headers = new Uint8Array(64 * 1024);
  headerBytes = 0;
  records = new Int32Array(RECORD_INTS * 64);
  recordCount = 0;
  blockInts = new Int32Array(BLOCK_INTS * 256);
  blockNumbers = new Float64Array(BLOCK_NUMBERS * 256);
  blockCount = 0;
  /** Where plaintext comes from. Held until the append is done, so that nothing is collected or reused under it. */
  readonly sources: Uint8Array[] = [];
  /** Per record in `records` order: bytes of plaintext per block (4096..65536), 0 where it has no blocks. */
  recordBlockBytes = new Int32Array(64);
  /** The generation of the segment that is appended to; goes into every block header. */
  generation = 0;

  clear(): void {
    this.headerBytes = 0;
    this.recordCount = 0;
    this.blockCount = 0;
    this.sources.length = 0;
  }

  /** Adds room for `bytes` of header; returns its offset in `headers`. The bytes are zeroed. */
  reserveHeader(bytes: number): number {
    const at = this.headerBytes;
    const need = at + bytes;
    if (need > this.headers.length) {
      const grown = new Uint8Array(Math.max(need, this.headers.length * 2));
      grown.set(this.headers.subarray(0, at));
      this.headers = grown;
    } else {
      this.headers.fill(0, at, need);
    }
    this.headerBytes = need;
    return at;
  }

  addRecord(headerAt: number, headerBytes: number, firstBlock: number, blockCount: number, blockBytes: number): void {
    const row = this.recordCount;
    if ((row + 1) * RECORD_INTS > this.records.length) {
      const grown = new Int32Array(this.records.length * 2);
      grown.set(this.records);
      this.records = grown;
      const grownBytes = new Int32Array(this.recordBlockBytes.length * 2);
      grownBytes.set(this.recordBlockBytes);
      this.recordBlockBytes = grownBytes;
    }
    const at = row * RECORD_INTS;
    this.records[at] = headerAt;
    this.records[at + 1] = headerBytes;
    this.records[at + 2] = firstBlock;
    this.records[at + 3] = blockCount;
    this.recordBlockBytes[row] = blockBytes;
    this.recordCount = row + 1;
  }

  /** Adds one block and returns its row. `epoch` is an unsigned 32-bit number, `counter` below 2^53. */
  addBlock(
    source: number,
    sourceOffset: number,
    sealingKey: number,
    epoch: number,
    index: number,
    counter: number,
  ): number {
    const row = this.blockCount;
    if ((row + 1) * BLOCK_INTS > this.blockInts.length) {
      const ints = new Int32Array(this.blockInts.length * 2);
      ints.set(this.blockInts);
      this.blockInts = ints;
      const numbers = new Float64Array(this.blockNumbers.length * 2);
      numbers.set(this.blockNumbers);
      this.blockNumbers = numbers;
    }
    const at = row * BLOCK_INTS;
    this.blockInts[at] = source;
    this.blockInts[at + 1] = sourceOffset;
    this.blockInts[at + 2] = sealingKey;
    this.blockInts[at + 3] = epoch | 0;
    this.blockNumbers[row * BLOCK_NUMBERS] = index;
    this.blockNumbers[row * BLOCK_NUMBERS + 1] = counter;
    this.blockCount = row + 1;
    return row;
  }
}
