import { createHash } from 'node:crypto';
import { CryptoError } from '../../src/crypto/crypto-error.js';
import type {
  ForeignKey,
  KeyVault,
  LoadedKey,
  MadeKey,
  MasterKeyFacts,
  RotationOutcome,
  VaultState,
} from '../../src/crypto/data-key-vault.js';
import type { KeyProviderOptions } from '../../src/crypto/key-provider.js';
import type { CrashSwitch } from './crash-switch.js';

/** Keys whose wrapped copy is the key itself, turned round. Files survive a crash. */
export class FakeVault implements KeyVault {
  readonly files = new Map<number, string>();
  provider: KeyProviderOptions = { provider: 'file' };
  masterKeyNumber = 1;
  /** Whether other nodes have its master key. */
  opensForeign = true;
  /** Makes a change of the master key end unfinished with this. */
  unfinished: CryptoError | null = null;
  readonly warnings: readonly string[] = [];
  readonly #crash: CrashSwitch;
  state: VaultState = { usable: true };
  /** Makes `load` fail with this. */
  trouble: CryptoError | null = null;

  constructor(crash: CrashSwitch) {
    this.#crash = crash;
  }

  describe(): string {
    return 'keys of a test';
  }

  create(number: number): Promise<MadeKey> {
    return this.#crash.step('vault.create', () => {
      if (this.files.has(number)) throw new CryptoError('taken', { code: 'NUMBER_TAKEN', keyNumber: number });
      const secret = createHash('sha256').update(`key ${number}`).digest();
      this.files.set(number, secret.toString('hex'));
      return Promise.resolve({
        number,
        secret: Uint8Array.from(secret),
        record: new TextEncoder().encode(secret.toString('hex')),
      });
    });
  }

  adopt(number: number, { secret }: ForeignKey): Promise<MadeKey> {
    return this.#crash.step('vault.adopt', () => {
      const hex = Buffer.from(secret).toString('hex');
      this.files.set(number, hex);
      return Promise.resolve({ number, secret: secret.slice(), record: new TextEncoder().encode(hex) });
    });
  }

  unwrapForeign(_number: number, record: Uint8Array): Promise<ForeignKey | null> {
    const secret = Uint8Array.from(Buffer.from(new TextDecoder().decode(record), 'hex'));
    return Promise.resolve(this.opensForeign ? { secret, madeAtMs: 1 } : null);
  }

  load(number: number, metaCopy: Uint8Array | null): Promise<LoadedKey> {
    if (this.trouble !== null) return Promise.reject(this.trouble);
    const file = this.files.get(number);
    const hex = metaCopy === null ? file : new TextDecoder().decode(metaCopy);
    if (hex === undefined)
      return Promise.reject(new CryptoError('no copy', { code: 'MISSING', subject: `key ${number}` }));
    const healed = metaCopy === null ? ({ copy: 'meta', reason: 'it was missing' } as const) : null;
    return Promise.resolve({
      number,
      secret: Uint8Array.from(Buffer.from(hex, 'hex')),
      record: new TextEncoder().encode(hex),
      healed,
    });
  }

  erase(number: number): Promise<void> {
    return this.#crash.step('vault.erase', () => {
      this.files.delete(number);
      return Promise.resolve();
    });
  }

  numbers(): Promise<number[]> {
    return Promise.resolve([...this.files.keys()].sort((a, b) => a - b));
  }

  masterKey(): Promise<MasterKeyFacts> {
    return Promise.resolve({ id: String(this.masterKeyNumber).padStart(32, '0'), sinceMs: 1 });
  }

  rotateMaster(next: KeyProviderOptions): Promise<RotationOutcome> {
    return this.#crash.step('vault.rotateMaster', () => {
      this.provider = next;
      this.masterKeyNumber += 1;
      if (this.unfinished !== null) this.state = { usable: false, error: this.unfinished };
      return Promise.resolve({ keys: this.files.size, unfinished: this.unfinished });
    });
  }

  finishRotation(): Promise<void> {
    return this.#crash.step('vault.finishRotation', () => {
      this.unfinished = null;
      this.state = { usable: true };
      return Promise.resolve();
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
