/**
 * Every option of the daemon, once: its key in the file (and in `gfs daemon config`), its flag, its variable, how it is
 * read and what it is without being given. Help, precedence and "unknown key" all come from this table.
 */
import { isAbsolute, resolve } from 'node:path';
import { parseDuration } from '../base/duration.js';
import { parseSize, parseThroughput } from '../base/size.js';
import { SCRUB_RATE_MAX, SCRUB_RATE_MIN } from '../control/limits.js';
import { checkBlockBytes } from '../model/volume-size.js';
import {
  CAPACITY_SEGMENTS_MIN,
  CHECKPOINT_INTERVAL_MS_DEFAULT,
  JOURNAL_CACHE_BYTES_DEFAULT,
  MAP_CACHE_BYTES_DEFAULT,
  SEGMENT_BYTES_MAX,
  SEGMENT_BYTES_MIN,
} from '../store/limits.js';
import type { Endpoint } from './node-settings.js';

/** What a file can hold and a text can say. */
export type SettingKind = 'text' | 'boolean' | 'list';

export interface Setting {
  /** `section.key`. */
  readonly key: string;
  /** Without the two hyphens. */
  readonly flag: string;
  readonly variable: string;
  readonly kind: SettingKind;
  /** As it would be written; '' means "not set". */
  readonly fallback: string;
  /** Throws an Error whose message says what is wrong and what is allowed. '' is never checked: it means "not set". */
  readonly check: (text: string) => void;
  /** For --help. */
  readonly help: string;
  /** Metavariable of --help; '' for a boolean. */
  readonly value: string;
  /** Not '': it does nothing yet, and why that is. Said at start when it is given, and in `gfs daemon config`. */
  readonly withoutEffect: string;
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const KEY_PROVIDERS = ['file', 'passphrase', 'command'];
const PERSISTENCE_LEVELS = ['acknowledged', 'durable', 'replicated', 'distributed'];
const MIB = 1024 * 1024;

const LATER_CLUSTER = 'a node works alone until there are clusters';
const LATER_MOUNT = 'volumes are not mounted by the daemon yet';

type Details = Partial<Pick<Setting, 'kind' | 'check' | 'withoutEffect' | 'variable' | 'fallback'>>;

function setting(key: string, flag: string, value: string, help: string, details: Details = {}): Setting {
  const variable = `GFS_${flag.toUpperCase().replaceAll('-', '_')}`;
  return {
    key,
    flag,
    value,
    help,
    variable,
    kind: 'text',
    fallback: '',
    check: () => undefined,
    withoutEffect: '',
    ...details,
  };
}

export const SETTINGS: readonly Setting[] = [
  setting('daemon.storage_path', 'storage-path', 'DIR', 'where everything is kept; made when it is not there', {
    check: notEmpty,
  }),
  setting('daemon.block_size', 'block-size', 'SIZE', 'block size of new volumes: 4K to 64K, a power of two', {
    fallback: '4K',
    check: (text) => void checkBlockBytes(parseSize(text)),
  }),
  setting('daemon.ipc_address', 'ipc-address', 'HOST:PORT', 'the control API', {
    fallback: '127.0.0.1:8090',
    check: endpoint,
  }),
  setting('daemon.metrics_address', 'metrics-address', 'HOST:PORT', '/metrics and /healthz; "off": not served', {
    fallback: '127.0.0.1:9810',
    check: endpointOrOff,
  }),
  setting('daemon.mount_point', 'mount-point', 'DIR', 'where volumes are mounted', { withoutEffect: LATER_MOUNT }),
  setting('daemon.log_level', 'log-level', 'LEVEL', `${LOG_LEVELS.join(', ')}; read again on SIGHUP`, {
    variable: 'GFS_LOG',
    fallback: 'info',
    check: oneOf(LOG_LEVELS),
  }),
  setting('cluster.bind_address', 'bind-address', 'HOST:PORT', 'for peers; reserved', {
    fallback: '127.0.0.1:8080',
    check: endpoint,
    withoutEffect: LATER_CLUSTER,
  }),
  setting('cluster.peer_addresses', 'peer-addresses', 'HOST:PORT,...', 'the other nodes', {
    kind: 'list',
    check: (text) => splitList(text).forEach(endpoint),
    withoutEffect: LATER_CLUSTER,
  }),
  setting('replication.strategy', 'replication-strategy', 'STRATEGY', 'sync or async', {
    fallback: 'sync',
    check: oneOf(['sync', 'async']),
    withoutEffect: LATER_CLUSTER,
  }),
  setting(
    'persistence.level',
    'persistence-level',
    'LEVEL',
    `what a write waits for: ${PERSISTENCE_LEVELS.join(', ')}`,
    {
      fallback: 'acknowledged',
      check: oneOf(PERSISTENCE_LEVELS),
      withoutEffect: 'every write is answered when the journal has taken it, and FLUSH or FUA makes it durable',
    },
  ),
  setting('persistence.journal_size', 'journal-size', 'SIZE', 'journal that a start may have to replay', {
    fallback: '1G',
    check: sizeBetween(64 * MIB, 1024 * 1024 * MIB),
  }),
  setting('persistence.segment_size', 'segment-size', 'SIZE', 'size of one file of the journal, a power of two', {
    fallback: '64M',
    check: (text) => {
      sizeBetween(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)(text);
      if (!Number.isInteger(Math.log2(parseSize(text)))) throw new Error(`"${text}" is not a power of two`);
    },
  }),
  setting(
    'persistence.checkpoint_interval',
    'checkpoint-interval',
    'DURATION',
    'longest time between checkpoints of the map',
    {
      fallback: `${CHECKPOINT_INTERVAL_MS_DEFAULT / 1000}s`,
      check: durationBetween(100, 86_400_000),
    },
  ),
  setting('persistence.map_cache', 'map-cache', 'SIZE', 'memory for the map of volumes', {
    fallback: `${MAP_CACHE_BYTES_DEFAULT / MIB}M`,
    check: sizeBetween(8 * MIB, 1024 * 1024 * MIB),
  }),
  setting('persistence.journal_cache', 'journal-cache', 'SIZE', 'newest journal that stays in the page cache', {
    fallback: `${JOURNAL_CACHE_BYTES_DEFAULT / (1024 * MIB)}G`,
    check: sizeBetween(16 * MIB, 1024 * 1024 * MIB),
  }),
  setting('storage.capacity', 'capacity', 'SIZE', 'the journal takes no more of the disk; 0: as much as there is', {
    fallback: '0',
    check: (text) => {
      if (parseSize(text) !== 0) sizeBetween(CAPACITY_SEGMENTS_MIN * SEGMENT_BYTES_MIN, Number.MAX_SAFE_INTEGER)(text);
    },
  }),
  setting(
    'scrub.interval',
    'scrub-interval',
    'DURATION',
    'each volume is read and checked so often; 0: only when asked',
    {
      fallback: '7d',
      check: (text) => {
        if (parseDuration(text) !== 0) durationBetween(60_000, 3650 * 86_400_000)(text);
      },
    },
  ),
  setting('scrub.rate', 'scrub-rate', 'SIZE', 'bytes a second that a scrub reads at most', {
    fallback: '100M',
    check: (text) => {
      const rate = parseThroughput(text);
      if (rate < SCRUB_RATE_MIN || rate > SCRUB_RATE_MAX) {
        throw new Error(`"${text}" is not between ${SCRUB_RATE_MIN / 1024}K and ${SCRUB_RATE_MAX / 2 ** 30}G a second`);
      }
    },
  }),
  setting('security.key_provider', 'key-provider', 'PROVIDER', 'where the master key is: file, passphrase or command', {
    fallback: 'file',
    check: oneOf(KEY_PROVIDERS),
  }),
  setting(
    'security.key_file',
    'key-file',
    'FILE',
    'file: the master key; without it keys/master.key in the storage path',
  ),
  setting('security.passphrase_file', 'passphrase-file', 'FILE', 'passphrase: a file that holds it, mode 0600'),
  setting('security.passphrase_environment', 'passphrase-environment', 'NAME', 'passphrase: a variable that holds it', {
    check: (text) => {
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(text)) throw new Error('it is the name of an environment variable');
    },
  }),
  setting(
    'security.passphrase_credential',
    'passphrase-credential',
    'NAME',
    'passphrase: a systemd credential that holds it',
    {
      check: (text) => {
        if (!/^[A-Za-z0-9._-]{1,255}$/.test(text)) throw new Error('it is the name of a credential, not a path');
      },
    },
  ),
  setting('security.key_command', 'key-command', 'PROGRAM[,ARGUMENT...]', 'command: wraps and unwraps data keys', {
    kind: 'list',
  }),
  setting('security.key_command_timeout', 'key-command-timeout', 'DURATION', 'command: how long one run may take', {
    fallback: '10s',
    check: durationBetween(100, 600_000),
  }),
  setting('security.ipc_tls_certificate', 'ipc-tls-cert', 'FILE', 'control API: certificate (PEM)'),
  setting('security.ipc_tls_key', 'ipc-tls-key', 'FILE', 'control API: its key (PEM)'),
  setting(
    'security.ipc_tls_client_ca',
    'ipc-tls-ca',
    'FILE',
    'control API: who signs the certificates of clients (PEM)',
  ),
  setting('nbd.address', 'nbd-address', 'HOST:PORT', 'NBD over TCP; "off": only the socket', {
    fallback: '127.0.0.1:10809',
    check: endpointOrOff,
  }),
  setting('nbd.socket', 'nbd-socket', 'PATH', 'NBD over a unix socket; without it run/nbd.sock in the storage path'),
  setting(
    'nbd.insecure',
    'insecure-nbd',
    '',
    'serve NBD without TLS to the network: whoever reaches it can use every volume',
    {
      kind: 'boolean',
      fallback: 'false',
      check: oneOf(['true', 'false']),
    },
  ),
  setting('nbd.busy_poll', 'nbd-busy-poll', 'on|off', 'stay awake between requests that come in quick succession', {
    fallback: 'on',
    check: oneOf(['on', 'off']),
  }),
  setting('nbd.tls_certificate', 'nbd-tls-cert', 'FILE', 'NBD: certificate (PEM); clients must then use TLS over TCP'),
  setting('nbd.tls_key', 'nbd-tls-key', 'FILE', 'NBD: its key (PEM)'),
  setting('nbd.tls_client_ca', 'nbd-tls-ca', 'FILE', 'NBD: clients must show a certificate that this one signed (PEM)'),
];

