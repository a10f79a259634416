import { join } from 'node:path';
import { assert } from '../base/assert.js';
import type { Clock, Random } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import type { Closable } from '../base/lifecycle.js';
import type { Files } from '../io/files.js';
import { CryptoError } from './crypto-error.js';
import type { KeyProvider, KeyProviderOptions } from './key-provider.js';
import { dataPathOf, makeFolders, storedNumbers, storedRecords } from './data-key-files.js';
import { DATA_KEY_BYTES, DATA_KEY_NUMBER_MAX } from './limits.js';
import { CHECK_NAME, proveMasterKey } from './master-key-check.js';
import {
  type KeyToWrap,
  MASTER_KEY_NAMES,
  putMasterKeyInForce,
  recordedSettings,
  settleRotation,
  stagedPathOf,
} from './master-rotation.js';
import type { MetaCopies } from './meta-copies.js';
import { openKeyProvider } from './open-key-provider.js';
import { flagsOf, sameSettings, settingsOf } from './provider-settings.js';
import { unwrapRecord, wrapRecord } from './record-wrapping.js';
import { eraseSecret, readIfThere, writeSecret } from './secret-file.js';
import { decodeWrappedKey, encodeWrappedKey, type WrappedKeyRecord } from './wrapped-key-record.js';

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

/** A data key of another node. */
export interface ForeignKey {
  /** 32 bytes. */
  readonly secret: Uint8Array;
  /** When it was made, wall clock. */
  readonly madeAtMs: number;
}

export interface LoadedKey {
  readonly number: number;
  readonly secret: Uint8Array;
  /** What the MetaStore should hold now; differs from what was given only if `healed` is 'meta'. */
  readonly record: Uint8Array;
  /**
   * Which copy was damaged or missing. 'file': already written anew, unless `failure` says why not (one good copy is
   * enough to serve: a full disk must not lock a volume). 'meta': the caller stores `record`.
   */
  readonly healed: null | { readonly copy: 'file' | 'meta'; readonly reason: string; readonly failure?: string };
}

export type VaultState =
  | { readonly usable: true }
  /** No data key can be made or loaded; volumes that are not encrypted are served all the same. */
  | { readonly usable: false; readonly error: CryptoError };

/** The master key as people may know it. */
export interface MasterKeyFacts {
  /** 32 hexadecimal digits, others after each change; they say nothing about the key. */
  readonly id: string;
  /** Since when it is in force, wall clock, milliseconds since 1970. */
  readonly sinceMs: number;
}

export interface RotationOutcome {
  /** Data keys that were wrapped anew. */
  readonly keys: number;
  /** null: done. Otherwise the new master key is in force, nothing can be loaded, and `finishRotation` is to be called again. */
  readonly unfinished: CryptoError | null;
}

export interface KeyVault extends Closable {
  readonly state: VaultState;
  /** What names the master key that is in force. */
  readonly provider: KeyProviderOptions;
  /** One sentence about the provider for status and logs. */
  describe(): string;
  /** What the operator should know and log at start: a key beside the data, a healed copy, ... */
  readonly warnings: readonly string[];
  /** Makes a data key; its file copy is durable when this resolves. NUMBER_TAKEN when the number was used before. */
  create(number: number): Promise<MadeKey>;
  /** Keeps a data key that was made elsewhere, under a number of this node; otherwise as `create`. Only reads its secret. */
  adopt(number: number, key: ForeignKey): Promise<MadeKey>;
  /**
   * Opens the record of a data key that another node has wrapped under its number there; null: its master key is not this
   * one. The caller wipes the secret. Throws DAMAGED, and what the provider throws.
   */
  unwrapForeign(number: number, record: Uint8Array): Promise<ForeignKey | null>;
  /** `metaCopy`: what the MetaStore has, or null. WRONG_KEY, DAMAGED and MISSING name provider and number. */
  load(number: number, metaCopy: Uint8Array | null): Promise<LoadedKey>;
  /** Overwrites the file copy, then removes it. Fine if it is gone. The caller deletes the MetaStore's copy first. */
  erase(number: number): Promise<void>;
  /** Numbers that have a file copy, ascending: new numbers must lie above; orphans of a crash can be erased. */
  numbers(): Promise<number[]>;
  /** null: its check is missing or damaged. */
  masterKey(): Promise<MasterKeyFacts | null>;
  /**
   * Wraps every data key under a new master key, which `next` names; see master-rotation.ts. Nothing else may be asked of
   * the vault meanwhile. When this rejects, the old one is in force, or, with UNDECIDED, nothing is until a restart.
   */
  rotateMaster(next: KeyProviderOptions): Promise<RotationOutcome>;
  /** Ends a change of the master key that `rotateMaster` could not end. Throws what stands in the way. */
  finishRotation(): Promise<void>;
}

