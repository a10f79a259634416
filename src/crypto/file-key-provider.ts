import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { Random } from '../base/clock.js';
import type { Files } from '../io/files.js';
import { decodeChecked, encodeChecked } from './checked-json.js';
import { CryptoError } from './crypto-error.js';
import type { KeyProvider } from './key-provider.js';
import { MASTER_KEY_BYTES } from './limits.js';
import { LocalKeyProvider } from './local-key-provider.js';
import { readIfThere, refuseExposed, writeSecret } from './secret-file.js';

export interface FileKeyProviderDependencies {
  readonly files: Files;
  readonly random: Random;
  readonly modeOf: (path: string) => Promise<number>;
}

export interface OpenedProvider {
  readonly provider: KeyProvider;
  readonly warnings: readonly string[];
}

const masterKeyFile = z.strictObject({ format: z.literal(1), kind: z.literal('galleon master key'), key: z.base64() });

/**
 * The master key as a file, `path` or `master.key` in `keysPath`. It is made only when `mayCreate`: a new key in place
 * of a lost one would hide the loss. Throws CryptoError MISSING, EXPOSED, DAMAGED, IO.
 */
export async function openFileKeyProvider(
  options: { readonly keysPath: string; readonly path?: string; readonly mayCreate: boolean },
  dependencies: FileKeyProviderDependencies,
): Promise<OpenedProvider> {
  const { files, random, modeOf } = dependencies;
  const path = options.path ?? join(options.keysPath, 'master.key');
  let bytes = await readIfThere(files, path);
  const warnings: string[] = [];
  if (bytes === null) {
    if (!options.mayCreate) {
      const message = `the master key file ${path} is missing, and data keys were wrapped with it: bring it back from a copy`;
      throw new CryptoError(message, { code: 'MISSING', subject: path });
    }
    bytes = makeMasterKeyFile(random);
    await writeSecret(files, path, bytes);
    warnings.push(`a new master key was made in ${path}: keep a copy elsewhere, without it encrypted volumes are lost`);
  } else {
    await refuseExposed(modeOf, path);
  }
  const parsed = masterKeyFile.safeParse(decodeChecked(bytes));
  const masterKey = parsed.success ? Uint8Array.from(Buffer.from(parsed.data.key, 'base64')) : null;
  bytes.fill(0);
  if (masterKey?.length !== MASTER_KEY_BYTES) {
    throw new CryptoError(`the master key file ${path} is damaged: bring it back from a copy`, {
      code: 'DAMAGED',
      subject: path,
    });
  }
  if (dirname(path) === options.keysPath) {
    warnings.push(`the master key lies beside the data it protects (${path}): whoever takes the disk has both`);
  }
  return { provider: new LocalKeyProvider('file', `master key in ${path}`, masterKey), warnings };
}

function makeMasterKeyFile(random: Random): Uint8Array {
  const key = random.bytes(MASTER_KEY_BYTES);
  const encoded = encodeChecked({ format: 1, kind: 'galleon master key', key: Buffer.from(key).toString('base64') });
  key.fill(0);
  return encoded;
}
