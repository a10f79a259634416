import type { VolumeHandle } from '../volume/volume-host.js';

export interface ExportConnection {
  /** `127.0.0.1:4242`, or `unix` with a number for a client of the socket. Unique among the connections of a volume. */
  readonly address: string;
  /** Milliseconds since 1970. */
  readonly sinceMs: number;
  readonly inFlight: number;
  readonly transport: 'tcp' | 'tls' | 'unix';
}

export interface OpenExport {
  readonly volumeId: string;
  /** What clients ask for: the volume's name. */
  readonly name: string;
  readonly device: VolumeHandle;
  readonly readOnly: boolean;
  /** For people who list exports. */
  readonly description: string;
}

export interface ExportUris {
  /** `nbd://HOST:PORT/NAME`, `nbds://...` with TLS; '' when no TCP address is served. */
  readonly uri: string;
  /** `nbd+unix:///NAME?socket=PATH`; '' when no socket is served. */
  readonly socketUri: string;
}

/** What clients can attach. The daemon implements it over its NBD server. */
export interface Exports {
  /** Offers a volume. One that is already offered is offered anew; its connections stay. */
  open(exported: OpenExport): void;
  /**
   * Stops offering at once (before anything is awaited), drops its connections, resolves when they have ended. Never
   * rejects; fine when it is not offered.
   */
  close(volumeId: string): Promise<void>;
  connections(volumeId: string): readonly ExportConnection[];
  /** Drops one client, or all ('' ). Resolves to the addresses of those that it dropped, when they have ended. */
  kick(volumeId: string, address: string): Promise<readonly string[]>;
  uris(name: string): ExportUris;
}