export interface VaultOptions {
  /** The `keys` folder of the storage path; made when it is not there. */
  readonly keysPath: string;
  readonly provider: KeyProviderOptions;
  /**
   * The wrapped copies that the MetaStore holds, damaged ones included; absent: it holds none. They say that a master key
   * was in use when the whole folder is lost: a new one in its place would hide that, and would refuse the old one when it
   * is brought back.
   */
  readonly metaCopies?: MetaCopies;
}

const NO_META_COPIES: MetaCopies = {
  list: () => Promise.resolve([]),
  store: () => Promise.resolve(),
  scrub: () => Promise.resolve(),
};

/** Data keys, wrapped by the key provider and kept twice: here under `keys/data`, and by the caller in the MetaStore. */
export class DataKeyVault implements KeyVault {
  readonly #keysPath: string;
  readonly #dataPath: string;
  readonly #metaCopies: MetaCopies;
  #options: KeyProviderOptions;
  #provider: KeyProvider | CryptoError;
  readonly #warnings: readonly string[];
  readonly #dependencies: VaultDependencies;

  private constructor(
    options: VaultOptions,
    provider: KeyProvider | CryptoError,
    warnings: readonly string[],
    dependencies: VaultDependencies,
  ) {
    this.#keysPath = options.keysPath;
    this.#options = options.provider;
    this.#metaCopies = options.metaCopies ?? NO_META_COPIES;
    this.#dataPath = dataPathOf(options.keysPath);
    this.#provider = provider;
    this.#warnings = warnings;
    this.#dependencies = dependencies;
  }

  /**
   * Opens the provider and proves that its master key is the one that the data keys here are wrapped with. A provider
   * that cannot be used is no failure of this call: `state` says so, and only encrypted volumes are out of reach.
   */
  static async open(options: VaultOptions, dependencies: VaultDependencies): Promise<DataKeyVault> {
    const warnings: string[] = [];
    let provider: KeyProvider | null = null;
    try {
      await makeFolders(dependencies.files, options.keysPath);
      const metaCopies = options.metaCopies ?? NO_META_COPIES;
      if (await settleRotation(options.keysPath, dependencies, metaCopies)) {
        warnings.push('a change of the master key that was cut off has been finished');
      }
      const records = async () =>
        storedRecords(dependencies.files, dataPathOf(options.keysPath), await metaCopies.list());
      const proof = await proveMasterKey(options, dependencies, records, async (mayCreate) => {
        const opened = await openKeyProvider(options.provider, { keysPath: options.keysPath, mayCreate }, dependencies);
        provider = opened.provider;
        warnings.push(...opened.warnings);
        return opened.provider;
      });
      warnings.push(...proof.warnings);
      return new DataKeyVault(options, proof.provider, warnings, dependencies);
    } catch (thrown) {
      await (provider as KeyProvider | null)?.close();
      if (!(thrown instanceof CryptoError)) throw thrown;
      return new DataKeyVault(options, await withAdvice(thrown, options, dependencies.files), warnings, dependencies);
    }
  }

