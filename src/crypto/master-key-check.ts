/**
 * `keys/check.json`: a random key, wrapped like a data key under number 0, by which a wrong master key is noticed at
 * start, even when there is no volume yet. Where it is lost, any data key's record serves as well.
 */
import { join } from 'node:path';
import type { Clock, Random } from '../base/clock.js';
import type { Files } from '../io/files.js';
import { CryptoError } from './crypto-error.js';
import type { KeyProvider, KeyProviderOptions } from './key-provider.js';
import { DATA_KEY_BYTES } from './limits.js';
import { unwrapRecord, wrapRecord } from './record-wrapping.js';
import { readIfThere, writeSecret } from './secret-file.js';
import { decodeWrappedKey, type WrappedKeyRecord } from './wrapped-key-record.js';

export const CHECK_NAME = 'check.json';

export interface MasterKeyProof {
  readonly provider: KeyProvider;
  readonly warnings: readonly string[];
}

/**
 * Opens the provider (`mayCreate` true only where nothing was ever wrapped) and proves it. Throws CryptoError: WRONG_KEY
 * when it is another one, and what opening it throws.
 */
export async function proveMasterKey(
  options: { readonly keysPath: string; readonly provider: KeyProviderOptions },
  dependencies: { readonly files: Files; readonly random: Random; readonly clock: Clock },
  stored: () => Promise<{ count: number; records: WrappedKeyRecord[] }>,
  openProvider: (mayCreate: boolean) => Promise<KeyProvider>,
): Promise<MasterKeyProof> {
  const { files } = dependencies;
  const path = join(options.keysPath, CHECK_NAME);
  const bytes = await readIfThere(files, path);
  const check = bytes === null ? null : decodeWrappedKey(bytes, 0);
  // With a good check nothing else has to be read: there may be thousands.
  const { count, records } = check === null ? await stored() : { count: 1, records: [] };
  const nothingWrapped = bytes === null && count === 0;

  const witness = check ?? records[0];
  if (witness !== undefined && witness.provider !== options.provider.provider) {
    throw otherProvider(options.provider.provider, witness.provider);
  }
  const provider = await openProvider(nothingWrapped);
  if (witness !== undefined) (await unwrapRecord(provider, witness)).fill(0);
  if (check !== null) return { provider, warnings: [] };

  await writeCheck(options.keysPath, provider, dependencies);
  if (nothingWrapped) return { provider, warnings: [] };
  const proven =
    witness === undefined ? 'nothing was left to compare the master key with' : 'the master key fits the data keys';
  return {
    provider,
    warnings: [`${path} was ${bytes === null ? 'missing' : 'damaged'} and has been made anew: ${proven}`],
  };
}

/** Writes the check of a provider's master key into a folder. Throws CryptoError. */
export async function writeCheck(
  folder: string,
  provider: KeyProvider,
  { files, random, clock }: { readonly files: Files; readonly random: Random; readonly clock: Clock },
): Promise<void> {
  const secret = random.bytes(DATA_KEY_BYTES);
  try {
    await writeSecret(files, join(folder, CHECK_NAME), await wrapRecord(provider, 0, secret, clock.wallMs()));
  } finally {
    secret.fill(0);
  }
}

function otherProvider(wanted: string, found: string): CryptoError {
  const message = `the data keys here are wrapped by provider "${found}", and provider "${wanted}" is configured`;
  return new CryptoError(message, { code: 'WRONG_KEY', provider: wanted, keyNumber: 0 });
}
