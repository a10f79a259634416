import { join } from 'node:path';
import type { Files } from '../io/files.js';
import { CryptoError } from './crypto-error.js';
import type { PassphraseSource } from './key-provider.js';
import { PASSPHRASE_BYTES_MAX } from './limits.js';
import { readIfThere, refuseExposed } from './secret-file.js';

const NEWLINE = 0x0a;
const RETURN = 0x0d;

export interface PassphraseDependencies {
  readonly files: Files;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly modeOf: (path: string) => Promise<number>;
}

/** The passphrase's bytes, which the caller wipes. Throws CryptoError MISSING, EXPOSED, OPTIONS, IO. */
export async function readPassphrase(
  source: PassphraseSource,
  dependencies: PassphraseDependencies,
): Promise<Uint8Array> {
  const bytes = await rawPassphrase(source, dependencies);
  const end = endOfLine(bytes);
  // A copy, also when the bytes are a Buffer, whose slices are views.
  const passphrase = Uint8Array.from(bytes.subarray(0, end));
  bytes.fill(0);
  if (passphrase.length === 0) {
    throw new CryptoError(`the passphrase from ${describeSource(source)} is empty`, {
      code: 'OPTIONS',
      option: source.kind,
    });
  }
  if (passphrase.length > PASSPHRASE_BYTES_MAX) {
    passphrase.fill(0);
    const message = `the passphrase from ${describeSource(source)} is longer than ${String(PASSPHRASE_BYTES_MAX)} bytes`;
    throw new CryptoError(message, { code: 'OPTIONS', option: source.kind });
  }
  return passphrase;
}

/** For messages; never the passphrase itself. */
export function describeSource(source: PassphraseSource): string {
  switch (source.kind) {
    case 'file':
      return `the file ${source.path}`;
    case 'environment':
      return `the environment variable ${source.variable}`;
    case 'credential':
      return `the systemd credential ${source.credential}`;
  }
}

async function rawPassphrase(source: PassphraseSource, dependencies: PassphraseDependencies): Promise<Uint8Array> {
  const { files, environment, modeOf } = dependencies;
  if (source.kind === 'environment') {
    const value = environment[source.variable];
    if (value === undefined) throw missing(source, 'it is not set');
    return new TextEncoder().encode(value);
  }
  let path: string;
  if (source.kind === 'file') {
    path = source.path;
  } else {
    const folder = environment.CREDENTIALS_DIRECTORY;
    if (folder === undefined)
      throw missing(source, 'CREDENTIALS_DIRECTORY is not set: the daemon does not run under systemd');
    if (source.credential === '' || /[/\0]|^\.\.?$/.test(source.credential)) {
      throw new CryptoError(`"${source.credential}" is not the name of a credential`, {
        code: 'OPTIONS',
        option: 'credential',
      });
    }
    path = join(folder, source.credential);
  }
  const bytes = await readIfThere(files, path);
  if (bytes === null) throw missing(source, `there is no ${path}`);
  // systemd guards its credentials' folder itself, and an access list there shows up as group permissions.
  if (source.kind === 'file') await refuseExposed(modeOf, path);
  return bytes;
}

/** Editors and `echo` end a line; that is not part of the passphrase. */
function endOfLine(bytes: Uint8Array): number {
  if (bytes.at(-1) !== NEWLINE) return bytes.length;
  return bytes.at(-2) === RETURN ? bytes.length - 2 : bytes.length - 1;
}

function missing(source: PassphraseSource, why: string): CryptoError {
  const subject = describeSource(source);
  return new CryptoError(`no passphrase from ${subject}: ${why}`, { code: 'MISSING', subject });
}