  get provider(): KeyProviderOptions {
    return this.#options;
  }

  get state(): VaultState {
    return this.#provider instanceof CryptoError ? { usable: false, error: this.#provider } : { usable: true };
  }

  get warnings(): readonly string[] {
    return this.#warnings;
  }

  describe(): string {
    const { provider } = this.#options;
    if (this.#provider instanceof CryptoError) return `${provider}: not usable, ${this.#provider.message}`;
    return `${provider}: ${this.#provider.describe()}`;
  }

  create(number: number): Promise<MadeKey> {
    const { random, clock } = this.#dependencies;
    return this.#keep(number, random.bytes(DATA_KEY_BYTES), clock.wallMs());
  }

  adopt(number: number, { secret, madeAtMs }: ForeignKey): Promise<MadeKey> {
    return this.#keep(number, secret.slice(), madeAtMs);
  }

  async unwrapForeign(number: number, record: Uint8Array): Promise<ForeignKey | null> {
    const provider = this.#usable(number);
    const decoded = decodeWrappedKey(record, number);
    if (decoded === null) {
      const subject = `wrapped data key ${String(number)} of another node`;
      throw new CryptoError(`${subject} is damaged, or of a newer version`, { code: 'DAMAGED', subject });
    }
    if (decoded.provider !== provider.name) return null;
    try {
      return { secret: await unwrapRecord(provider, decoded), madeAtMs: decoded.madeAtMs };
    } catch (thrown) {
      if (thrown instanceof CryptoError && thrown.code === 'WRONG_KEY') return null;
      throw thrown;
    }
  }

  /** Takes `secret` over. */
  async #keep(number: number, secret: Uint8Array, madeAtMs: number): Promise<MadeKey> {
    try {
      assertNumber(number);
      const provider = this.#usable(number);
      const { files } = this.#dependencies;
      const path = this.#pathOf(number);
      if ((await readIfThere(files, path)) !== null) {
        throw new CryptoError(`data key ${String(number)} exists already`, { code: 'NUMBER_TAKEN', keyNumber: number });
      }
      const record = await wrapRecord(provider, number, secret, madeAtMs);
      await writeSecret(files, path, record);
      return { number, secret, record };
    } catch (thrown) {
      secret.fill(0);
      throw thrown;
    }
  }

