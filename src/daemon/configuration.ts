import { basename, join } from 'node:path';
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { isLoopback } from '../base/address.js';
import { parseDuration } from '../base/duration.js';
import { errnoOf, messageOf } from '../base/errors.js';
import { formatSize, parseSize, parseThroughput } from '../base/size.js';
import type { KeyProviderOptions, PassphraseSource } from '../crypto/key-provider.js';
import { CAPACITY_SEGMENTS_MIN } from '../store/limits.js';
import { configError, type FileValue, readConfigFile } from './config-file.js';
import type { Endpoint, NodeSettings, TlsFiles } from './node-settings.js';
import { absolute, type LogLevel, parseEndpoint, type Setting, SETTINGS, splitList } from './setting-table.js';

type FlagOptions = NonNullable<ParseArgsConfig['options']>;

export type Source = 'flag' | 'environment' | 'file' | 'default';

/** One line of `gfs daemon config`. */
export interface ConfigEntry {
  /** `section.key`. */
  readonly key: string;
  readonly value: string;
  readonly source: Source;
  /** `--ipc-address`, `GFS_IPC_ADDRESS`, `galleon.toml:7`; '' for a default. */
  readonly origin: string;
  /** '', or what it does not do yet. */
  readonly note: string;
}

export interface Configuration {
  readonly settings: NodeSettings;
  readonly logLevel: LogLevel;
  readonly entries: readonly ConfigEntry[];
  /** Given options that do nothing yet, a sentence each, to be logged at start. */
  readonly withoutEffect: readonly string[];
}

export type ParsedCommandLine =
  | { readonly kind: 'help' }
  | { readonly kind: 'version' }
  | { readonly kind: 'run'; readonly configuration: Configuration };

/** The world that a configuration is read from. */
export interface ConfigurationSources {
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly workingFolder: string;
  readonly readFile: (path: string) => Promise<string>;
}

/**
 * Flags before environment before file before default. Throws DaemonError CONFIG whose message names the place and the
 * reason, for the first thing that is wrong.
 */
export async function readConfiguration(sources: ConfigurationSources): Promise<ParsedCommandLine> {
  const flags = readFlags(sources.argv);
  if (flags.has('help')) return { kind: 'help' };
  if (flags.has('version')) return { kind: 'version' };
  const file = await readFile(flags.get('config') ?? sources.environment['GFS_CONFIG'], sources);
  const entries = SETTINGS.map((setting) => entryOf(setting, flags, sources.environment, file));
  const logLevel = valueOf(entries, 'daemon.log_level') as LogLevel;
  const withoutEffect = entries
    .filter((entry) => entry.note !== '' && entry.source !== 'default')
    .map((entry) => `${entry.origin} (${entry.key} = ${entry.value}) ${entry.note}`);
  return {
    kind: 'run',
    configuration: { settings: settingsOf(entries, sources.workingFolder), logLevel, entries, withoutEffect },
  };
}

/** What `gfs daemon config` shows: what is in force where nothing was given, and no argument that could be a secret. */
export function shownEntries({ entries, settings }: Configuration): ConfigEntry[] {
  return entries.map((entry) => {
    if (entry.value === '' && entry.key === 'nbd.socket') return { ...entry, value: settings.nbdSocket };
    if (entry.key !== 'security.key_command' || entry.value === '') return entry;
    const [program = '', ...rest] = splitList(entry.value);
    return { ...entry, value: rest.length === 0 ? program : `${program} (and ${rest.length} arguments)` };
  });
}

/** The text of `gfs -d --help`. */
export function helpText(): string {
  const rows = SETTINGS.map((setting) => {
    const flag = `--${setting.flag}${setting.value === '' ? '' : ` ${setting.value}`}`;
    const fallback = setting.fallback === '' || setting.kind === 'boolean' ? '' : ` (default ${setting.fallback})`;
    const note = setting.withoutEffect === '' ? '' : ' [no effect yet]';
    return [flag, `${setting.help}${fallback}${note}`, setting.variable, setting.key];
  });
  const lines = [
    'Usage: gfs -d --storage-path DIR [options]',
    '',
    'Runs one node in the foreground, until SIGTERM, Ctrl-C or `gfs daemon stop`.',
    'A flag comes before the environment, that before the file, and this before the default.',
    '',
    '  --config FILE',
    '      TOML file with the keys below, each in its [section]; GFS_CONFIG',
    ...rows.flatMap(([flag, help, variable, key]) => [`  ${flag}`, `      ${help}; ${variable}, ${key}`]),
    '',
    'SIGHUP reads the log level and the TLS files again. Exit status: 0 stopped, 1 failed, 2 wrong configuration.',
    '',
  ];
  return lines.join('\n');
}

