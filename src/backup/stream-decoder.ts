import type { z } from 'zod';
import { BackupError } from './backup-error.js';
import { FRAME_DATA_BYTES_MAX, FRAME_TEXT_BYTES_MAX } from './limits.js';
import { StreamDigest } from './stream-digest.js';
import {
  type Crc32c,
  FRAME_HEADER_BYTES,
  FrameKind,
  HEAD_BYTES,
  sealedBytesOf,
  STREAM_MAGIC,
  STREAM_VERSION,
  streamBegin,
  type StreamBegin,
  streamEnd,
} from './stream-format.js';

/** What a stream says, piece by piece. */
export type StreamItem =
  | { readonly kind: 'begin'; readonly begin: StreamBegin }
  /** `data` is the caller's. */
  | { readonly kind: 'data'; readonly offsetBytes: number; readonly data: Uint8Array }
  | { readonly kind: 'zero'; readonly offsetBytes: number; readonly lengthBytes: number }
  /** Whole blocks as they are sealed; `data` is the caller's. */
  | { readonly kind: 'sealed'; readonly offsetBytes: number; readonly lengthBytes: number; readonly data: Uint8Array }
  /** `proof`: of a sealed stream, for who has its keys to check. */
  | { readonly kind: 'end'; readonly proof: StreamProof | null };

export interface StreamProof {
  readonly digest: Uint8Array;
  readonly mac: string;
}

interface Header {
  readonly bytes: Buffer;
  readonly kind: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly payloadBytes: number;
  readonly payloadChecksum: number;
}

/**
 * Reads one stream from pieces of any size. Everything is checked before it is given out: checksums, numbers, order and
 * ranges. Holds at most one frame.
 *
 *     head --> begin --> ranges --> ended
 */
export class StreamDecoder {
  readonly #crc32c: Crc32c;
  #state: 'head' | 'begin' | 'ranges' | 'ended' = 'head';
  /** Pieces that are not decoded yet, and how many bytes they have together. */
  #pieces: Buffer[] = [];
  #availableBytes = 0;
  /** Bytes of the stream before `#pieces`. */
  #atBytes = 0;
  #header: Header | null = null;
  #begin: StreamBegin | null = null;
  #frames = 0;
  #dataBytes = 0;
  #zeroBytes = 0;
  #takenBytes = 0;
  /** null: the stream is plain. */
  #digest: StreamDigest | null = null;

  constructor(crc32c: Crc32c) {
    this.#crc32c = crc32c;
  }

