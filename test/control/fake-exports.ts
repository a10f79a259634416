import type { ExportConnection, Exports, ExportUris, OpenExport } from '../../src/control/exports.js';

/** Exports that nobody serves; a test says who is connected. */
export class FakeExports implements Exports {
  readonly offered = new Map<string, OpenExport>();
  readonly clients = new Map<string, ExportConnection[]>();

  open(exported: OpenExport): void {
    this.offered.set(exported.volumeId, exported);
  }

  close(volumeId: string): Promise<void> {
    this.offered.delete(volumeId);
    this.clients.delete(volumeId);
    return Promise.resolve();
  }

  connections(volumeId: string): readonly ExportConnection[] {
    return this.clients.get(volumeId) ?? [];
  }

  kick(volumeId: string, address: string): Promise<readonly string[]> {
    const all = this.clients.get(volumeId) ?? [];
    const dropped = all.filter((one) => address === '' || one.address === address);
    this.clients.set(
      volumeId,
      all.filter((one) => !dropped.includes(one)),
    );
    return Promise.resolve(dropped.map((one) => one.address));
  }

  uris(name: string): ExportUris {
    return { uri: `nbd://127.0.0.1:10809/${name}`, socketUri: `nbd+unix:///${name}?socket=/run/nbd.sock` };
  }

  connect(volumeId: string, address: string): void {
    const all = this.clients.get(volumeId) ?? [];
    this.clients.set(volumeId, [...all, { address, sinceMs: 0, inFlight: 0, transport: 'tcp' }]);
  }
}
