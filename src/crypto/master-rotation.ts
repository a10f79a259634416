/**
 * A new master key for a node: all of its data keys, wrapped anew, take the place of the old ones at one instant.
 *
 *   keys/next/           what keys/ will hold, under the new master key: NUMBER.json for each data key, check.json,
 *                        settings.json, and master.key or passphrase.json and passphrase.copy.json where they are ours
 *   keys/rotation.json   {"format":1,"erase":[NAME...]}, as checked-json.ts says. While it is there, keys/next is what
 *                        counts, and whoever opens keys/ first finishes what follows. `erase`: files of the old master key
 *   keys/settings.json   what the daemon needs to use the present master key, see `RecordedSettings`
 *
 *   1. keys/next is filled, durably.         Up to here a crash changes nothing: the next start erases keys/next.
 *   2. rotation.json gets its name.          From here on only the new master key opens anything.
 *   3. The MetaStore gets its copies.        Before the first old file goes: one good copy of a key is there always.
 *   4. Each file of keys/next takes the place of its namesake, whose bytes are overwritten first.
 *   5. The MetaStore is scrubbed.            Until then its freed pages hold copies under the old master key.
 *   6. The old master key is overwritten and removed, where it lies in keys/.
 *   7. rotation.json goes.
 *
 * Finishing needs no key, so a start does it whatever its provider is; each step may be cut off and is done again.
 */
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import type { Clock, Random } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import { FileError } from '../io/file-error.js';
import type { Files } from '../io/files.js';
import { decodeChecked, encodeChecked } from './checked-json.js';
import { CryptoError } from './crypto-error.js';
import type { KeyProvider, KeyProviderOptions } from './key-provider.js';
import { ROTATION_COPIES_PER_STEP } from './limits.js';
import { CHECK_NAME, writeCheck } from './master-key-check.js';
import type { MetaCopies, MetaCopy } from './meta-copies.js';
import { openKeyProvider, type KeyProviderDependencies } from './open-key-provider.js';
import { settingsOf, type ProviderSettings } from './provider-settings.js';
import { unwrapRecord, wrapRecord } from './record-wrapping.js';
import { eraseSecret, overwriteSecret, readIfThere, writeSecret } from './secret-file.js';
import { decodeWrappedKey } from './wrapped-key-record.js';

const NEXT = 'next';
const PLAN = 'rotation.json';
const SETTINGS = 'settings.json';
/** Files of a master key that a provider keeps in keys/. */
export const MASTER_KEY_NAMES = ['master.key', 'passphrase.json', 'passphrase.copy.json'];
const DATA_KEY_NAME = /^([1-9]\d{0,9})\.json$/;
const INSTALLED_NAMES = new Set([...MASTER_KEY_NAMES, CHECK_NAME, SETTINGS]);

export type RotationDependencies = KeyProviderDependencies & {
  readonly files: Files;
  readonly random: Random;
  readonly clock: Clock;
};

export interface RotationOptions {
  readonly keysPath: string;
  readonly provider: KeyProviderOptions;
  /** The new master key may be the present one: what matters is what it wraps. Absent: that is refused. */
  readonly mayBeInUse?: boolean;
}

/** A data key on its way under a new master key. */
export interface KeyToWrap {
  readonly number: number;
  /** 32 bytes; wiped as soon as it is wrapped. */
  readonly secret: Uint8Array;
  readonly madeAtMs: number;
}

/** What `settings.json` says: since when the daemon has to be started how. */
export interface RecordedSettings {
  readonly changedAtMs: number;
  readonly settings: ProviderSettings;
}

const planShape = z.strictObject({ format: z.literal(1), erase: z.array(z.string().regex(/^[^/]{1,255}$/)) });
const settingsShape = z.strictObject({
  format: z.literal(1),
  changedAtMs: z.number().int().min(0),
  settings: z.record(z.string(), z.string()),
});

/**
 * Step 1 and 2: wraps `keys` under the master key that `provider` names, made where there is none, and puts it in force.
 * When this rejects, the old one is in force, unless the error says otherwise; then nothing may be wrapped any more. Throws
 * CryptoError: what the provider throws, COMMAND_FAILED and WRONG_KEY for a program that does not unwrap what it has wrapped.
 */
