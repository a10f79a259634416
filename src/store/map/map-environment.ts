/**
 * What the map needs of its database: ordered keys, sync reads of what is in memory, atomic durable commits. LMDB
 * implements it; a simulated twin keeps the same promise: a commit is atomic and survives only if it was durable.
 */
export interface MapChange {
  readonly key: Uint8Array;
  /** null: remove. */
  readonly value: Uint8Array | null;
}

export interface MapEnvironment {
  /** The value under a key, or null. The bytes are the caller's. */
  get(key: Uint8Array): Uint8Array | null;
  /** Brings the pages of these keys into memory off the event loop, so that `get` does not wait for a disk. */
  prefetch(keys: readonly Uint8Array[]): Promise<void>;
  /** At most `limit` rows with from <= key < to, in order. */
  range(from: Uint8Array, to: Uint8Array, limit: number): { key: Uint8Array; value: Uint8Array }[];
  /** Applies all changes or none; durable when it resolves. StoreError FULL when the disk is full. */
  commit(changes: readonly MapChange[]): Promise<void>;
  close(): Promise<void>;
}
