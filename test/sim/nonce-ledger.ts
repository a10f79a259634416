/**
 * Every (key, nonce) pair that was ever sealed in a simulated world, whatever became of the machine since (P7). For
 * blocks that are not encrypted the salt takes the key's place: a write identity is not to repeat either.
 */
export class NonceLedger {
  readonly #seen = new Map<string, Set<number>>();
  pairs = 0;

  /** False when the pair was there before. */
  record(key: string, epoch: number, counter: number): boolean {
    let nonces = this.#seen.get(key);
    if (nonces === undefined) this.#seen.set(key, (nonces = new Set()));
    // Simulated epochs and counters are small: both fit a safe integer.
    const nonce = epoch * 2 ** 32 + counter;
    if (nonces.has(nonce)) return false;
    nonces.add(nonce);
    this.pairs += 1;
    return true;
  }
}
