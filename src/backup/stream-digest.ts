import { createHash } from 'node:crypto';
import { FrameKind, SEALED_HEADER_BYTES, sealedBytesOf } from './stream-format.js';

/** SHA-256 over a sealed stream as END proves it: all of it, but of sealed blocks only their headers. */
export class StreamDigest {
  readonly #hash = createHash('sha256');
  #headers = Buffer.alloc(0);

  /** `header`: the 36 bytes of the frame. `blockBytes` counts for SEALED alone. */
  add(kind: number, header: Uint8Array, payload: Uint8Array, blockBytes: number): void {
    this.#hash.update(header);
    this.#hash.update(kind === FrameKind.SEALED ? this.#headersOf(payload, sealedBytesOf(blockBytes)) : payload);
  }

  /** Nothing may be added afterwards. */
  value(): Buffer {
    return this.#hash.digest();
  }

  #headersOf(payload: Uint8Array, step: number): Buffer {
    const count = Math.ceil(payload.length / step);
    if (this.#headers.length < count * SEALED_HEADER_BYTES) this.#headers = Buffer.alloc(count * SEALED_HEADER_BYTES);
    for (let n = 0; n < count; n += 1) {
      this.#headers.set(payload.subarray(n * step, n * step + SEALED_HEADER_BYTES), n * SEALED_HEADER_BYTES);
    }
    return this.#headers.subarray(0, count * SEALED_HEADER_BYTES);
  }
}