  /** The items that are complete with these bytes. Throws BackupError; nothing more can be read then. */
  *push(bytes: Uint8Array): Generator<StreamItem, void, void> {
    if (bytes.length > 0) this.#pieces.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    this.#availableBytes += bytes.length;
    for (;;) {
      if (this.#state === 'ended') {
        if (this.#availableBytes > 0) throw this.#corrupt('there are bytes behind its end');
        return;
      }
      if (this.#state === 'head') {
        if (this.#availableBytes < HEAD_BYTES) return;
        this.#readHead(this.#take(HEAD_BYTES));
        this.#state = 'begin';
      }
      if (this.#header === null) {
        if (this.#availableBytes < FRAME_HEADER_BYTES) return;
        this.#header = this.#readHeader(this.#take(FRAME_HEADER_BYTES));
      }
      const header = this.#header;
      if (this.#availableBytes < header.payloadBytes) return;
      this.#header = null;
      yield this.#readFrame(header, this.#take(header.payloadBytes));
    }
  }

  /** To be called when no more bytes come. Throws CUT unless the stream has ended. */
  finish(): void {
    if (this.#state === 'ended') return;
    const atBytes = this.#atBytes + this.#availableBytes;
    throw new BackupError(`the stream was cut after ${atBytes} bytes: its end is missing; send it again`, {
      code: 'CUT',
      atBytes,
    });
  }

  #readHead(head: Buffer): void {
    if (!head.subarray(0, 8).equals(STREAM_MAGIC)) {
      throw new BackupError('this is not a stream that `gfs volume send` wrote', { code: 'NOT_A_STREAM' });
    }
    if (this.#crc32c(head, 0, 12, 0) !== head.readUInt32LE(12))
      throw this.#corrupt('the checksum of its head is wrong');
    const version = head.readUInt32LE(8);
    if (version === STREAM_VERSION) return;
    throw new BackupError(
      `the stream has format ${version}, this version reads ${STREAM_VERSION}; receive it with a newer version`,
      { code: 'VERSION', version },
    );
  }

  #readHeader(bytes: Buffer): Header {
    if (this.#crc32c(bytes, 0, 32, 0) !== bytes.readUInt32LE(32)) throw this.#corrupt('a checksum is wrong');
    if (bytes.readUInt32LE(4) !== this.#frames) throw this.#corrupt('a piece is missing or out of its order');
    const header: Header = {
      bytes,
      kind: bytes.readUInt32LE(0),
      offsetBytes: Number(bytes.readBigUInt64LE(8)),
      lengthBytes: Number(bytes.readBigUInt64LE(16)),
      payloadBytes: bytes.readUInt32LE(24),
      payloadChecksum: bytes.readUInt32LE(28),
    };
    const hasBlocks = header.kind === FrameKind.DATA || header.kind === FrameKind.SEALED;
    const payloadBytesMax = hasBlocks ? FRAME_DATA_BYTES_MAX : FRAME_TEXT_BYTES_MAX;
    if (header.payloadBytes > payloadBytesMax) throw this.#corrupt('a piece is too long');
    return header;
  }

  #readFrame(header: Header, payload: Buffer): StreamItem {
    if (this.#crc32c(payload, 0, payload.length, 0) !== header.payloadChecksum) {
      throw this.#corrupt('a checksum is wrong');
    }
    const isFirst = this.#state === 'begin';
    if (isFirst !== (header.kind === FrameKind.BEGIN)) throw this.#corrupt('it does not begin as a stream does');
    this.#frames += 1;
    if (header.kind !== FrameKind.END) {
      this.#digest?.add(header.kind, header.bytes, payload, this.#begin?.blockBytes ?? 0);
    }
    switch (header.kind) {
      case FrameKind.BEGIN: {
        const begin = this.#parse(streamBegin, payload);
        this.#begin = begin;
        this.#state = 'ranges';
        if (begin.mode === 'sealed') {
          this.#digest = new StreamDigest();
          this.#digest.add(header.kind, header.bytes, payload, 0);
        }
        return { kind: 'begin', begin };
      }
      case FrameKind.DATA:
        if (this.#digest !== null) throw this.#corrupt('a sealed stream has plain data');
        if (header.lengthBytes !== payload.length) throw this.#corrupt('a range has another length than its data');
        this.#takeRange(header);
        this.#dataBytes += payload.length;
        return { kind: 'data', offsetBytes: header.offsetBytes, data: payload };
      case FrameKind.SEALED: {
        const { offsetBytes, lengthBytes } = header;
        const blockBytes = this.#begin?.blockBytes ?? 1;
        if (this.#digest === null) throw this.#corrupt('a plain stream has sealed blocks');
        if (lengthBytes % blockBytes !== 0 || offsetBytes % blockBytes !== 0)
          throw this.#corrupt('a sealed range is not of whole blocks');
        if (sealedBytesOf(lengthBytes) !== payload.length)
          throw this.#corrupt('a range has another length than its blocks');
        this.#takeRange(header);
        this.#dataBytes += lengthBytes;
        return { kind: 'sealed', offsetBytes, lengthBytes, data: payload };
      }
      case FrameKind.ZERO:
        if (payload.length > 0) throw this.#corrupt('zeros have no data');
        this.#takeRange(header);
        this.#zeroBytes += header.lengthBytes;
        return { kind: 'zero', offsetBytes: header.offsetBytes, lengthBytes: header.lengthBytes };
      case FrameKind.END: {
        const end = this.#parse(streamEnd, payload);
        const isWhole =
          end.frames === this.#frames - 1 && end.dataBytes === this.#dataBytes && end.zeroBytes === this.#zeroBytes;
        if (!isWhole) throw this.#corrupt('its end counts other pieces than came');
        const { mac } = end;
        if ((mac === undefined) !== (this.#digest === null)) throw this.#corrupt('its end does not prove it');
        this.#state = 'ended';
        const digest = this.#digest?.value();
        return { kind: 'end', proof: digest === undefined || mac === undefined ? null : { digest, mac } };
      }
      default:
        throw this.#corrupt(`it has a piece of an unknown kind, ${header.kind}`);
    }
  }

  #takeRange({ offsetBytes, lengthBytes }: Header): void {
    const endBytes = offsetBytes + lengthBytes;
    const sizeBytes = this.#begin?.sizeBytes ?? 0;
    if (lengthBytes === 0 || offsetBytes < this.#takenBytes || endBytes > sizeBytes) {
      throw this.#corrupt('a range is empty, out of its order, or outside the volume');
    }
    this.#takenBytes = endBytes;
  }

  #parse<T>(schema: z.ZodType<T>, payload: Buffer): T {
    let value: unknown;
    try {
      value = JSON.parse(payload.toString('utf8'));
    } catch {
      throw this.#corrupt('what it says of itself cannot be read');
    }
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    throw this.#corrupt('what it says of itself does not have the shape that this version knows');
  }

  /** The next `length` bytes, which are there. */
  #take(length: number): Buffer {
    const first = this.#pieces[0];
    if (first !== undefined && first.length > length) {
      this.#pieces[0] = first.subarray(length);
      this.#advance(length);
      return first.subarray(0, length);
    }
    const all = this.#pieces.length === 1 && first !== undefined ? first : Buffer.concat(this.#pieces);
    this.#pieces = all.length > length ? [all.subarray(length)] : [];
    this.#advance(length);
    return all.subarray(0, length);
  }

  #advance(length: number): void {
    this.#availableBytes -= length;
    this.#atBytes += length;
  }

  #corrupt(why: string): BackupError {
    const atBytes = this.#atBytes;
    return new BackupError(`the stream is damaged before byte ${atBytes}: ${why}; send it again`, {
      code: 'CORRUPT',
      atBytes,
    });
  }
}
