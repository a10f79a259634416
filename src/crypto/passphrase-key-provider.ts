/**
 * A master key stretched from a passphrase by scrypt (RFC 7914). Salt and cost are in `passphrase.json`, and again in
 * `passphrase.copy.json`: without the salt the passphrase is worth nothing. Of the 64 derived bytes the first half is
 * the master key; the check is made of the second, so that it says nothing about the first.
 */
import { scrypt } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import type { Random } from '../base/clock.js';
import { decodeChecked, encodeChecked } from './checked-json.js';
import { CryptoError } from './crypto-error.js';
import type { OpenedProvider } from './file-key-provider.js';
import { keyCheckMatches, keyCheckOf } from './key-wrap.js';
import type { PassphraseSource } from './key-provider.js';
import {
  MASTER_KEY_BYTES,
  PASSPHRASE_BYTES_ADVISED,
  SCRYPT_MEMORY_BYTES_MAX,
  SCRYPT_N,
  SCRYPT_P,
  SCRYPT_P_MAX,
  SCRYPT_R,
  SCRYPT_SALT_BYTES,
} from './limits.js';
import { LocalKeyProvider } from './local-key-provider.js';
import { describeSource, readPassphrase, type PassphraseDependencies } from './passphrase.js';
import { readIfThere, writeSecret } from './secret-file.js';

export interface PassphraseProviderOptions {
  readonly keysPath: string;
  readonly source: PassphraseSource;
  /** Whether salt and cost may be made when they are not there. */
  readonly mayCreate: boolean;
  /** scrypt's N for a new passphrase file, a power of two; tests take less. */
  readonly scryptN?: number;
}

export interface ScryptCost {
  readonly N: number;
  readonly r: number;
  readonly p: number;
}

const passphraseFile = z
  .strictObject({
    format: z.literal(1),
    kdf: z.literal('scrypt'),
    N: z.number().int().min(2),
    r: z.number().int().min(1),
    p: z.number().int().min(1).max(SCRYPT_P_MAX),
    salt: z.base64(),
    check: z.string().regex(/^[0-9a-f]{32}$/),
  })
  .refine(({ N }) => Number.isInteger(Math.log2(N)))
  .refine(({ N, r }) => 128 * N * r <= SCRYPT_MEMORY_BYTES_MAX);
type PassphraseFile = z.infer<typeof passphraseFile>;

/** Throws CryptoError: WRONG_KEY for a wrong passphrase, MISSING, DAMAGED (both copies of the salt), EXPOSED, OPTIONS, IO. */
export async function openPassphraseKeyProvider(
  options: PassphraseProviderOptions,
  dependencies: PassphraseDependencies & { readonly random: Random },
): Promise<OpenedProvider> {
  const { files, random } = dependencies;
  const paths = [join(options.keysPath, 'passphrase.json'), join(options.keysPath, 'passphrase.copy.json')];
  const copies = await Promise.all(paths.map(async (path) => readIfThere(files, path)));
  const parsed = copies.map(parseCopy);
  const known = parsed.find((copy) => copy !== null) ?? null;
  if (known === null && copies.some((copy) => copy !== null)) {
    const subject = paths.join(' and ');
    throw new CryptoError(`salt and cost of the passphrase are damaged in ${subject}`, { code: 'DAMAGED', subject });
  }
  if (known === null && !options.mayCreate) {
    const subject = paths[0] ?? '';
    const message = `${subject} is missing, and the data keys cannot be unwrapped without its salt: bring it back from a copy`;
    throw new CryptoError(message, { code: 'MISSING', subject });
  }

  const warnings: string[] = [];
  const passphrase = await readPassphrase(options.source, dependencies);
  if (passphrase.length < PASSPHRASE_BYTES_ADVISED) {
    warnings.push(
      `the passphrase has fewer than ${String(PASSPHRASE_BYTES_ADVISED)} characters: it can be guessed from a stolen disk`,
    );
  }
  const salt = known === null ? random.bytes(SCRYPT_SALT_BYTES) : Buffer.from(known.salt, 'base64');
  const cost = known ?? { N: options.scryptN ?? SCRYPT_N, r: SCRYPT_R, p: SCRYPT_P };
  const derived = await stretch(passphrase, salt, cost, 2 * MASTER_KEY_BYTES);
  passphrase.fill(0);
  const masterKey = derived.slice(0, MASTER_KEY_BYTES);
  const checkKey = derived.slice(MASTER_KEY_BYTES);
  derived.fill(0);
  if (known !== null && !keyCheckMatches(checkKey, known.check)) {
    masterKey.fill(0);
    const message = `the passphrase from ${describeSource(options.source)} is wrong`;
    throw new CryptoError(message, { code: 'WRONG_KEY', provider: 'passphrase', keyNumber: 0 });
  }

  const { N, r, p } = cost;
  const file: PassphraseFile = known ?? {
    format: 1,
    kdf: 'scrypt',
    N,
    r,
    p,
    salt: Buffer.from(salt).toString('base64'),
    check: keyCheckOf(checkKey),
  };
  checkKey.fill(0);
  // Heals the copy that was damaged or lost, and writes both the first time.
  for (const [index, path] of paths.entries()) {
    if (parsed[index] !== null) continue;
    await writeSecret(files, path, encodeChecked(file));
    if (known !== null) warnings.push(`${path} was damaged or missing and has been written anew from its other copy`);
  }
  const description = `passphrase from ${describeSource(options.source)}`;
  return { provider: new LocalKeyProvider('passphrase', description, masterKey), warnings };
}

/** scrypt on the thread pool; `bytes` of output. */
export function stretch(
  passphrase: Uint8Array,
  salt: Uint8Array,
  cost: ScryptCost,
  bytes: number,
): Promise<Uint8Array> {
  const { N, r, p } = cost;
  return new Promise((resolve, reject) => {
    // OpenSSL counts a little more than 128 * N * r * p.
    scrypt(passphrase, salt, bytes, { N, r, p, maxmem: 128 * r * (N + p) * 2 }, (failure, derived) => {
      if (failure !== null) {
        reject(failure);
        return;
      }
      // Not the Buffer itself: its slices are views, and wiping one would wipe what was taken out of it.
      resolve(Uint8Array.from(derived));
      derived.fill(0);
    });
  });
}

function parseCopy(bytes: Uint8Array | null): PassphraseFile | null {
  if (bytes === null) return null;
  const result = passphraseFile.safeParse(decodeChecked(bytes));
  return result.success ? result.data : null;
}
