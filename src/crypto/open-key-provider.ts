import { CommandKeyProvider, type CommandKeyProviderDependencies } from './command-key-provider.js';
import { openFileKeyProvider, type FileKeyProviderDependencies, type OpenedProvider } from './file-key-provider.js';
import type { KeyProviderOptions } from './key-provider.js';
import type { PassphraseDependencies } from './passphrase.js';
import { openPassphraseKeyProvider } from './passphrase-key-provider.js';

export type KeyProviderDependencies = FileKeyProviderDependencies &
  PassphraseDependencies &
  CommandKeyProviderDependencies;

/** `mayCreate`: nothing is wrapped yet, so a master key, or a salt, may be made. Throws CryptoError. */
export async function openKeyProvider(
  options: KeyProviderOptions,
  place: { readonly keysPath: string; readonly mayCreate: boolean },
  dependencies: KeyProviderDependencies,
): Promise<OpenedProvider> {
  switch (options.provider) {
    case 'file':
      return openFileKeyProvider(
        { ...place, ...(options.path === undefined ? {} : { path: options.path }) },
        dependencies,
      );
    case 'passphrase':
      return openPassphraseKeyProvider({ ...place, source: options.source }, dependencies);
    case 'command':
      return { provider: new CommandKeyProvider(options, dependencies), warnings: [] };
  }
}
