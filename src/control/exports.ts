import type { ChangedRanges, VolumeHandle } from '../volume/volume-host.js';

export interface ExportConnection {
  /** `127.0.0.1:4242`, or `unix` with a number for a client of the socket. Unique among the connections of a volume. */
  readonly address: string;
  /** Milliseconds since 1970. */
  readonly sinceMs: number;
  readonly inFlight: number;
  readonly transport: 'tcp' | 'tls' | 'unix';
}

/**
 * Changed ranges from an offset on, at most so many; ranges lie anywhere behind the offset, gaps between them did not
 * change. Rejects when a side is gone or cannot be read.
 */
export type ExportDiff = (offsetBytes: number, rangesMax: number) => Promise<ChangedRanges>;

/** Differences of an export against earlier snapshots of its volume. */
export interface ExportDiffs {
  /** Names of the snapshots that there are now, oldest first. */
  names(): readonly string[];
  /** null: there is no such snapshot now. What was opened goes on to mean that snapshot, whatever is named so later. */
  open(name: string): ExportDiff | null;
}

export interface OpenExport {
  /** The id of the volume, or of the snapshot: connections belong to it. */
  readonly volumeId: string;
  /** What clients ask for: the volume's name, or VOLUME@SNAPSHOT. */
  readonly name: string;
  readonly device: VolumeHandle;
  readonly readOnly: boolean;
  /** For people who list exports. */
  readonly description: string;
  readonly diffs: ExportDiffs;
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
