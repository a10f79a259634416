import { assert } from '../base/assert.js';
import type { Chunk, ChunkHolder, ChunkPool } from './chunk-pool.js';
import { CHUNK_BYTES, RECEIVE_ROOM_BYTES_MIN } from './limits.js';

/**
 * What one session has received and not decoded yet: bytes [position, fill) of the current chunk.
 *
 *   0          position          fill                CHUNK_BYTES   + slack
 *   | decoded,   | not decoded     | the next receive  | reserve    |
 *     WRITE payloads here are pointed at by requests in flight (references of the chunk)
 *
 * Nothing moves while requests point at it. When the room runs out, a chunk that nobody points at is used again from its
 * start, otherwise the undecoded rest (less than a request, or a short payload) moves to a fresh one. The reserve is
 * offered only to a receive that was armed while decoding was blocked on a full chunk.
 *
 * A long payload has a chunk of its own (`expectPayload`), into which the socket then receives straight.
 */
export class ReceiveBuffer {
  #chunk: Chunk;
  /** All of the chunk but its reserve: the usual target, made once. */
  #window: Buffer;
  position = 0;
  fill = 0;
  readonly #pool: ChunkPool;
  readonly #holder: ChunkHolder;
  #payload: Chunk | null = null;
  #payloadFill = 0;
  #payloadBytes = 0;
  /** Where the receive that is under way goes: it was armed before it was known what it would be followed by. */
  #armedForPayload = false;

  constructor(pool: ChunkPool, holder: ChunkHolder) {
    this.#pool = pool;
    this.#holder = holder;
    this.#chunk = pool.take(CHUNK_BYTES, holder);
    this.#window = this.#chunk.bytes.subarray(0, CHUNK_BYTES);
  }

  get chunk(): Chunk {
    return this.#chunk;
  }

  /** Undecoded bytes. */
  get available(): number {
    return this.fill - this.position;
  }

  /** Room for the next receive. `blocked`: what is here cannot be decoded now, so nothing may be moved for it. */
  target(blocked: boolean): Buffer {
    const payload = this.#payload;
    this.#armedForPayload = payload !== null;
    if (payload !== null) return payload.bytes.subarray(this.#payloadFill, this.#payloadBytes);
    this.#makeRoom(blocked);
    if (this.fill === 0) return this.#window;
    const bytes = this.#chunk.bytes;
    const end = this.fill < CHUNK_BYTES ? CHUNK_BYTES : bytes.length;
    assert(end > this.fill, 'a receive has room');
    return bytes.subarray(this.fill, end);
  }

  received(count: number): void {
    if (this.#armedForPayload) this.#payloadFill += count;
    else this.fill += count;
  }

  /** The next `bytes` of the stream are a payload that shall lie in a chunk of its own. */
  expectPayload(bytes: number): void {
    assert(this.#payload === null, 'one payload at a time');
    this.#payload = this.#pool.take(bytes, this.#holder);
    this.#payloadFill = 0;
    this.#payloadBytes = bytes;
  }

  get expectsPayload(): boolean {
    return this.#payload !== null;
  }

  /** The payload's chunk with its reference, once all of it has arrived; null before. */
  takePayload(): Chunk | null {
    const payload = this.#payload;
    assert(payload !== null, 'a payload was expected');
    // Its head came with the request, and perhaps more with a receive that was armed before the payload was known.
    const count = Math.min(this.available, this.#payloadBytes - this.#payloadFill);
    if (count > 0) {
      this.#chunk.bytes.copy(payload.bytes, this.#payloadFill, this.position, this.position + count);
      this.position += count;
      this.#payloadFill += count;
    }
    if (this.#payloadFill < this.#payloadBytes) return null;
    this.#payload = null;
    return payload;
  }

  /** Instead of `received`, when nothing that arrives matters any more. */
  discard(count: number): void {
    this.received(count);
    this.position = this.fill;
    if (this.#payload === null || this.#payloadFill < this.#payloadBytes) return;
    this.#pool.release(this.#payload);
    this.#payload = null;
  }

  /** Only after the channel has closed: the kernel may write into what was armed until then. */
  close(): void {
    this.#pool.release(this.#chunk);
    if (this.#payload !== null) this.#pool.release(this.#payload);
    this.#payload = null;
  }

  #makeRoom(blocked: boolean): void {
    const chunk = this.#chunk;
    const rest = this.available;
    const room = CHUNK_BYTES - this.fill;
    if (rest === 0 && chunk.references === 1) {
      this.position = 0;
      this.fill = 0;
    } else if (blocked ? this.fill < chunk.bytes.length : room >= RECEIVE_ROOM_BYTES_MIN) {
      return;
    } else if (chunk.references === 1) {
      chunk.bytes.copyWithin(0, this.position, this.fill);
      this.position = 0;
      this.fill = rest;
    } else {
      const fresh = this.#pool.take(CHUNK_BYTES, this.#holder);
      chunk.bytes.copy(fresh.bytes, 0, this.position, this.fill);
      this.#pool.release(chunk);
      this.#chunk = fresh;
      this.#window = fresh.bytes.subarray(0, CHUNK_BYTES);
      this.position = 0;
      this.fill = rest;
    }
  }
}
