import type { OptionSpecs, OptionValues } from './option-spec.js';

/** Options that every command takes, before or after its verb. */
export const GLOBAL_OPTIONS = {
  output: {
    kind: 'text',
    alias: 'o',
    summary: 'how to show the answer',
    value: 'FORMAT',
    choices: ['table', 'json', 'yaml'],
  },
  'daemon-address': { kind: 'text', summary: 'which daemon to ask (GFS_DAEMON_ADDRESS)', value: 'HOST:PORT' },
  'token-file': {
    kind: 'text',
    summary: 'file that holds its token (GFS_TOKEN_FILE)',
    value: 'FILE',
    completes: 'file',
  },
  'tls-ca': { kind: 'text', summary: 'who signed its certificate (PEM, GFS_TLS_CA)', value: 'FILE', completes: 'file' },
  'tls-cert': { kind: 'text', summary: 'our certificate (PEM, GFS_TLS_CERT)', value: 'FILE', completes: 'file' },
  'tls-key': { kind: 'text', summary: 'its key (PEM, GFS_TLS_KEY)', value: 'FILE', completes: 'file' },
  timeout: { kind: 'text', summary: 'how long an answer may take, such as 30s', value: 'DURATION' },
  'no-color': { kind: 'flag', summary: 'no colours, also on a terminal (NO_COLOR)' },
  help: { kind: 'flag', alias: 'h', summary: 'show this help' },
} as const satisfies OptionSpecs;

export type GlobalValues = OptionValues<typeof GLOBAL_OPTIONS>;
