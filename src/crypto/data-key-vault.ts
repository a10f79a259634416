import type { Clock, Random } from '../base/clock.js';
import type { Closable } from '../base/lifecycle.js';
import type { Files } from '../io/files.js';
import type { CryptoError } from './crypto-error.js';
import type { KeyProviderOptions } from './key-provider.js';

export interface VaultDependencies {
  readonly files: Files;
  readonly random: Random;
  readonly clock: Clock;
  /** The process environment: passphrase variables, $CREDENTIALS_DIRECTORY, and what a command inherits. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Permission bits of a file, `fileModeOf` in production. */
  readonly modeOf: (path: string) => Promise<number>;
}

/** A new data key. The caller hands `secret` on (which wipes it) or wipes it with fill(0). */
export interface MadeKey {
  readonly number: number;
  readonly secret: Uint8Array;
  /** The wrapped copy that the caller puts into the MetaStore before the key is used. */
  readonly record: Uint8Array;
}

export interface LoadedKey {
  readonly number: number;
  readonly secret: Uint8Array;
  /** What the MetaStore should hold now; differs from what was given only if `healed` is 'meta'. */
  readonly record: Uint8Array;
  /** Which copy was damaged or missing. 'file': already written anew. 'meta': the caller stores `record`. */
  readonly healed: null | { readonly copy: 'file' | 'meta'; readonly reason: string };
}

export type VaultState =
  | { readonly usable: true }
  /** No data key can be made or loaded; volumes that are not encrypted are served all the same. */
  | { readonly usable: false; readonly error: CryptoError };

export interface KeyVault extends Closable {
  readonly state: VaultState;
  readonly providerName: KeyProviderOptions['provider'];
  /** One sentence about the provider for status and logs. */
  describe(): string;
  /** What the operator should know and log at start: a key beside the data, a healed copy, ... */
  readonly warnings: readonly string[];
  /** Makes a data key; its file copy is durable when this resolves. NUMBER_TAKEN when the number was used before. */
  create(number: number): Promise<MadeKey>;
  /** `metaCopy`: what the MetaStore has, or null. WRONG_KEY, DAMAGED and MISSING name provider and number. */
  load(number: number, metaCopy: Uint8Array | null): Promise<LoadedKey>;
  /** Overwrites the file copy, then removes it. Fine if it is gone. The caller deletes the MetaStore's copy first. */
  erase(number: number): Promise<void>;
  /** Numbers that have a file copy, ascending: new numbers must lie above; orphans of a crash can be erased. */
  numbers(): Promise<number[]>;
}
