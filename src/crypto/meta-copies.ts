/** One wrapped data key as the MetaStore holds it: the bytes of a wrapped-key-record.ts, or whatever damage left of them. */
export interface MetaCopy {
  readonly number: number;
  readonly record: Uint8Array;
}

/** The wrapped copies that the MetaStore holds; the vault holds the others. */
export interface MetaCopies {
  /** All of them; a damaged one is there, and empty. */
  list(): Promise<readonly MetaCopy[]>;
  /** Sets them, each durable when this resolves; a crash may leave some of them as they were. */
  store(copies: readonly MetaCopy[]): Promise<void>;
  /** Resolves when nothing of what was replaced or deleted before is left in the files of the MetaStore. */
  scrub(): Promise<void>;
}