function readFlags(argv: readonly string[]): Map<string, string> {
  const options: FlagOptions = {
    daemon: { type: 'boolean', short: 'd' },
    help: { type: 'boolean', short: 'h' },
    version: { type: 'boolean' },
    config: { type: 'string' },
  };
  for (const { flag, kind } of SETTINGS) options[flag] = { type: kind === 'boolean' ? 'boolean' : 'string' };
  const flags = new Map<string, string>();
  const { tokens } = parseTokens(argv, options);
  for (const token of tokens) {
    if (token.kind === 'positional')
      throw configError(`"${token.value}" is not an option of the daemon; see \`gfs -d --help\``);
    if (token.kind !== 'option') continue;
    if (flags.has(token.name) && token.name !== 'daemon') throw configError(`${token.rawName} is given twice`);
    flags.set(token.name, token.value ?? 'true');
  }
  return flags;
}

function parseTokens(argv: readonly string[], options: FlagOptions): ReturnType<typeof parseWithTokens> {
  try {
    return parseWithTokens(argv, options);
  } catch (thrown) {
    // Its first sentence says what is wrong; the others explain positional arguments, which there are none of.
    const reason = messageOf(thrown).split(/\. |\n/)[0] ?? '';
    throw configError(`${reason}; see \`gfs -d --help\``);
  }
}

function parseWithTokens(argv: readonly string[], options: FlagOptions) {
  return parseArgs({ args: [...argv], options, strict: true, allowPositionals: true, tokens: true });
}

async function readFile(
  path: string | undefined,
  { workingFolder, readFile: read }: ConfigurationSources,
): Promise<Map<string, FileValue>> {
  if (path === undefined || path === '') return new Map();
  let text: string;
  try {
    text = await read(absolute(path, workingFolder));
  } catch (thrown) {
    const reason = errnoOf(thrown) === 'ENOENT' ? 'there is no such file' : messageOf(thrown);
    throw configError(`the configuration ${path} cannot be read: ${reason}`);
  }
  return readConfigFile(text, basename(path));
}

function entryOf(
  setting: Setting,
  flags: ReadonlyMap<string, string>,
  environment: ConfigurationSources['environment'],
  file: ReadonlyMap<string, FileValue>,
): ConfigEntry {
  const [value, source, origin] = pick(setting, flags, environment, file);
  // Nothing is "not set" only where that has a meaning: an address or a size that was emptied has none.
  if (value !== '' || source === 'flag' || setting.fallback !== '') {
    try {
      setting.check(value);
    } catch (thrown) {
      throw configError(`${origin}: ${setting.key}: ${messageOf(thrown)}`);
    }
  }
  const note = setting.withoutEffect === '' ? '' : `has no effect yet: ${setting.withoutEffect}`;
  return { key: setting.key, value, source, origin, note };
}

function pick(
  setting: Setting,
  flags: ReadonlyMap<string, string>,
  environment: ConfigurationSources['environment'],
  file: ReadonlyMap<string, FileValue>,
): [value: string, source: Source, origin: string] {
  const flag = flags.get(setting.flag);
  if (flag !== undefined) return [flag, 'flag', `--${setting.flag}`];
  // An empty variable is how people unset one for a single run.
  const variable = environment[setting.variable];
  if (variable !== undefined && variable !== '') return [variable, 'environment', setting.variable];
  const inFile = file.get(setting.key);
  if (inFile !== undefined) return [inFile.text, 'file', inFile.origin];
  return [setting.fallback, 'default', ''];
}

function settingsOf(entries: readonly ConfigEntry[], workingFolder: string): NodeSettings {
  const text = (key: string): string => valueOf(entries, key);
  const path = (key: string): string => (text(key) === '' ? '' : absolute(text(key), workingFolder));
  const endpoint = (key: string): Endpoint | null => (text(key) === 'off' ? null : parseEndpoint(text(key)));
  if (text('daemon.storage_path') === '') {
    throw configError(
      'no storage path is given: gfs -d --storage-path DIR (or GFS_STORAGE_PATH, or storage_path under [daemon] in the file)',
    );
  }
  const storagePath = path('daemon.storage_path');
  const nbdTls = tlsFiles(entries, workingFolder, 'nbd.', false);
  const settings: NodeSettings = {
    storagePath,
    blockBytes: parseSize(text('daemon.block_size')),
    ipc: parseEndpoint(text('daemon.ipc_address')),
    ipcTls: tlsFiles(entries, workingFolder, 'security.ipc_', true),
    nbd: endpoint('nbd.address'),
    nbdTls,
    insecureNbd: text('nbd.insecure') === 'true',
    nbdBusyPoll: text('nbd.busy_poll') === 'on',
    nbdSocket: path('nbd.socket') || join(storagePath, 'run', 'nbd.sock'),
    metrics: endpoint('daemon.metrics_address'),
    keyProvider: keyProviderOf(entries, workingFolder),
    segmentBytes: parseSize(text('persistence.segment_size')),
    journalReplayBytesMax: parseSize(text('persistence.journal_size')),
    checkpointIntervalMs: parseDuration(text('persistence.checkpoint_interval')),
    mapCacheBytes: parseSize(text('persistence.map_cache')),
    journalCacheBytes: parseSize(text('persistence.journal_cache')),
    capacityBytes: parseSize(text('storage.capacity')),
    scrubs: { intervalMs: parseDuration(text('scrub.interval')), bytesPerSecond: parseThroughput(text('scrub.rate')) },
  };
  refuseOpenDoors(entries, settings);
  refuseSmallCapacity(entries, settings);
  return settings;
}

