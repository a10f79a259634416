export interface Keyring {
  readonly allowPlain: boolean;
  readonly keys: Map<number, Uint8Array>;
}

export interface SealingKey {
  readonly number: number;
  readonly salt: Uint8Array;
  /** The derived AES key; null for blocks that are not encrypted. */
  readonly key: Uint8Array | null;
  /** Stands for the derived key (or, of a plain one, for its salt) wherever it is written down. */
  readonly name: string;
}

/** The keys of one process, as sealing and opening ask for them. */
export interface KeyLookup {
  keyring(id: number): Keyring;
  sealing(id: number): SealingKey;
  /** The key under which blocks with this key number and salt were sealed, or null when the ring does not hold it. */
  opening(keyring: Keyring, number: number, salt: Uint8Array): Uint8Array | null;
}
