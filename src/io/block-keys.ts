/**
 * Keys for the batch kernels, held by the addon outside the JavaScript heap and wiped on release. A keyring holds the
 * data keys that blocks of one volume may have been sealed with; a sealing key is one data key bound to this session's salt.
 */
export type KeyringId = number & { readonly unit: 'keyring' };
export type SealingKeyId = number & { readonly unit: 'sealing-key' };

/** Data key number of blocks that are not encrypted: a CRC32C stands in for the tag. */
export const PLAIN_KEY_NUMBER = 0;

export interface BlockKeys {
  /** A keyring; `allowPlain` lets it open blocks with key number 0. Without it they are refused (status KEY). */
  createKeyring(allowPlain: boolean): KeyringId;
  /** Copies a 32-byte data key into the addon under its number (1 to 2^32-1). The caller wipes its own copy. */
  addDataKey(keyring: KeyringId, number: number, dataKey: Uint8Array): void;
  /** Wipes and forgets; operations in flight finish first. */
  releaseKeyring(keyring: KeyringId): void;
  /**
   * HKDF-SHA256(data key, salt of 16 bytes, info "galleon block key v1") as an AES-256-GCM key for sealing. Number 0
   * gives the unencrypted variant, which still stamps salt and nonce into each header (write identity).
   */
  createSealingKey(keyring: KeyringId, number: number, salt: Uint8Array): SealingKeyId;
  releaseSealingKey(key: SealingKeyId): void;
  /**
   * Authenticates sealed blocks of consecutive indices, from `first` on, that lie one behind another in memory, as a SEALED
   * read delivers them. Returns how many are proven, up to the first that is not; blocks without encryption are not.
   */
  proveSealed(keyring: KeyringId, bytes: Uint8Array, blockBytes: number, first: number): number;
}

export interface Checksums {
  /** CRC32C (Castagnoli) of bytes [offset, offset + length), continuing from `seed` (0 to start). Unsigned. */
  crc32c(bytes: Uint8Array, offset: number, length: number, seed: number): number;
  /** Whether bytes [offset, offset + length) are all zero. */
  isZero(bytes: Uint8Array, offset: number, length: number): boolean;
}
