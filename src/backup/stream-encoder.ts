import { assert } from '../base/assert.js';
import { FRAME_DATA_BYTES_MAX, FRAME_SEALED_BYTES_MAX, FRAME_TEXT_BYTES_MAX } from './limits.js';
import { StreamDigest } from './stream-digest.js';
import {
  type Crc32c,
  FRAME_HEADER_BYTES,
  FrameKind,
  HEAD_BYTES,
  sealedBytesOf,
  STREAM_MAGIC,
  STREAM_VERSION,
  type StreamBegin,
  type StreamEnd,
} from './stream-format.js';

const NOTHING = new Uint8Array(0);

/** Writes one stream, in order: begin, ranges, end. Each call answers the bytes that come next. */
export class StreamEncoder {
  readonly #crc32c: Crc32c;
  #frames = 0;
  #dataBytes = 0;
  #zeroBytes = 0;
  #takenBytes = 0;
  #blockBytes = 0;
  /** null: a plain stream, which proves nothing. */
  #digest: StreamDigest | null = null;
  #state: 'new' | 'ranges' | 'ended' = 'new';

  constructor(crc32c: Crc32c) {
    this.#crc32c = crc32c;
  }

  begin(begin: StreamBegin): Buffer {
    assert(this.#state === 'new', 'a stream begins once');
    this.#state = 'ranges';
    this.#blockBytes = begin.blockBytes;
    if (begin.mode === 'sealed') this.#digest = new StreamDigest();
    const head = Buffer.alloc(HEAD_BYTES);
    STREAM_MAGIC.copy(head);
    head.writeUInt32LE(STREAM_VERSION, 8);
    head.writeUInt32LE(this.#crc32c(head, 0, 12, 0), 12);
    return Buffer.concat([head, this.#text(FrameKind.BEGIN, begin)]);
  }

  /** A range with what it holds; at most FRAME_DATA_BYTES_MAX bytes. */
  data(offsetBytes: number, data: Uint8Array): Buffer {
    assert(this.#digest === null, 'a sealed stream has no plain data');
    assert(data.length > 0 && data.length <= FRAME_DATA_BYTES_MAX, 'a frame holds some data and not too much');
    this.#take(offsetBytes, data.length);
    this.#dataBytes += data.length;
    return this.#frame(FrameKind.DATA, offsetBytes, data.length, data);
  }

  /** A range of whole blocks as they are sealed; at most FRAME_SEALED_BYTES_MAX bytes of plaintext. */
  sealed(offsetBytes: number, lengthBytes: number, blocks: Uint8Array): Buffer {
    assert(this.#digest !== null, 'a plain stream has no sealed blocks');
    assert(lengthBytes > 0 && lengthBytes <= FRAME_SEALED_BYTES_MAX, 'a frame holds some blocks and not too many');
    assert(lengthBytes % this.#blockBytes === 0 && blocks.length === sealedBytesOf(lengthBytes), 'blocks are whole');
    this.#take(offsetBytes, lengthBytes);
    this.#dataBytes += lengthBytes;
    return this.#frame(FrameKind.SEALED, offsetBytes, lengthBytes, blocks);
  }

  /** A range that reads as zeros; of any length. */
  zero(offsetBytes: number, lengthBytes: number): Buffer {
    assert(lengthBytes > 0, 'a range is not empty');
    this.#take(offsetBytes, lengthBytes);
    this.#zeroBytes += lengthBytes;
    return this.#frame(FrameKind.ZERO, offsetBytes, lengthBytes, NOTHING);
  }

  /** `macOf` proves the digest of a sealed stream; a plain one has none. */
  end(macOf: ((digest: Uint8Array) => string) | null = null): Buffer {
    assert(this.#state === 'ranges', 'a stream ends once, after it began');
    assert((macOf === null) === (this.#digest === null), 'a sealed stream is proven, a plain one is not');
    this.#state = 'ended';
    const end: StreamEnd = { frames: this.#frames, dataBytes: this.#dataBytes, zeroBytes: this.#zeroBytes };
    const digest = this.#digest;
    this.#digest = null;
    return this.#text(FrameKind.END, digest === null || macOf === null ? end : { ...end, mac: macOf(digest.value()) });
  }

  #take(offsetBytes: number, lengthBytes: number): void {
    assert(this.#state === 'ranges' && offsetBytes >= this.#takenBytes, 'ranges ascend between begin and end');
    this.#takenBytes = offsetBytes + lengthBytes;
  }

  #text(kind: number, value: StreamBegin | StreamEnd): Buffer {
    const text = Buffer.from(JSON.stringify(value));
    assert(text.length <= FRAME_TEXT_BYTES_MAX, 'what a frame says of itself is short');
    return this.#frame(kind, 0, 0, text);
  }

  #frame(kind: number, offsetBytes: number, lengthBytes: number, payload: Uint8Array): Buffer {
    const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length);
    frame.writeUInt32LE(kind, 0);
    frame.writeUInt32LE(this.#frames, 4);
    frame.writeBigUInt64LE(BigInt(offsetBytes), 8);
    frame.writeBigUInt64LE(BigInt(lengthBytes), 16);
    frame.writeUInt32LE(payload.length, 24);
    frame.writeUInt32LE(this.#crc32c(payload, 0, payload.length, 0), 28);
    frame.writeUInt32LE(this.#crc32c(frame, 0, 32, 0), 32);
    frame.set(payload, FRAME_HEADER_BYTES);
    this.#digest?.add(kind, frame.subarray(0, FRAME_HEADER_BYTES), payload, this.#blockBytes);
    this.#frames += 1;
    return frame;
  }
}
