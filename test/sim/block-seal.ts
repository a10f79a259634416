/**
 * The batch kernels in plain TypeScript: seals blocks and lays records out, and opens sealed blocks, byte for byte as
 * native/seal.cc and native/open.cc do. The offsets are those of native/block-format.h and native/record-format.h,
 * typed out once more on purpose: a mistake in the addon's own numbers would show as a difference.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { Checksums } from '../../src/io/block-keys.js';
import { Deliver, OPEN_INTS, OPEN_NUMBERS, OpenStatus, type OpenBatch } from '../../src/io/open-batch.js';
import { BLOCK_INTS, BLOCK_NUMBERS, RECORD_INTS, SEALED_ALREADY, type SealBatch } from '../../src/io/seal-batch.js';
import type { KeyLookup, Keyring, SealingKey } from './key-lookup.js';

const PAGE_BYTES = 4096;
const BLOCK_HEADER_BYTES = 64;
const FLAG_PLAIN = 1;
const ZERO_CRC = new Uint8Array(4);

/** A block of a record as it was sealed. */
export interface SealedBlock {
  readonly index: number;
  readonly epoch: number;
  readonly counter: number;
  readonly key: SealingKey;
  /** A copy of the plaintext. */
  readonly plain: Uint8Array;
  /** Where it lies in the file, and how long it is there. */
  readonly offset: number;
  readonly storedBytes: number;
}

/** A record as it was laid out. */
export interface SealedRecord {
  readonly offset: number;
  readonly header: Uint8Array;
  readonly blocks: readonly SealedBlock[];
  readonly recordBytes: number;
}

export interface SealedBatch {
  readonly bytes: Uint8Array;
  readonly records: readonly SealedRecord[];
}

type Crc = Pick<Checksums, 'crc32c'>;

export interface BlockShape {
  readonly index: number;
  readonly epoch: number;
  readonly counter: number;
  readonly generation: number;
}

function additionalData(index: number, flags: number, plainBytes: number): Buffer {
  const out = Buffer.alloc(16);
  out.writeUIntLE(index, 0, 6);
  out[8] = flags;
  out[9] = Math.log2(plainBytes);
  out.writeUInt32LE(plainBytes, 12);
  return out;
}

function plainTag(sum: Crc, more: Uint8Array, sealed: Uint8Array, plainBytes: number): number {
  let crc = sum.crc32c(more, 0, more.length, 0);
  crc = sum.crc32c(sealed, 0, 12, crc);
  crc = sum.crc32c(sealed, 28, 16, crc);
  return sum.crc32c(sealed, BLOCK_HEADER_BYTES, plainBytes, crc);
}

/** Writes one sealed block to `out`, which is as long as it is stored and zeroed. */
export function sealBlock(out: Buffer, key: SealingKey, shape: BlockShape, plain: Uint8Array, sum: Crc): void {
  const flags = key.key === null ? FLAG_PLAIN : 0;
  out.writeUInt32LE(shape.epoch, 0);
  out.writeBigUInt64LE(BigInt(shape.counter), 4);
  out.set(key.salt, 28);
  out.writeUInt32LE(key.number, 44);
  out.writeUIntLE(shape.generation, 48, 6);
  out[54] = flags;
  out[55] = Math.log2(plain.length);
  out.writeUInt32LE(plain.length, 56);
  const more = additionalData(shape.index, flags, plain.length);
  if (key.key === null) {
    out.set(plain, BLOCK_HEADER_BYTES);
    out.writeUInt32LE(plainTag(sum, more, out, plain.length), 12);
  } else {
    const cipher = createCipheriv('aes-256-gcm', key.key, out.subarray(0, 12));
    cipher.setAAD(more);
    out.set(cipher.update(plain), BLOCK_HEADER_BYTES);
    cipher.final();
    out.set(cipher.getAuthTag(), 12);
  }
  out.writeUInt32LE(sum.crc32c(out, 0, 60, 0), 60);
}

/** Makes a sealed block one of another segment. */
function moveSealed(sealed: Buffer, generation: number, sum: Crc): void {
  sealed.writeUIntLE(generation, 48, 6);
  sealed.writeUInt32LE(sum.crc32c(sealed, 0, 60, 0), 60);
}

