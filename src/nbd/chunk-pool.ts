import { assert } from '../base/assert.js';
import { CHUNK_BYTES, CHUNK_SLACK_BYTES } from './limits.js';

const USUAL_CAPACITY = CHUNK_BYTES + CHUNK_SLACK_BYTES;

/** Whoever chunks are counted for: a session. */
export interface ChunkHolder {
  /** Capacities of the chunks that it holds, in bytes. */
  heldBytes: number;
}

/** A buffer with a count of who still points into it. Back to the pool when nobody does. */
export class Chunk {
  readonly bytes: Buffer;
  readonly view: DataView;
  references = 0;
  holder: ChunkHolder | null = null;

  constructor(capacityBytes: number) {
    // Not zeroed: every byte that leaves was written by a decoder, an encoder or the device before.
    this.bytes = Buffer.allocUnsafeSlow(capacityBytes);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, capacityBytes);
  }
}

/**
 * Receive and reply buffers of all sessions of a server, in sizes of a power of two plus slack. Free ones are kept up
 * to a limit and handed out last in, first out: the most recently used one is still in the processor's cache.
 */
export class ChunkPool {
  /** Capacities of the chunks in use, in bytes. */
  heldBytes = 0;
  /** Chunks in use. */
  heldChunks = 0;
  #freeBytes = 0;
  readonly #freeBytesMax: number;
  readonly #freeByCapacity = new Map<number, Chunk[]>();
  readonly #freeUsual: Chunk[] = [];

  constructor(freeBytesMax: number) {
    this.#freeBytesMax = freeBytesMax;
    this.#freeByCapacity.set(capacityFor(0), this.#freeUsual);
  }

  /** A chunk of at least `bytes` with one reference, counted for `holder`. */
  take(bytes: number, holder: ChunkHolder): Chunk {
    const capacity = capacityFor(bytes);
    let chunk = this.#free(capacity)?.pop();
    if (chunk === undefined) chunk = new Chunk(capacity);
    else this.#freeBytes -= capacity;
    chunk.references = 1;
    chunk.holder = holder;
    holder.heldBytes += capacity;
    this.heldBytes += capacity;
    this.heldChunks += 1;
    return chunk;
  }

  /** Gives back `count` references. */
  release(chunk: Chunk, count = 1): void {
    chunk.references -= count;
    if (chunk.references > 0) return;
    assert(chunk.references === 0 && chunk.holder !== null, 'a chunk is released as often as it was taken');
    const capacity = chunk.bytes.length;
    chunk.holder.heldBytes -= capacity;
    chunk.holder = null;
    this.heldBytes -= capacity;
    this.heldChunks -= 1;
    if (this.#freeBytes + capacity > this.#freeBytesMax) return;
    this.#freeBytes += capacity;
    let free = this.#free(capacity);
    if (free === undefined) {
      free = [];
      this.#freeByCapacity.set(capacity, free);
    }
    free.push(chunk);
  }

  #free(capacity: number): Chunk[] | undefined {
    return capacity === USUAL_CAPACITY ? this.#freeUsual : this.#freeByCapacity.get(capacity);
  }
}

/** The capacity of the chunk that `take(bytes)` answers. */
export function capacityFor(bytes: number): number {
  if (bytes <= USUAL_CAPACITY) return USUAL_CAPACITY;
  let power = CHUNK_BYTES * 2;
  while (power + CHUNK_SLACK_BYTES < bytes) power *= 2;
  return power + CHUNK_SLACK_BYTES;
}
