import type { Closable } from '../base/lifecycle.js';

/** Holds, or reaches, the master key that data keys are wrapped with. */
export interface KeyProvider extends Closable {
  readonly name: 'file' | 'passphrase' | 'command';
  /** One sentence for status and logs; no secrets in it. */
  describe(): string;
  /** `dataKey` (32 bytes) is only read. */
  wrap(dataKey: Uint8Array): Promise<Uint8Array>;
  /** 32 bytes that the caller wipes. Throws CryptoError WRONG_KEY (keyNumber 0) when it was wrapped with another key. */
  unwrap(wrapped: Uint8Array): Promise<Uint8Array>;
  /** Wipes the master key. */
  close(): Promise<void>;
}

/** Where a passphrase comes from. One newline at its end does not count. */
export type PassphraseSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'environment'; readonly variable: string }
  /** A file of this name under $CREDENTIALS_DIRECTORY (systemd LoadCredential, LoadCredentialEncrypted). */
  | { readonly kind: 'credential'; readonly credential: string };

export type KeyProviderOptions =
  /** `path` absent: `master.key` under the keys folder, made on first start. */
  | { readonly provider: 'file'; readonly path?: string }
  | { readonly provider: 'passphrase'; readonly source: PassphraseSource }
  /**
   * `argv`: program (absolute path, or found in PATH) and its leading arguments; `wrap` or `unwrap` is appended.
   * No shell. One line of base64 goes to its stdin, one is expected on its stdout, exit status 0.
   */
  | { readonly provider: 'command'; readonly argv: readonly string[]; readonly timeoutMs?: number };
