import type { ScrubsOptions } from '../control/scrubs.js';
import type { KeyProviderOptions } from '../crypto/key-provider.js';

/** `host` is an address or `localhost`; port 0: the system picks one. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** PEM files; read at start and again on SIGHUP. */
export interface TlsFiles {
  readonly certificate: string;
  readonly privateKey: string;
  /** Who may sign client certificates; '' asks for none. */
  readonly authority: string;
}

/** What a node is started with: the configuration, checked and typed. */
export interface NodeSettings {
  /** Absolute. */
  readonly storagePath: string;
  /** Block size of volumes that name none. */
  readonly blockBytes: number;
  readonly ipc: Endpoint;
  readonly ipcTls: TlsFiles | null;
  /** null: no TCP address is served. */
  readonly nbd: Endpoint | null;
  /** Not null: clients must use TLS over TCP. */
  readonly nbdTls: TlsFiles | null;
  /** A TCP address that is not loopback may be served without TLS. */
  readonly insecureNbd: boolean;
  readonly nbdBusyPoll: boolean;
  /** Absolute path of the NBD socket. */
  readonly nbdSocket: string;
  /** null: no metrics are served. */
  readonly metrics: Endpoint | null;
  readonly keyProvider: KeyProviderOptions;
  readonly segmentBytes: number;
  readonly journalReplayBytesMax: number;
  readonly checkpointIntervalMs: number;
  readonly mapCacheBytes: number;
  readonly journalCacheBytes: number;
  /** 0: no limit. */
  readonly capacityBytes: number;
  readonly scrubs: ScrubsOptions;
}

/** Where a running node is reached. */
export interface NodeAddresses {
  readonly ipc: string;
  /** '' when no TCP address is served. */
  readonly nbd: string;
  readonly nbdSocket: string;
  readonly metrics: string;
}