  async load(number: number, metaCopy: Uint8Array | null): Promise<LoadedKey> {
    assertNumber(number);
    const provider = this.#usable(number);
    const path = this.#pathOf(number);
    const { fileCopy, meta, file, secret, good } = await this.#open(provider, number, metaCopy);
    const record = encodeWrappedKey(good);
    // The copy that is damaged, missing, or wrapped with a master key that is no longer ours is made like the good one.
    if (file?.wrapped !== good.wrapped) {
      const healed = { copy: 'file' as const, reason: stateOf(fileCopy) };
      try {
        await writeSecret(this.#dependencies.files, path, record);
      } catch (thrown) {
        return { number, secret, record, healed: { ...healed, failure: messageOf(thrown) } };
      }
      return { number, secret, record, healed };
    }
    const healed = meta?.wrapped === good.wrapped ? null : { copy: 'meta' as const, reason: stateOf(metaCopy) };
    return { number, secret, record, healed };
  }

  async erase(number: number): Promise<void> {
    assertNumber(number);
    // The copy that an unfinished change of the master key would put in its place goes with it.
    await eraseSecret(this.#dependencies, stagedPathOf(this.#keysPath, number));
    await eraseSecret(this.#dependencies, this.#pathOf(number));
  }

  numbers(): Promise<number[]> {
    return storedNumbers(this.#dependencies.files, this.#dataPath);
  }

  async masterKey(): Promise<MasterKeyFacts | null> {
    const bytes = await readIfThere(this.#dependencies.files, join(this.#keysPath, CHECK_NAME));
    const check = bytes === null ? null : decodeWrappedKey(bytes, 0);
    return check === null ? null : { id: check.check, sinceMs: check.madeAtMs };
  }

  async rotateMaster(next: KeyProviderOptions): Promise<RotationOutcome> {
    if (this.#provider instanceof CryptoError) throw this.#provider;
    const old = this.#provider;
    const options = this.#normal(next);
    let keys = 0;
    try {
      const every = this.#everyKey(old, () => {
        keys += 1;
      });
      await putMasterKeyInForce({ keysPath: this.#keysPath, provider: options }, every, this.#dependencies);
    } catch (thrown) {
      if (thrown instanceof CryptoError && thrown.code === 'UNDECIDED') await this.#replace(thrown);
      throw thrown;
    }
    this.#options = options;
    const path = this.#keysPath;
    await this.#replace(new CryptoError('the change of the master key is being finished', { code: 'IO', path }));
    try {
      await this.finishRotation();
      return { keys, unfinished: null };
    } catch (thrown) {
      const message = `the new master key is in force, and the change is not finished: ${messageOf(thrown)}`;
      const unfinished = new CryptoError(message, { code: 'IO', path }, { cause: thrown });
      await this.#replace(unfinished);
      return { keys, unfinished };
    }
  }

  async finishRotation(): Promise<void> {
    await settleRotation(this.#keysPath, this.#dependencies, this.#metaCopies);
    // As the next start will: what cannot be opened then is better known now.
    const place = { keysPath: this.#keysPath, mayCreate: false };
    const { provider } = await openKeyProvider(this.#options, place, this.#dependencies);
    await this.#replace(provider);
  }

  async close(): Promise<void> {
    if (!(this.#provider instanceof CryptoError)) await this.#provider.close();
  }

  async #replace(provider: KeyProvider | CryptoError): Promise<void> {
    const old = this.#provider;
    this.#provider = provider;
    if (!(old instanceof CryptoError)) await old.close();
  }

  /** Without a path that says nothing: a master key in keys/ is replaced there. */
  #normal(options: KeyProviderOptions): KeyProviderOptions {
    if (options.provider !== 'file' || options.path === undefined) return options;
    const own = MASTER_KEY_NAMES.map((name) => join(this.#keysPath, name)).includes(options.path);
    return own ? { provider: 'file' } : options;
  }

  /** All data keys that have a copy somewhere, opened one by one. Throws at the end for those that cannot be. */
  async *#everyKey(provider: KeyProvider, opened: () => void): AsyncGenerator<KeyToWrap, void, void> {
    const copies = new Map((await this.#metaCopies.list()).map(({ number, record }) => [number, record]));
    const numbers = new Set([...(await this.numbers()), ...copies.keys()]);
    const failures: { number: number; thrown: CryptoError }[] = [];
    for (const number of [...numbers].sort((left, right) => left - right)) {
      let key: KeyToWrap;
      try {
        const { secret, good } = await this.#open(provider, number, copies.get(number) ?? null);
        key = { number, secret, madeAtMs: good.madeAtMs };
      } catch (thrown) {
        if (!(thrown instanceof CryptoError)) throw thrown;
        failures.push({ number, thrown });
        continue;
      }
      opened();
      yield key;
    }
    const [first] = failures;
    if (first === undefined) return;
    const which = failures.map(({ number }) => String(number)).join(', ');
    const message =
      `data ${failures.length === 1 ? 'key' : 'keys'} ${which} cannot be opened, and would be left under the old master key: ` +
      `${first.thrown.message}; \`gfs key status\` shows whose they are: bring back a copy of keys/, or delete these volumes`;
    throw new CryptoError(message, first.thrown.fault, { cause: first.thrown });
  }

  /** Reads both copies of a data key and opens it from either. `secret` is the caller's to wipe. */
  async #open(
    provider: KeyProvider,
    number: number,
    metaCopy: Uint8Array | null,
  ): Promise<{
    readonly fileCopy: Uint8Array | null;
    readonly file: WrappedKeyRecord | null;
    readonly meta: WrappedKeyRecord | null;
    readonly secret: Uint8Array;
    readonly good: WrappedKeyRecord;
  }> {
    const fileCopy = await readIfThere(this.#dependencies.files, this.#pathOf(number));
    const meta = metaCopy === null ? null : decodeWrappedKey(metaCopy, number);
    const file = fileCopy === null ? null : decodeWrappedKey(fileCopy, number);
    if (meta === null && file === null) throw noCopy(number, metaCopy === null && fileCopy === null);
    if (meta !== null && file !== null && meta.check !== file.check) {
      const message = `the two copies of data key ${String(number)} hold different keys`;
      throw new CryptoError(message, { code: 'DAMAGED', subject: `data key ${String(number)}` });
    }
    return { fileCopy, meta, file, ...(await this.#unwrapEither(provider, number, meta, file)) };
  }

  /** A re-wrap that a crash cut in two leaves one copy under the old master key: whichever opens is right. */
  async #unwrapEither(
    provider: KeyProvider,
    number: number,
    meta: WrappedKeyRecord | null,
    file: WrappedKeyRecord | null,
  ): Promise<{ secret: Uint8Array; good: WrappedKeyRecord }> {
    let failure: unknown;
    for (const record of [meta, file]) {
      if (record === null) continue;
      try {
        return { secret: await unwrapRecord(provider, record), good: record };
      } catch (thrown) {
        if (!(thrown instanceof CryptoError) || thrown.code !== 'WRONG_KEY') throw thrown;
        failure = thrown;
      }
    }
    assert(failure !== undefined, 'there was a copy to unwrap');
    throw wrongKey(provider.name, number, failure);
  }

  #usable(number: number): KeyProvider {
    const provider = this.#provider;
    if (!(provider instanceof CryptoError)) return provider;
    const { fault } = provider;
    const numbered = fault.code === 'WRONG_KEY' ? { ...fault, keyNumber: number } : fault;
    throw new CryptoError(`data key ${String(number)}: ${provider.message}`, numbered, { cause: provider });
  }

  #pathOf(number: number): string {
    return join(this.#dataPath, `${String(number)}.json`);
  }
}

/** After a change of the master key: how the daemon has to be started, where it was started otherwise. */
async function withAdvice(
  error: CryptoError,
  { keysPath, provider }: VaultOptions,
  files: Files,
): Promise<CryptoError> {
  const recorded = await recordedSettings(keysPath, files).catch(() => null);
  if (recorded === null || sameSettings(recorded.settings, settingsOf(provider))) return error;
  const date = new Date(recorded.changedAtMs).toISOString();
  const advice = `the master key was changed on ${date}: start the daemon with ${flagsOf(recorded.settings)} (or the same in its file)`;
  return new CryptoError(`${error.message}; ${advice}`, error.fault, { cause: error });
}

function wrongKey(provider: string, number: number, cause: unknown): CryptoError {
  const message = `data key ${String(number)} was not wrapped with the master key of provider "${provider}"`;
  return new CryptoError(message, { code: 'WRONG_KEY', provider, keyNumber: number }, { cause });
}

function noCopy(number: number, missing: boolean): CryptoError {
  const subject = `data key ${String(number)}`;
  if (missing) return new CryptoError(`${subject} is missing: neither copy is there`, { code: 'MISSING', subject });
  return new CryptoError(`${subject} is lost: no copy of it is intact`, { code: 'DAMAGED', subject });
}

function stateOf(copy: Uint8Array | null): string {
  return copy === null ? 'missing' : 'damaged or out of date';
}

function assertNumber(number: number): void {
  assert(Number.isInteger(number) && number >= 1 && number <= DATA_KEY_NUMBER_MAX, 'a data key number is 1 to 2^32-1');
}
