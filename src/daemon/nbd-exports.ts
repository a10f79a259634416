import { joinAddress } from '../base/address.js';
import type { ExportConnection, Exports, ExportUris, OpenExport } from '../control/exports.js';
import type { ExportDirectory, ExportFault, ExportListing, OpenedExport } from '../nbd/export-directory.js';
import { diffContexts } from './diff-contexts.js';
import type { NbdServer } from '../nbd/server.js';

/**
 * What is exported, between the control plane that decides it and the NBD server that serves it. Names are the
 * volumes' names at this moment; connections belong to volume ids, so a rename drops nobody.
 */
export class NbdExports implements Exports {
  /** What the NBD server asks. */
  readonly directory: ExportDirectory = {
    list: () => this.#list(),
    open: (name) => this.#find(name),
  };
  readonly #byVolume = new Map<string, OpenExport>();
  #server: NbdServer | null = null;
  #tls = false;

  /** The server is made after the directory that it asks. `tls`: clients come in by nbds. */
  attach(server: NbdServer, tls: boolean): void {
    this.#server = server;
    this.#tls = tls;
  }

  open(exported: OpenExport): void {
    this.#byVolume.set(exported.volumeId, exported);
  }

  #find(name: string): OpenedExport | ExportFault {
    for (const { volumeId, name: known, device, readOnly, description, diffs } of this.#byVolume.values()) {
      if (known !== name) continue;
      return {
        volumeId,
        device,
        description,
        readOnly,
        statistics: device.statistics,
        contexts: diffContexts(diffs),
        closed: () => undefined,
      };
    }
    return { code: 'UNKNOWN' };
  }

  #list(): readonly ExportListing[] {
    return [...this.#byVolume.values()].map(({ name, description }) => ({ name, description }));
  }

  async close(volumeId: string): Promise<void> {
    this.#byVolume.delete(volumeId);
    await this.#server?.disconnectAll(volumeId);
  }

  connections(volumeId: string): readonly ExportConnection[] {
    return this.#server?.connections(volumeId) ?? [];
  }

  async kick(volumeId: string, address: string): Promise<readonly string[]> {
    const server = this.#server;
    if (server === null) return [];
    return address === '' ? server.kick(volumeId) : server.kick(volumeId, address);
  }

  uris(name: string): ExportUris {
    const tcp = this.#server?.tcpAddresses[0];
    const socket = this.#server?.unixPaths[0];
    const path = encodeURIComponent(name);
    return {
      uri: tcp === undefined ? '' : `${this.#tls ? 'nbds' : 'nbd'}://${joinAddress(tcp.host, tcp.port)}/${path}`,
      socketUri: socket === undefined ? '' : `nbd+unix:///${path}?socket=${encodeURI(socket)}`,
    };
  }
}
