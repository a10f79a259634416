import type { StreamProof } from '../../backup/stream-decoder.js';
import { streamMacKeyOf, streamMacMatches } from '../../crypto/stream-mac.js';
import type { StreamKey } from './stream-keys.js';

/** Knows what a sealed stream must end with. */
export class StreamProver {
  readonly #macKey: Uint8Array | null;

  /** Of a plain stream there are no keys. */
  constructor(keys: readonly StreamKey[]) {
    const last = keys.at(-1);
    this.#macKey = last === undefined ? null : streamMacKeyOf(last.secret);
  }

  /** Whether the end of the stream proves it; a plain one has nothing to prove. */
  isProven(proof: StreamProof | null): boolean {
    if (this.#macKey === null || proof === null) return this.#macKey === null && proof === null;
    return streamMacMatches(this.#macKey, proof.digest, proof.mac);
  }
}
