/** A folder, files and keys for one test, and short ways to append records and to read blocks. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { storedBytesOf, RECORD } from '../../src/io/record-layout.js';
import { PLAIN_KEY_NUMBER, type KeyringId, type SealingKeyId } from '../../src/io/block-keys.js';
import type { FileId } from '../../src/io/files.js';
import { NativeFiles } from '../../src/io/native-files.js';
import { NativeBlockKeys } from '../../src/io/native-keys.js';
import { OpenBatch } from '../../src/io/open-batch.js';
import { SealBatch } from '../../src/io/seal-batch.js';

export const DATA_KEY = Uint8Array.from({ length: 32 }, (_, n) => n * 7 + 1);
export const SALT = Uint8Array.from({ length: 16 }, (_, n) => 0xa0 + n);
export const GENERATION = 0x0000_1234_5678;

export interface RowPlan {
  readonly offset: number;
  readonly index: number;
  readonly generation?: number;
  readonly keyring?: KeyringId;
  readonly plainBytes?: number;
  readonly storedBytes?: number;
  readonly file?: FileId;
}

export class KernelFixture {
  readonly files = new NativeFiles();
  readonly keys = new NativeBlockKeys();
  folder = '';
  path = '';
  file = -1 as FileId;
  /** Holds data key 1, and no plain blocks. */
  strict = 0 as KeyringId;
  /** Holds data key 1, and opens plain blocks, too. */
  lenient = 0 as KeyringId;
  encrypting = 0 as SealingKeyId;
  plain = 0 as SealingKeyId;
  #counter = 0;

  async open(): Promise<void> {
    this.folder = mkdtempSync(join(tmpdir(), 'galleon-io-'));
    this.path = join(this.folder, 'segment');
    this.file = await this.files.open(this.path, 'create');
    this.strict = this.keys.createKeyring(false);
    this.lenient = this.keys.createKeyring(true);
    this.keys.addDataKey(this.strict, 1, DATA_KEY);
    this.keys.addDataKey(this.lenient, 1, DATA_KEY);
    this.encrypting = this.keys.createSealingKey(this.strict, 1, SALT);
    this.plain = this.keys.createSealingKey(this.lenient, PLAIN_KEY_NUMBER, SALT);
    this.#counter = 0;
  }

  async close(): Promise<void> {
    try {
      await this.files.close(this.file);
    } finally {
      rmSync(this.folder, { recursive: true, force: true });
    }
  }

  nextCounter(): number {
    return this.#counter++;
  }

  /** One record in `batch` with these blocks of `plainBytes` each; block n has index `firstIndex + n`. */
  addRecord(
    batch: SealBatch,
    key: SealingKeyId,
    source: Uint8Array,
    plainBytes: number,
    firstIndex: number,
    headerBytes = 128,
  ): void {
    const at = batch.reserveHeader(headerBytes);
    const view = new DataView(batch.headers.buffer);
    view.setUint32(at + RECORD.MAGIC_AT, RECORD.MAGIC, true);
    view.setUint32(at + RECORD.HEADER_BYTES_AT, Math.min(headerBytes, 112), true);
    const first = batch.blockCount;
    const number = batch.sources.push(source) - 1;
    for (let from = 0, n = 0; from < source.length; from += plainBytes, n += 1) {
      batch.addBlock(number, from, key, 0x0102_0304, firstIndex + n, this.nextCounter());
    }
    batch.addRecord(at, headerBytes, first, batch.blockCount - first, source.length === 0 ? 0 : plainBytes);
  }

  /** Appends one record at `offset` and returns where its first sealed block lies. */
  append(offset: number, key: SealingKeyId, source: Uint8Array, plainBytes = 4096, firstIndex = 0): number {
    const batch = new SealBatch();
    batch.generation = GENERATION;
    this.addRecord(batch, key, source, plainBytes, firstIndex);
    expect(this.files.appendNow(this.file, offset, batch)).toBe(0);
    return offset + 128;
  }

  bytes(): Uint8Array {
    return new Uint8Array(readFileSync(this.path));
  }

  /** Replaces the file's content (of the same open file). */
  setBytes(bytes: Uint8Array): void {
    writeFileSync(this.path, bytes);
  }

  /** A batch of rows; row n opens into its own destination, which holds 0xee before. */
  batch(rows: readonly RowPlan[]): OpenBatch {
    const batch = new OpenBatch();
    for (const row of rows) {
      const plainBytes = row.plainBytes ?? 4096;
      const destination = batch.destinations.push(new Uint8Array(plainBytes).fill(0xee)) - 1;
      batch.add(
        row.file ?? this.file,
        row.offset,
        row.storedBytes ?? storedBytesOf(plainBytes),
        row.generation ?? GENERATION,
        row.index,
        row.keyring ?? this.lenient,
        destination,
        0,
        plainBytes,
      );
    }
    return batch;
  }

  /** Opens one block from whatever the disk has, cached or not. */
  async openOne(row: RowPlan): Promise<{ status: number; plain: Uint8Array }> {
    const batch = this.batch([row]);
    await this.openAll(batch);
    return { status: batch.status[0] ?? NaN, plain: batch.destinations[0] ?? new Uint8Array(0) };
  }

  async openAll(batch: OpenBatch): Promise<void> {
    if (this.files.openNow(batch) > 0) await this.openLater(batch);
  }

  openLater(batch: OpenBatch): Promise<void> {
    return new Promise((resolve) => {
      this.files.openLater(batch, resolve);
    });
  }

  appendLater(offset: number, batch: SealBatch): Promise<number> {
    return new Promise((resolve) => {
      this.files.appendLater(this.file, offset, batch, resolve);
    });
  }
}

/** A fresh fixture around each test of the file. */
export function useKernels(): KernelFixture {
  const fixture = new KernelFixture();
  beforeEach(() => fixture.open());
  afterEach(() => fixture.close());
  return fixture;
}

/** Bytes that look random and repeat from run to run. */
export function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed >>> 0 || 1;
  for (let n = 0; n < length; n += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[n] = state >>> 0;
  }
  return bytes;
}