/** `127.0.0.1:8090`, `[::1]:8090`, `localhost:0`. Throws an Error that says what is wrong. */
export function parseEndpoint(text: string): Endpoint {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new Error(`"${text}" is not an address: write HOST:PORT, such as 127.0.0.1:8090 or [::1]:8090`);
  }
  return { host: match[1] ?? match[2] ?? '', port };
}

/** Items between commas; blanks around them do not count. */
export function splitList(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

/** Relative paths are relative to where the program was started. */
export function absolute(path: string, workingFolder: string): string {
  return isAbsolute(path) ? resolve(path) : resolve(workingFolder, path);
}

function endpoint(text: string): void {
  parseEndpoint(text);
}

function endpointOrOff(text: string): void {
  if (text !== 'off') parseEndpoint(text);
}

function notEmpty(text: string): void {
  if (text.trim() === '') throw new Error('it is empty');
}

function oneOf(allowed: readonly string[]): (text: string) => void {
  return (text) => {
    if (!allowed.includes(text)) throw new Error(`"${text}" is not one of ${allowed.join(', ')}`);
  };
}

function sizeBetween(least: number, most: number): (text: string) => void {
  return (text) => {
    const bytes = parseSize(text);
    if (bytes < least || bytes > most) throw new Error(`"${text}" is not between ${least / MIB}M and ${most / MIB}M`);
  };
}

function durationBetween(leastMs: number, mostMs: number): (text: string) => void {
  return (text) => {
    const ms = parseDuration(text);
    if (ms < leastMs || ms > mostMs) throw new Error(`"${text}" is not between ${leastMs} ms and ${mostMs / 1000} s`);
  };
}
