import type { KeyProviderOptions } from './key-provider.js';

/**
 * The settings that a daemon needs to use a provider: keys of the section [security] of its file. Of a key command the
 * program alone: its arguments may hold secrets.
 */
export type ProviderSettings = Readonly<Record<string, string>>;

export function settingsOf(options: KeyProviderOptions): ProviderSettings {
  switch (options.provider) {
    case 'file':
      return { key_provider: 'file', ...(options.path === undefined ? {} : { key_file: options.path }) };
    case 'passphrase':
      return { key_provider: 'passphrase', ...passphraseSetting(options.source) };
    case 'command':
      return { key_provider: 'command', key_command: options.argv[0] ?? '' };
  }
}

/** The same as flags of `gfs -d`. */
export function flagsOf(settings: ProviderSettings): string {
  return Object.entries(settings)
    .map(([key, value]) => `--${key.replaceAll('_', '-')} ${value}`)
    .join(' ');
}

export function sameSettings(one: ProviderSettings, other: ProviderSettings): boolean {
  return flagsOf(one) === flagsOf(other);
}

function passphraseSetting(
  source: Extract<KeyProviderOptions, { provider: 'passphrase' }>['source'],
): ProviderSettings {
  switch (source.kind) {
    case 'file':
      return { passphrase_file: source.path };
    case 'environment':
      return { passphrase_environment: source.variable };
    case 'credential':
      return { passphrase_credential: source.credential };
  }
}