function refuseSmallCapacity(entries: readonly ConfigEntry[], { capacityBytes, segmentBytes }: NodeSettings): void {
  const least = CAPACITY_SEGMENTS_MIN * segmentBytes;
  if (capacityBytes === 0 || capacityBytes >= least) return;
  throw configError(
    `${placeOf(entries, 'storage.capacity')}: ${formatSize(capacityBytes)} is less than ${CAPACITY_SEGMENTS_MIN} segments of ${formatSize(segmentBytes)}; ` +
      `give at least ${formatSize(least)}, or a smaller --segment-size`,
  );
}

function refuseOpenDoors(
  entries: readonly ConfigEntry[],
  { ipc, ipcTls, nbd, nbdTls, insecureNbd }: NodeSettings,
): void {
  if (!isLoopback(ipc.host) && ipcTls === null) {
    throw configError(
      `${placeOf(entries, 'daemon.ipc_address')}: the control API does not listen on ${ipc.host} without TLS: others could read its token; ` +
        'use a loopback address, or give --ipc-tls-cert, --ipc-tls-key and --ipc-tls-ca',
    );
  }
  if (nbd !== null && !isLoopback(nbd.host) && nbdTls === null && !insecureNbd) {
    throw configError(
      `${placeOf(entries, 'nbd.address')}: NBD on ${nbd.host}:${nbd.port} would be open to the network: whoever reaches it could use every volume; ` +
        'give --nbd-tls-cert and --nbd-tls-key (and --nbd-tls-ca), or --insecure-nbd on a network that is trusted',
    );
  }
}

function tlsFiles(
  entries: readonly ConfigEntry[],
  workingFolder: string,
  prefix: string,
  needsAuthority: boolean,
): TlsFiles | null {
  const keys = ['tls_certificate', 'tls_key', 'tls_client_ca'].map((name) => prefix + name);
  const [certificate = '', privateKey = '', authority = ''] = keys.map((key) => valueOf(entries, key));
  if (certificate === '' && privateKey === '' && authority === '') return null;
  const missing = keys.filter((key, index) => valueOf(entries, key) === '' && (index < 2 || needsAuthority));
  if (missing.length > 0) {
    const given = entries.find((entry) => keys.includes(entry.key) && entry.value !== '');
    throw configError(`${given?.origin ?? prefix}: TLS also needs ${missing.join(' and ')}`);
  }
  return {
    certificate: absolute(certificate, workingFolder),
    privateKey: absolute(privateKey, workingFolder),
    authority: authority === '' ? '' : absolute(authority, workingFolder),
  };
}

/** Options of a provider that is not chosen are refused: whoever wrote them believes that they protect something. */
function keyProviderOf(entries: readonly ConfigEntry[], workingFolder: string): KeyProviderOptions {
  const text = (name: string): string => valueOf(entries, `security.${name}`);
  const provider = text('key_provider');
  const belonging: Record<string, readonly string[]> = {
    file: ['key_file'],
    passphrase: ['passphrase_file', 'passphrase_environment', 'passphrase_credential'],
    command: ['key_command'],
  };
  for (const [owner, names] of Object.entries(belonging)) {
    const stray = owner === provider ? undefined : names.find((name) => text(name) !== '');
    if (stray !== undefined) {
      throw configError(
        `${placeOf(entries, `security.${stray}`)}: security.${stray} goes with the key provider "${owner}", and "${provider}" is chosen`,
      );
    }
  }
  if (provider === 'file') {
    return text('key_file') === '' ? { provider } : { provider, path: absolute(text('key_file'), workingFolder) };
  }
  if (provider === 'passphrase') return { provider, source: passphraseSource(entries, workingFolder) };
  const argv = splitList(text('key_command'));
  if (argv.length === 0)
    throw configError('the key provider "command" needs key_command: the program that wraps and unwraps keys');
  return { provider: 'command', argv, timeoutMs: parseDuration(text('key_command_timeout')) };
}

function passphraseSource(entries: readonly ConfigEntry[], workingFolder: string): PassphraseSource {
  const text = (name: string): string => valueOf(entries, `security.passphrase_${name}`);
  const sources: PassphraseSource[] = [];
  if (text('file') !== '') sources.push({ kind: 'file', path: absolute(text('file'), workingFolder) });
  if (text('environment') !== '') sources.push({ kind: 'environment', variable: text('environment') });
  if (text('credential') !== '') sources.push({ kind: 'credential', credential: text('credential') });
  const [source, ...others] = sources;
  if (source === undefined || others.length > 0) {
    throw configError(
      'the key provider "passphrase" needs one of passphrase_file, passphrase_environment and passphrase_credential',
    );
  }
  return source;
}

function valueOf(entries: readonly ConfigEntry[], key: string): string {
  return entries.find((entry) => entry.key === key)?.value ?? '';
}

function placeOf(entries: readonly ConfigEntry[], key: string): string {
  const origin = entries.find((entry) => entry.key === key)?.origin ?? '';
  return origin === '' ? key : origin;
}
