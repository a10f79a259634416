import { assert } from '../base/assert.js';
import {
  Operation,
  RequestFlag,
  type BlockDevice,
  type BlockRequest,
  type DeviceFault,
  type Extent,
} from './block-device.js';
import { DeviceError } from './device-error.js';

export interface MemoryDeviceOptions {
  /** A multiple of `blockBytes`. */
  readonly sizeBytes: number;
  /** A power of two, 4096 to 65536; 4096 unless said otherwise. */
  readonly blockBytes?: number;
  readonly readOnly?: boolean;
  /** false: WRITE_ZEROES with FAST_ZERO is refused with UNSUPPORTED. */
  readonly fastZero?: boolean;
}

/**
 * A sparse device in memory, for tests and the bench: blocks exist once something was written to them, everything
 * else is a hole. Requests complete before `submit` returns; nothing survives the process, so FLUSH has no work.
 */
export class MemoryDevice implements BlockDevice {
  readonly blockBytes: number;
  readonly readOnly: boolean;
  #sizeBytes: number;
  readonly #fastZero: boolean;
  readonly #blocks = new Map<number, Uint8Array>();

  constructor(options: MemoryDeviceOptions) {
    this.blockBytes = options.blockBytes ?? 4096;
    this.readOnly = options.readOnly ?? false;
    this.#fastZero = options.fastZero ?? true;
    this.#sizeBytes = options.sizeBytes;
    assert(options.sizeBytes % this.blockBytes === 0, 'a device is a whole number of blocks');
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Bytes in blocks that exist. */
  get allocatedBytes(): number {
    return this.#blocks.size * this.blockBytes;
  }

  /** Makes the device larger; the new bytes are a hole. */
  grow(sizeBytes: number): void {
    assert(sizeBytes >= this.#sizeBytes && sizeBytes % this.blockBytes === 0, 'a device only grows, by whole blocks');
    this.#sizeBytes = sizeBytes;
  }

  submit(request: BlockRequest): void {
    request.done(this.#execute(request));
  }

  extents(offsetBytes: number, lengthBytes: number, extentsMax: number): Promise<Extent[]> {
    const end = offsetBytes + lengthBytes;
    if (end > this.#sizeBytes) return Promise.reject(new DeviceError('past the end', { code: 'RANGE' }));
    const extents: Extent[] = [];
    let runStart = offsetBytes;
    let runAllocated = false;
    for (let at = offsetBytes; at < end; at = this.#blockEnd(at)) {
      const allocated = this.#blocks.has(Math.floor(at / this.blockBytes));
      if (at > runStart && allocated !== runAllocated) {
        extents.push({ lengthBytes: at - runStart, allocated: runAllocated });
        if (extents.length === extentsMax) return Promise.resolve(extents);
        runStart = at;
      }
      runAllocated = allocated;
    }
    if (end > runStart) extents.push({ lengthBytes: end - runStart, allocated: runAllocated });
    return Promise.resolve(extents);
  }

  #execute(request: BlockRequest): DeviceFault | null {
    const { operation, offsetBytes, lengthBytes } = request;
    const changes =
      operation === Operation.WRITE || operation === Operation.TRIM || operation === Operation.WRITE_ZEROES;
    if (offsetBytes + lengthBytes > this.#sizeBytes) return { code: 'RANGE' };
    if (changes && this.readOnly) return { code: 'READ_ONLY' };
    switch (operation) {
      case Operation.READ:
        this.#read(request);
        return null;
      case Operation.WRITE:
        this.#write(request);
        return null;
      case Operation.WRITE_ZEROES:
        if ((request.flags & RequestFlag.FAST_ZERO) !== 0 && !this.#fastZero) return { code: 'UNSUPPORTED' };
        this.#zero(offsetBytes, lengthBytes);
        return null;
      case Operation.TRIM:
        this.#zero(offsetBytes, lengthBytes);
        return null;
      case Operation.FLUSH:
      case Operation.CACHE:
        return null;
    }
  }

  #read(request: BlockRequest): void {
    const { data, offsetBytes } = request;
    const end = offsetBytes + request.lengthBytes;
    let into = request.dataOffset;
    for (let at = offsetBytes; at < end;) {
      const pieceEnd = Math.min(end, this.#blockEnd(at));
      const index = Math.floor(at / this.blockBytes);
      const block = this.#blocks.get(index);
      const within = at - index * this.blockBytes;
      const count = pieceEnd - at;
      if (block === undefined) data.fill(0, into, into + count);
      else if (count === this.blockBytes) data.set(block, into);
      else data.set(block.subarray(within, within + count), into);
      into += count;
      at = pieceEnd;
    }
  }

  #write(request: BlockRequest): void {
    const { data, offsetBytes } = request;
    const end = offsetBytes + request.lengthBytes;
    let from = request.dataOffset;
    for (let at = offsetBytes; at < end;) {
      const pieceEnd = Math.min(end, this.#blockEnd(at));
      const index = Math.floor(at / this.blockBytes);
      let block = this.#blocks.get(index);
      if (block === undefined) {
        block = new Uint8Array(this.blockBytes);
        this.#blocks.set(index, block);
      }
      const count = pieceEnd - at;
      block.set(data.subarray(from, from + count), at - index * this.blockBytes);
      from += count;
      at = pieceEnd;
    }
  }

  /** Whole blocks become holes; the parts of blocks at the edges are overwritten. */
  #zero(offsetBytes: number, lengthBytes: number): void {
    const end = offsetBytes + lengthBytes;
    if (lengthBytes / this.blockBytes > this.#blocks.size) {
      this.#zeroSparsely(offsetBytes, end);
      return;
    }
    for (let at = offsetBytes; at < end;) {
      const pieceEnd = Math.min(end, this.#blockEnd(at));
      this.#zeroInBlock(Math.floor(at / this.blockBytes), at, pieceEnd);
      at = pieceEnd;
    }
  }

  /** A range with more blocks than exist: walks those that exist, so that zeroing a huge empty range costs nothing. */
  #zeroSparsely(start: number, end: number): void {
    for (const index of [...this.#blocks.keys()]) {
      const from = Math.max(start, index * this.blockBytes);
      const to = Math.min(end, (index + 1) * this.blockBytes);
      if (from < to) this.#zeroInBlock(index, from, to);
    }
  }

  #zeroInBlock(index: number, from: number, to: number): void {
    const first = index * this.blockBytes;
    if (to - from === this.blockBytes) this.#blocks.delete(index);
    else this.#blocks.get(index)?.fill(0, from - first, to - first);
  }

  #blockEnd(at: number): number {
    return (Math.floor(at / this.blockBytes) + 1) * this.blockBytes;
  }
}
