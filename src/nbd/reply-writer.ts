import type { Chunk } from './chunk-pool.js';
import { NBD_REPLY_TYPE_NONE, NBD_SUCCESS } from './constants.js';
import type { ContextStatus } from './meta-contexts.js';
import type { NbdRequest } from './nbd-request.js';
import type { ReplyOutput } from './reply-output.js';
import {
  CHUNK_HEADER_BYTES,
  DATA_CHUNK_HEADER_BYTES,
  SIMPLE_REPLY_BYTES,
  blockStatusBytes,
  encodeBlockStatus,
  encodeChunkHeader,
  encodeDataChunkHeader,
  encodeErrorChunk,
  encodeSimpleReply,
  errorChunkBytes,
} from './transmission-codec.js';

/** Encodes replies into the output, simple or structured as it was agreed. */
export class ReplyWriter {
  readonly #output: ReplyOutput;
  readonly #isStructured: boolean;

  constructor(output: ReplyOutput, isStructured: boolean) {
    this.#output = output;
    this.#isStructured = isStructured;
  }

  /** What stands before the data in the reply to a READ. */
  get dataHeadBytes(): number {
    return this.#isStructured ? DATA_CHUNK_HEADER_BYTES : SIMPLE_REPLY_BYTES;
  }

  /** The data that a device has put behind the head of a READ's region. */
  data(request: NbdRequest, chunk: Chunk): void {
    const { replyStart, cookieHigh, cookieLow, lengthBytes } = request;
    if (this.#isStructured)
      encodeDataChunkHeader(chunk.view, replyStart, cookieHigh, cookieLow, request.offsetBytes, lengthBytes);
    else encodeSimpleReply(chunk.view, replyStart, cookieHigh, cookieLow, NBD_SUCCESS);
    this.#output.commit(chunk, replyStart, request.dataOffset + lengthBytes);
  }

  /** A reply without data. `offset`: of a read that failed (structured: ERROR_OFFSET), otherwise -1. */
  status(high: number, low: number, errno: number, offset: number): void {
    const output = this.#output;
    const bytes = this.#statusBytes(errno, offset);
    const chunk = output.reserve(bytes);
    const view = chunk.view;
    const at = output.reservedAt;
    if (!this.#isStructured) encodeSimpleReply(view, at, high, low, errno);
    else if (errno === NBD_SUCCESS) encodeChunkHeader(view, at, high, low, NBD_REPLY_TYPE_NONE, 0);
    else encodeErrorChunk(view, at, high, low, errno, offset);
    output.commit(chunk, at, at + bytes);
  }

  /** A part of the reply to a BLOCK_STATUS: what one context says, at least one run. */
  blockStatus(high: number, low: number, part: ContextStatus, isLast: boolean): void {
    const bytes = blockStatusBytes(part.runs.length);
    const chunk = this.#output.reserve(bytes);
    const at = this.#output.reservedAt;
    encodeBlockStatus(chunk.view, at, high, low, { ...part, isLast });
    this.#output.commit(chunk, at, at + bytes);
  }

  #statusBytes(errno: number, offset: number): number {
    if (!this.#isStructured) return SIMPLE_REPLY_BYTES;
    return errno === NBD_SUCCESS ? CHUNK_HEADER_BYTES : errorChunkBytes(offset);
  }
}
