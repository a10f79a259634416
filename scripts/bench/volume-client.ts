import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Bed } from './bed.js';
import { type FioFigures, type FioRun, runFio } from './fio.js';
import type { GalleonDaemon } from './galleon-daemon.js';
import { FILL, type FioWork } from './works.js';

const STORAGE_CLASS = 'encrypted-storage';

/** What a run may say beyond its work and its time. */
export type RunDetails = Partial<Pick<FioRun, 'seed' | 'bytes' | 'more'>>;

/** One client of an export, which can run beside another. */
export class VolumeClient {
  readonly uri: string;
  readonly sizeBytes: number;
  readonly #bed: Bed;
  readonly #scratch: string;

  /** `name`: no other client that runs at the same time has it. */
  constructor(bed: Bed, name: string, { uri, sizeBytes }: { readonly uri: string; readonly sizeBytes: number }) {
    this.uri = uri;
    this.sizeBytes = sizeBytes;
    this.#bed = bed;
    // Each has its own files: fio writes its answer to one.
    this.#scratch = join(bed.scratch, `client-${name}`);
    mkdirSync(this.#scratch, { recursive: true });
  }

  run(work: FioWork, seconds: number | null, details: RunDetails = {}): Promise<FioFigures> {
    const { uri, sizeBytes } = this;
    return runFio(this.#bed.children, this.#scratch, work, { uri, sizeBytes, seconds, seed: 1, ...details });
  }

  async rate(work: FioWork, seconds: number, details: RunDetails = {}): Promise<number> {
    return (await this.run(work, seconds, details)).operationsPerSecond;
  }

  /** Writes all of it once. */
  async fill(): Promise<void> {
    await this.run(FILL, null);
  }
}

/** Makes an encrypted volume, exports it, and says who uses it. */
export async function newVolume(
  bed: Bed,
  daemon: GalleonDaemon,
  name: string,
  sizeBytes: number,
): Promise<VolumeClient> {
  await daemon.createVolume(name, sizeBytes, STORAGE_CLASS);
  await daemon.exportVolume(name);
  return new VolumeClient(bed, name, { uri: daemon.uri(name), sizeBytes });
}