/** What an append at `offset` writes, zeros up to the page border included. */
export function sealBatch(batch: SealBatch, offset: number, keys: KeyLookup, sum: Crc): SealedBatch {
  let total = 0;
  for (let n = 0; n < batch.recordCount; n += 1) {
    const blockBytes = batch.recordBlockBytes[n];
    total += batch.records[n * RECORD_INTS + 1] + batch.records[n * RECORD_INTS + 3] * (blockBytes + blockBytes / 64);
  }
  const end = batch.recordCount === 0 ? offset : Math.ceil((offset + total) / PAGE_BYTES) * PAGE_BYTES;
  const bytes = Buffer.alloc(end - offset);
  const records: SealedRecord[] = [];
  let at = 0;
  for (let n = 0; n < batch.recordCount; n += 1) {
    const [headerAt, headerBytes, first, count] = batch.records.subarray(n * RECORD_INTS, (n + 1) * RECORD_INTS);
    const from = at;
    const header = bytes.subarray(at, at + headerBytes);
    header.set(batch.headers.subarray(headerAt, headerAt + headerBytes));
    at += headerBytes;
    const blockBytes = batch.recordBlockBytes[n];
    const storedBytes = blockBytes + blockBytes / 64;
    const blocks: SealedBlock[] = [];
    for (let row = first; row < first + count; row += 1) {
      const [source, sourceOffset, sealingKey, epoch] = batch.blockInts.subarray(
        row * BLOCK_INTS,
        (row + 1) * BLOCK_INTS,
      );
      if (sealingKey === SEALED_ALREADY) {
        const out = bytes.subarray(at, at + storedBytes);
        out.set(batch.sources[source].subarray(sourceOffset, sourceOffset + storedBytes));
        moveSealed(out, batch.generation, sum);
        at += storedBytes;
        continue;
      }
      const [index, counter] = batch.blockNumbers.subarray(row * BLOCK_NUMBERS, (row + 1) * BLOCK_NUMBERS);
      const plain = batch.sources[source].slice(sourceOffset, sourceOffset + blockBytes);
      const key = keys.sealing(sealingKey);
      const shape = { index, epoch: epoch >>> 0, counter, generation: batch.generation };
      sealBlock(bytes.subarray(at, at + storedBytes), key, shape, plain, sum);
      blocks.push({ index, epoch: epoch >>> 0, counter, key, plain, offset: offset + at, storedBytes });
      at += storedBytes;
    }
    header.writeUInt32LE(count === 0 ? 0 : sum.crc32c(bytes, from + headerBytes, at - from - headerBytes, 0), 72);
    header.writeUInt32LE(headerCrc(header, sum), 76);
    records.push({ offset: offset + from, header, blocks, recordBytes: at - from });
  }
  return { bytes, records };
}

function headerCrc(header: Buffer, sum: Crc): number {
  const covered = header.readUInt32LE(16);
  if (covered < 80 || covered > header.length) throw new RangeError('a record header covers itself');
  let crc = sum.crc32c(header, 0, 76, 0);
  crc = sum.crc32c(ZERO_CRC, 0, 4, crc);
  return sum.crc32c(header, 80, covered - 80, crc);
}

/** What a block must prove, and where its plaintext goes. */
export interface OpenRow {
  readonly file: number;
  readonly offset: number;
  readonly storedBytes: number;
  readonly generation: number;
  readonly index: number;
  readonly keyring: Keyring;
  readonly destination: Uint8Array;
  readonly isSealed: boolean;
}

export function openRowOf(batch: OpenBatch, row: number, keys: KeyLookup): OpenRow {
  const [file, destination, at, keyring, plainBytes, storedBytes, deliver] = batch.ints.subarray(
    row * OPEN_INTS,
    (row + 1) * OPEN_INTS,
  );
  const [offset, index, generation] = batch.numbers.subarray(row * OPEN_NUMBERS, (row + 1) * OPEN_NUMBERS);
  const isSealed = deliver === Deliver.SEALED;
  const target = batch.destinations[destination].subarray(at, at + (isSealed ? storedBytes : plainBytes));
  return {
    file,
    offset,
    storedBytes,
    generation,
    index,
    keyring: keys.keyring(keyring),
    destination: target,
    isSealed,
  };
}

/** Opens one block that was read; its status. Whatever is not proven leaves zeros behind. */
export function openBlock(row: OpenRow, sealed: Buffer, keys: KeyLookup, sum: Crc, sameGeneration: boolean): number {
  const status = prove(row, sealed, keys, sum, sameGeneration);
  if (status !== OpenStatus.OK) row.destination.fill(0);
  else if (row.isSealed) {
    const out = Buffer.from(row.destination.buffer, row.destination.byteOffset, row.destination.length);
    out.set(sealed.subarray(0, out.length));
    moveSealed(out, 0, sum);
  }
  return status;
}

function prove(row: OpenRow, sealed: Buffer, keys: KeyLookup, sum: Crc, sameGeneration: boolean): number {
  const plainBytes = row.isSealed ? row.destination.length - row.destination.length / 65 : row.destination.length;
  if (sealed.readUInt32LE(60) !== sum.crc32c(sealed, 0, 60, 0)) return OpenStatus.HEADER;
  if (sameGeneration && sealed.readUIntLE(48, 6) !== row.generation) return OpenStatus.GENERATION;
  const flags = sealed[54];
  const number = sealed.readUInt32LE(44);
  const plain = flags === FLAG_PLAIN;
  if ((flags & ~FLAG_PLAIN) !== 0 || plain !== (number === 0)) return OpenStatus.HEADER;
  const { keyring } = row;
  if (plain && (row.isSealed || !keyring.allowPlain)) return OpenStatus.KEY;
  if (sealed[55] !== Math.log2(plainBytes) || sealed.readUInt32LE(56) !== plainBytes) return OpenStatus.HEADER;
  const more = additionalData(row.index, flags, plainBytes);
  const data = sealed.subarray(BLOCK_HEADER_BYTES, BLOCK_HEADER_BYTES + plainBytes);
  if (plain) {
    if (plainTag(sum, more, sealed, plainBytes) !== sealed.readUInt32LE(12)) return OpenStatus.UNAUTHENTIC;
    if (sealed.subarray(16, 28).some((byte) => byte !== 0)) return OpenStatus.UNAUTHENTIC;
    row.destination.set(data);
    return OpenStatus.OK;
  }
  const key = keys.opening(keyring, number, sealed.subarray(28, 44));
  if (key === null) return OpenStatus.KEY;
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12));
  decipher.setAAD(more);
  decipher.setAuthTag(sealed.subarray(12, 28));
  row.destination.set(decipher.update(data));
  try {
    decipher.final();
    return OpenStatus.OK;
  } catch {
    return OpenStatus.UNAUTHENTIC;
  }
}