export async function putMasterKeyInForce(
  options: RotationOptions,
  keys: AsyncIterable<KeyToWrap>,
  dependencies: RotationDependencies,
): Promise<void> {
  const { keysPath } = options;
  try {
    await stage(options, keys, dependencies);
    const staged = new Set(await stagedNames(keysPath, dependencies.files));
    const { provider } = options;
    const kept = provider.provider === 'file' && provider.path !== undefined ? basename(provider.path) : '';
    const erase = [...MASTER_KEY_NAMES].filter((name) => !staged.has(name) && name !== kept);
    await writeSecret(dependencies.files, join(keysPath, PLAN), encodeChecked({ format: 1, erase }));
  } catch (thrown) {
    try {
      await withdraw(keysPath, dependencies);
    } catch (second) {
      const message = `${messageOf(thrown)}; whether the new master key is in force is known after a restart (${messageOf(second)})`;
      throw new CryptoError(message, { code: 'UNDECIDED', path: join(keysPath, PLAN) }, { cause: thrown });
    }
    throw thrown;
  }
}

/** Steps 3 to 7 where step 2 was reached, otherwise undoes step 1. True: there was something to finish. Throws CryptoError, and what `copies` throws. */
export async function settleRotation(
  keysPath: string,
  dependencies: { readonly files: Files; readonly random: Random },
  copies: MetaCopies,
): Promise<boolean> {
  const { files } = dependencies;
  const plan = await readIfThere(files, join(keysPath, PLAN));
  if (plan === null) {
    await eraseStaged(keysPath, dependencies);
    return false;
  }
  const names = await stagedNames(keysPath, files);
  // 3. The MetaStore, while each old file is still there.
  for (let at = 0; at < names.length; at += ROTATION_COPIES_PER_STEP) {
    await copies.store(await stagedCopies(keysPath, names.slice(at, at + ROTATION_COPIES_PER_STEP), files));
  }
  // 4. The files.
  for (const name of names) await install(keysPath, name, dependencies);
  await syncFolders([join(keysPath, NEXT), join(keysPath, 'data'), keysPath], files);
  // 5. Freed pages.
  await copies.scrub();
  // 6. The old master key. Without a legible plan it stays: the new one must not be taken for it.
  const parsed = planShape.safeParse(decodeChecked(plan));
  for (const name of parsed.success ? parsed.data.erase : []) await eraseSecret(dependencies, join(keysPath, name));
  // 7. Done.
  await inFolder(keysPath, async () => {
    await files.remove(join(keysPath, PLAN));
    await files.syncDirectory(keysPath);
  });
  return true;
}

/** Where a change of the master key that is not finished keeps a data key. */
export function stagedPathOf(keysPath: string, number: number): string {
  return join(keysPath, NEXT, `${String(number)}.json`);
}

/** null: the master key has never been changed, or the note about it is lost. Throws CryptoError IO. */
export async function recordedSettings(keysPath: string, files: Files): Promise<RecordedSettings | null> {
  const bytes = await readIfThere(files, join(keysPath, SETTINGS));
  const parsed = bytes === null ? null : settingsShape.safeParse(decodeChecked(bytes));
  return parsed?.success === true ? parsed.data : null;
}

async function stage(
  { keysPath, provider: options, mayBeInUse = false }: RotationOptions,
  keys: AsyncIterable<KeyToWrap>,
  dependencies: RotationDependencies,
): Promise<void> {
  const { files, clock } = dependencies;
  const next = join(keysPath, NEXT);
  await inFolder(next, () => files.makeDirectory(next));
  await eraseStaged(keysPath, dependencies);
  const { provider } = await openKeyProvider(options, { keysPath: next, mayCreate: true }, dependencies);
  try {
    if (!mayBeInUse) await refuseSameKey(keysPath, provider, files);
    for await (const { number, secret, madeAtMs } of keys) {
      try {
        const record = await wrapRecord(provider, number, secret, madeAtMs);
        await proveRecord(provider, number, record);
        await writeSecret(files, stagedPathOf(keysPath, number), record);
      } finally {
        secret.fill(0);
      }
    }
    await writeCheck(next, provider, dependencies);
  } finally {
    await provider.close();
  }
  const changedAtMs = Math.trunc(clock.wallMs());
  await writeSecret(
    files,
    join(next, SETTINGS),
    encodeChecked({ format: 1, changedAtMs, settings: settingsOf(options) }),
  );
  await syncFolders([next, keysPath], files);
}

