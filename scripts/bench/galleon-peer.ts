import { join } from 'node:path';
import type { Bed } from './bed.js';
import { GalleonDaemon } from './galleon-daemon.js';
import type { Peer, RunningPeer } from './peer.js';

const VOLUME = 'bench';

/** Our daemon with its defaults, and one volume of a storage class. */
export class GalleonPeer implements Peer {
  readonly keepsData = true;
  readonly name: string;
  readonly title: string;
  readonly #storageClass: string;

  constructor(name: string, title: string, storageClass: string) {
    this.name = name;
    this.title = title;
    this.#storageClass = storageClass;
  }

  async create(bed: Bed, sizeBytes: number): Promise<void> {
    bed.emptied(this.name);
    const daemon = await GalleonDaemon.start(bed, this.#storagePath(bed));
    await daemon.createVolume(VOLUME, sizeBytes, this.#storageClass);
    await daemon.exportVolume(VOLUME);
    await daemon.stop();
  }

  async start(bed: Bed): Promise<RunningPeer> {
    const daemon = await GalleonDaemon.start(bed, this.#storagePath(bed));
    const { server } = daemon;
    return {
      uri: daemon.uri(VOLUME),
      pid: server.pid,
      cpuSeconds: () => server.cpuSeconds(),
      stop: () => daemon.stop(),
    };
  }

  #storagePath(bed: Bed): string {
    return join(bed.folder, this.name, 'storage');
  }
}
