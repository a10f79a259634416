import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BenchError } from './bench-error.js';
import type { Bed } from './bed.js';
import type { Peer, RunningPeer } from './peer.js';
import { Server } from './server.js';

type Line = [string, ...string[]];

/** How one program serves one file. */
interface Recipe {
  readonly name: string;
  readonly title: string;
  readonly keepsData: boolean;
  /** Makes the empty image. */
  readonly create: (bed: Bed, image: string, sizeBytes: number) => Promise<void>;
  /** Command lines that serve it, the preferred first: the next is tried when one does not start. */
  readonly lines: (serve: { image: string; socket: string; sizeBytes: number }) => readonly Line[];
}

const CREATE_MS_MAX = 60_000;
const NULL_SERVER = fileURLToPath(new URL('null-server.ts', import.meta.url));
const TSX = import.meta.resolve('tsx');
/** The key of a working set that lives for minutes: LUKS wants one, and nobody keeps a secret with it. */
const SECRET = 'secret,id=key,data=bench';

/** Someone else's server (or our null backend): one process that serves one image on a unix socket. */
class ProgramPeer implements Peer {
  readonly #recipe: Recipe;

  constructor(recipe: Recipe) {
    this.#recipe = recipe;
  }

  get name(): string {
    return this.#recipe.name;
  }

  get title(): string {
    return this.#recipe.title;
  }

  get keepsData(): boolean {
    return this.#recipe.keepsData;
  }

  async create(bed: Bed, sizeBytes: number): Promise<void> {
    await this.#recipe.create(bed, join(bed.emptied(this.name), 'image'), sizeBytes);
  }

  async start(bed: Bed, sizeBytes: number): Promise<RunningPeer> {
    const socket = join(bed.scratch, `${this.name}.sock`);
    const image = join(bed.folder, this.name, 'image');
    return startProgram(bed, this.name, socket, this.#recipe.lines({ image, socket, sizeBytes }));
  }
}

/** Starts the first of these command lines that starts, and waits until it serves. Throws what the last one said. */
export async function startProgram(
  bed: Bed,
  name: string,
  socket: string,
  lines: readonly Line[],
): Promise<RunningPeer> {
  let failure: unknown = new BenchError(`${name}: there is no way to start it`);
  for (const line of lines) {
    try {
      const server = await Server.start(name, bed.children, line, { cwd: bed.folder, socket });
      return {
        uri: `nbd+unix:///?socket=${socket}`,
        pid: server.pid,
        cpuSeconds: () => server.cpuSeconds(),
        stop: () => server.stop(),
      };
    } catch (thrown) {
      failure = thrown;
    }
  }
  throw failure;
}

async function sparse(_bed: Bed, image: string, sizeBytes: number): Promise<void> {
  await writeFile(image, '', { flag: 'wx' });
  await truncate(image, sizeBytes);
}

const CREATE_TRIES = 5;

export function qemuImage(format: string, details: readonly string[]) {
  return async (bed: Bed, image: string, sizeBytes: number): Promise<void> => {
    const args = ['create', '-q', '-f', format, ...details, image, String(sizeBytes)];
    for (let tries = 1; ; tries += 1) {
      try {
        await bed.children.run('qemu-img', args, { limitMs: CREATE_MS_MAX, cwd: bed.folder });
        return;
      } catch (thrown) {
        // How long to stretch a LUKS key is measured in processor time, and now and then the clock is too coarse for it.
        if (tries === CREATE_TRIES || !String(thrown).includes('accurate CPU usage')) throw thrown;
      }
    }
  };
}

/** As a user would: the host's page cache, eight clients, and io_uring where this kernel and this qemu have it. */
export function qemuLines(socket: string, image: readonly string[]): Line[] {
  return ['io_uring', 'threads'].map((aio) => [
    ...(['qemu-nbd', '-k', socket, '--cache=writeback', `--aio=${aio}`, '--shared=8', '--persistent'] as const),
    ...image,
  ]);
}

/** The same without `--aio` and `--cache`, which go into the options of an image that needs more than a name. */
function qemuLuksLines(socket: string, image: string): Line[] {
  return ['io_uring', 'threads'].map((aio) => [
    ...(['qemu-nbd', '-k', socket, '--shared=8', '--persistent', '--object', SECRET, '--image-opts'] as const),
    `driver=luks,key-secret=key,file.driver=file,file.filename=${image},file.aio=${aio}`,
  ]);
}

export const PROGRAM_PEERS: readonly Peer[] = (
  [
    {
      ...{ name: 'nbdkit', title: 'nbdkit file', keepsData: true, create: sparse },
      lines: ({ image, socket }) => [['nbdkit', '--foreground', '--unix', socket, 'file', image]],
    },
    {
      ...{ name: 'qemu-raw', title: 'qemu raw', keepsData: true, create: sparse },
      lines: ({ image, socket }) => qemuLines(socket, ['--format=raw', image]),
    },
    {
      ...{ name: 'qemu-qcow2', title: 'qemu qcow2', keepsData: true, create: qemuImage('qcow2', []) },
      lines: ({ image, socket }) => qemuLines(socket, ['--format=qcow2', image]),
    },
    {
      ...{ name: 'qemu-luks', title: 'qemu LUKS', keepsData: true },
      // The iterations of the key's stretching are paid at start only.
      create: qemuImage('luks', ['--object', SECRET, '-o', 'key-secret=key,iter-time=10']),
      lines: ({ image, socket }) => qemuLuksLines(socket, image),
    },
    {
      ...{ name: 'null', title: 'null device', keepsData: false, create: async () => undefined },
      lines: ({ socket, sizeBytes }) => [[process.execPath, '--import', TSX, NULL_SERVER, socket, String(sizeBytes)]],
    },
  ] satisfies Recipe[]
).map((recipe) => new ProgramPeer(recipe));