/** Before the old master key goes: what a program wrapped, it must unwrap. */
async function proveRecord(provider: KeyProvider, number: number, bytes: Uint8Array): Promise<void> {
  const record = decodeWrappedKey(bytes, number);
  if (record !== null) (await unwrapRecord(provider, record)).fill(0);
}

/** A file that holds the present master key would be no change. A program may open what older keys of its own wrapped. */
async function refuseSameKey(keysPath: string, provider: KeyProvider, files: Files): Promise<void> {
  const bytes = provider.name === 'command' ? null : await readIfThere(files, join(keysPath, CHECK_NAME));
  const check = bytes === null ? null : decodeWrappedKey(bytes, 0);
  if (check === null) return;
  try {
    (await unwrapRecord(provider, check)).fill(0);
  } catch {
    return;
  }
  throw new CryptoError(`${provider.describe()} is the master key that is in use already; name a new file`, {
    code: 'OPTIONS',
    option: 'key_file',
  });
}

/** Takes back what step 1 and a step 2 that failed have left. */
async function withdraw(
  keysPath: string,
  dependencies: { readonly files: Files; readonly random: Random },
): Promise<void> {
  const { files } = dependencies;
  await inFolder(keysPath, async () => {
    // A write that failed may have given the file its name all the same.
    if (!(await files.exists(join(keysPath, PLAN)))) return;
    await files.remove(join(keysPath, PLAN));
    await files.syncDirectory(keysPath);
  });
  await eraseStaged(keysPath, dependencies);
}

async function eraseStaged(
  keysPath: string,
  dependencies: { readonly files: Files; readonly random: Random },
): Promise<void> {
  const next = join(keysPath, NEXT);
  for (const name of await listIfThere(next, dependencies.files)) await eraseSecret(dependencies, join(next, name));
}

/** Names in keys/next that have a place in keys/, sorted. */
async function stagedNames(keysPath: string, files: Files): Promise<string[]> {
  const names = await listIfThere(join(keysPath, NEXT), files);
  return names.filter((name) => INSTALLED_NAMES.has(name) || DATA_KEY_NAME.test(name));
}

async function stagedCopies(keysPath: string, names: readonly string[], files: Files): Promise<MetaCopy[]> {
  const copies: MetaCopy[] = [];
  for (const name of names) {
    const number = Number(DATA_KEY_NAME.exec(name)?.[1] ?? 0);
    const record = number === 0 ? null : await readIfThere(files, join(keysPath, NEXT, name));
    // Damage of the disk meanwhile: the file takes its place as it is, and the MetaStore keeps what it has.
    if (record !== null && decodeWrappedKey(record, number) !== null) copies.push({ number, record });
  }
  return copies;
}

async function install(
  keysPath: string,
  name: string,
  dependencies: { readonly files: Files; readonly random: Random },
): Promise<void> {
  const { files } = dependencies;
  const from = join(keysPath, NEXT, name);
  const to = DATA_KEY_NAME.test(name) ? join(keysPath, 'data', name) : join(keysPath, name);
  await inFolder(dirname(to), async () => {
    const old = await readIfThere(files, to);
    const staged = await readIfThere(files, from);
    // Where a power cut left one file with both names, overwriting the one would be the end of the other.
    if (old !== null && staged !== null && Buffer.from(old).equals(staged)) {
      await files.remove(from);
      return;
    }
    await overwriteSecret(dependencies, to);
    await files.rename(from, to);
  });
}

async function syncFolders(folders: readonly string[], files: Files): Promise<void> {
  for (const folder of folders) await inFolder(folder, () => files.syncDirectory(folder));
}

async function listIfThere(folder: string, files: Files): Promise<string[]> {
  try {
    return await files.list(folder);
  } catch (thrown) {
    if (thrown instanceof FileError && thrown.code === 'NOT_FOUND') return [];
    throw ioError(folder, thrown);
  }
}

async function inFolder<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    throw thrown instanceof CryptoError ? thrown : ioError(folder, thrown);
  }
}

function ioError(path: string, thrown: unknown): CryptoError {
  return new CryptoError(
    `cannot change the keys in ${path}: ${messageOf(thrown)}`,
    { code: 'IO', path },
    { cause: thrown },
  );
}
