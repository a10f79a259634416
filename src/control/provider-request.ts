import { isAbsolute } from 'node:path';
import type { KeyProviderOptions, PassphraseSource } from '../crypto/key-provider.js';
import { invalid } from './control-error.js';
import { KEY_COMMAND_TIMEOUT_MS_MAX, KEY_COMMAND_TIMEOUT_MS_MIN } from './limits.js';

/** The master key that is wanted, as a client names it; '' and empty where it says nothing. Paths are the daemon's, absolute. */
export interface MasterKeyRequest {
  /** 'file', 'passphrase' or 'command'; '': the provider that is in use. */
  readonly provider: string;
  readonly keyFile: string;
  readonly passphraseFile: string;
  readonly passphraseEnvironment: string;
  readonly passphraseCredential: string;
  /** Program and leading arguments. */
  readonly keyCommand: readonly string[];
  /** 0: the default. */
  readonly keyCommandTimeoutMs: number;
}

/** The provider that a request means. With nothing said it is the one in use, asked as before. Throws INVALID. */
export function providerOf(request: MasterKeyRequest, inUse: KeyProviderOptions): KeyProviderOptions {
  const given = Object.entries(belongings(request)).filter(([, value]) => value !== '');
  if (request.provider === '' && given.length === 0) return inUse;
  const provider = request.provider === '' ? inUse.provider : request.provider;
  const stray = given.find(([name]) => !belongsTo(name, provider));
  if (stray !== undefined) {
    throw invalid('provider', `--${stray[0]} does not go with the key provider "${provider}"`);
  }
  switch (provider) {
    case 'file':
      return request.keyFile === '' ? { provider } : { provider, path: absolute('key-file', request.keyFile) };
    case 'passphrase':
      return { provider, source: passphraseSource(request) };
    case 'command': {
      if (request.keyCommand.length === 0) {
        throw invalid(
          'key-command',
          'the key provider "command" needs --key-command: the program that wraps and unwraps',
        );
      }
      return { provider, argv: [...request.keyCommand], ...timeoutOf(request) };
    }
    default:
      throw invalid('provider', `"${provider}" is no key provider: file, passphrase or command`);
  }
}

function belongings(request: MasterKeyRequest): Record<string, string> {
  return {
    'key-file': request.keyFile,
    'passphrase-file': request.passphraseFile,
    'passphrase-environment': request.passphraseEnvironment,
    'passphrase-credential': request.passphraseCredential,
    'key-command': request.keyCommand[0] ?? '',
  };
}

function belongsTo(option: string, provider: string): boolean {
  return option.startsWith(provider) || option === `key-${provider}`;
}

function timeoutOf({ keyCommandTimeoutMs: timeoutMs }: MasterKeyRequest): { readonly timeoutMs?: number } {
  if (timeoutMs === 0) return {};
  if (timeoutMs >= KEY_COMMAND_TIMEOUT_MS_MIN && timeoutMs <= KEY_COMMAND_TIMEOUT_MS_MAX) return { timeoutMs };
  const [least, most] = [`${KEY_COMMAND_TIMEOUT_MS_MIN} ms`, `${KEY_COMMAND_TIMEOUT_MS_MAX / 1000} s`];
  throw invalid('key-command-timeout', `--key-command-timeout is between ${least} and ${most}`);
}

function passphraseSource(request: MasterKeyRequest): PassphraseSource {
  const { passphraseFile, passphraseEnvironment, passphraseCredential } = request;
  const sources: PassphraseSource[] = [];
  if (passphraseFile !== '') sources.push({ kind: 'file', path: absolute('passphrase-file', passphraseFile) });
  if (passphraseEnvironment !== '') sources.push({ kind: 'environment', variable: passphraseEnvironment });
  if (passphraseCredential !== '') sources.push({ kind: 'credential', credential: passphraseCredential });
  const [source, ...others] = sources;
  if (source === undefined || others.length > 0) {
    throw invalid(
      'provider',
      'the key provider "passphrase" needs one of --passphrase-file, --passphrase-environment and --passphrase-credential',
    );
  }
  return source;
}

function absolute(option: string, path: string): string {
  if (isAbsolute(path)) return path;
  throw invalid(option, `--${option} "${path}" is not an absolute path`);
}
