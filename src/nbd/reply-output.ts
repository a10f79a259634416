import { assert } from '../base/assert.js';
import type { ByteChannel } from './byte-channel.js';
import { capacityFor, type Chunk, type ChunkHolder, type ChunkPool } from './chunk-pool.js';
import { CHUNK_BYTES } from './limits.js';

/** Runs of bytes in chunks; as arrays side by side, so that a run costs no object. */
class Runs {
  readonly chunks: Chunk[] = [];
  readonly starts: number[] = [];
  readonly ends: number[] = [];
  /** Regions, and so references to the chunk, in each run. */
  readonly regions: number[] = [];

  clear(): void {
    this.chunks.length = 0;
    this.starts.length = 0;
    this.ends.length = 0;
    this.regions.length = 0;
  }
}

/**
 * The replies of one session. A reply reserves a region of an arena chunk (a READ when it is submitted, so that the
 * device reads straight into it; others when they are complete), and is committed in whatever order requests complete.
 * `flush` hands everything committed to the socket in one gathered write; regions that lie beside each other leave as
 * one piece. At most one write is under way, and a chunk is used again when all its regions have left.
 */
export class ReplyOutput {
  readonly #pool: ChunkPool;
  readonly #holder: ChunkHolder;
  #channel: ByteChannel | null = null;
  #arena: Chunk | null = null;
  #arenaFill = 0;
  #ready = new Runs();
  #sending = new Runs();
  #isSending = false;
  #readyBytes = 0;
  #sendingBytes = 0;
  /** Start of the region that `reserve` has just answered. */
  reservedAt = 0;

  constructor(pool: ChunkPool, holder: ChunkHolder) {
    this.#pool = pool;
    this.#holder = holder;
  }

  attach(channel: ByteChannel): void {
    this.#channel = channel;
  }

  /** Bytes committed and not yet taken by the kernel. */
  get unsentBytes(): number {
    return this.#readyBytes + this.#sendingBytes;
  }

  /** Bytes committed and not yet given to the socket. */
  get readyBytes(): number {
    return this.#readyBytes;
  }

  /** Capacity that `reserve(bytes)` would have to take from the pool. */
  newBytesFor(bytes: number): number {
    if (this.#arena !== null && this.#arenaFill + bytes <= CHUNK_BYTES) return 0;
    return capacityFor(bytes);
  }

  /** A region of `bytes`: [reservedAt, reservedAt + bytes) of the chunk. Must be committed or abandoned. */
  reserve(bytes: number): Chunk {
    let chunk = this.#arena;
    if (chunk !== null && this.#arenaFill + bytes <= CHUNK_BYTES) {
      this.reservedAt = this.#arenaFill;
      this.#arenaFill += bytes;
      chunk.references += 1;
      return chunk;
    }
    this.reservedAt = 0;
    chunk = this.#pool.take(bytes, this.#holder);
    // A reply that fills a chunk alone does not end the arena that others still fit into.
    if (bytes > CHUNK_BYTES / 2) return chunk;
    this.#dropArena();
    chunk.references += 1;
    this.#arena = chunk;
    this.#arenaFill = bytes;
    return chunk;
  }

  /** Bytes [start, end), inside one reserved region, are the reply. */
  commit(chunk: Chunk, start: number, end: number): void {
    const { chunks, starts, ends, regions } = this.#ready;
    const last = chunks.length - 1;
    this.#readyBytes += end - start;
    if (last >= 0 && chunks[last] === chunk && ends[last] === start) {
      ends[last] = end;
      regions[last] += 1;
      return;
    }
    chunks.push(chunk);
    starts.push(start);
    ends.push(end);
    regions.push(1);
  }

  /** The region will not be sent. */
  abandon(chunk: Chunk): void {
    this.#pool.release(chunk);
  }

  /** Gives what is committed to the socket, unless an earlier write still waits for the client. */
  flush(): void {
    const channel = this.#channel;
    if (this.#isSending || this.#readyBytes === 0 || channel === null || channel.isClosed) return;
    const runs = this.#ready;
    this.#ready = this.#sending;
    this.#sending = runs;
    this.#sendingBytes = this.#readyBytes;
    this.#readyBytes = 0;
    this.#isSending = true;
    const count = runs.chunks.length;
    if (count > 1) channel.cork();
    for (let i = 0; i < count; i += 1) channel.write(runs.chunks[i].bytes.subarray(runs.starts[i], runs.ends[i]));
    if (count > 1) channel.uncork();
    // Usually the kernel takes everything at once, and the arena can be used again in this very turn.
    if (channel.isWritten) this.#sent();
  }

  /** The channel's `written`. */
  written(): void {
    if (this.#isSending) this.#sent();
  }

  /** Nothing is in flight: an idle session keeps no arena. */
  rest(): void {
    if (this.#arena?.references === 1) this.#dropArena();
  }

  /** The connection is gone: what is committed will never be sent. */
  close(): void {
    this.#releaseRuns(this.#ready);
    this.#releaseRuns(this.#sending);
    this.#readyBytes = 0;
    this.#sendingBytes = 0;
    this.#isSending = false;
    this.#channel = null;
    this.#dropArena();
  }

  #sent(): void {
    assert(this.#isSending, 'a write was under way');
    this.#releaseRuns(this.#sending);
    this.#sendingBytes = 0;
    this.#isSending = false;
    if (this.#arena?.references === 1) this.#arenaFill = 0;
  }

  #releaseRuns(runs: Runs): void {
    for (let i = 0; i < runs.chunks.length; i += 1) this.#pool.release(runs.chunks[i], runs.regions[i]);
    runs.clear();
  }

  #dropArena(): void {
    if (this.#arena !== null) this.#pool.release(this.#arena);
    this.#arena = null;
    this.#arenaFill = 0;
  }
}
