import { join } from 'node:path';
import type { Bed } from './bed.js';
import type { RunningPeer } from './peer.js';
import { qemuImage, qemuLines, startProgram } from './program-peer.js';

const IMG_MS_MAX = 60_000;

/** A qcow2 image of the run, and what a user of QEMU does to one. */
export class Qcow2Image {
  readonly path: string;
  readonly #bed: Bed;

  private constructor(bed: Bed, path: string) {
    this.#bed = bed;
    this.path = path;
  }

  /** `folder` is one of the run. */
  static async create(bed: Bed, folder: string, name: string, sizeBytes: number): Promise<Qcow2Image> {
    const image = new Qcow2Image(bed, join(bed.folder, folder, name));
    await qemuImage('qcow2', [])(bed, image.path, sizeBytes);
    return image;
  }

  /** An image that shows this one and takes what is written to it: `qemu-img create -b`. */
  async overlay(path: string): Promise<Qcow2Image> {
    await qemuImg(this.#bed, ['create', '-q', '-f', 'qcow2', '-b', this.path, '-F', 'qcow2', path]);
    return new Qcow2Image(this.#bed, path);
  }

  /** One inside the image, which nobody has open meanwhile. */
  async snapshot(name: string): Promise<void> {
    await qemuImg(this.#bed, ['snapshot', '-c', name, this.path]);
  }

  /** Serves it on a socket of that name. */
  serve(name: string): Promise<RunningPeer> {
    const socket = join(this.#bed.scratch, `${name}.sock`);
    return startProgram(this.#bed, name, socket, qemuLines(socket, ['--format=qcow2', this.path]));
  }

  /** Serves it for as long as `use` takes. */
  async served<Result>(name: string, use: (running: RunningPeer) => Promise<Result>): Promise<Result> {
    const running = await this.serve(name);
    try {
      return await use(running);
    } finally {
      await running.stop();
    }
  }
}

export async function qemuImg(bed: Bed, args: readonly string[]): Promise<void> {
  await bed.children.run('qemu-img', args, { limitMs: IMG_MS_MAX, cwd: bed.folder });
}
