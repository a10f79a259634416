import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { open, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BenchError } from './bench-error.js';
import { Children } from './children.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const READ_BYTES = 4 * 2 ** 20;
const SYNC_MS_MAX = 300_000;
/** coreutils say it: "advise to drop cache for whole file". */
const DROP_CACHES = 'for file; do dd if="$file" iflag=nocache count=0 status=none || exit 1; done';

/** Where a run takes place: its folders, its processes, and the program that it measures. Closing it leaves nothing. */
export class Bed {
  readonly children = new Children();
  /** On the disk that is measured. */
  readonly folder: string;
  /** For sockets and results; its path is short, as those of sockets must be. */
  readonly scratch: string;
  /** The daemon's main.js: a copy, so that a build during the run changes nothing in it. */
  readonly program: string;

  /** `parent` '': the system's temporary folder. */
  constructor(parent: string) {
    this.scratch = mkdtempSync(join(tmpdir(), 'gb-'));
    this.folder = mkdtempSync(join(parent === '' ? tmpdir() : parent, 'galleon-bench-'));
    mkdirSync(join(this.scratch, 'runtime'), { mode: 0o700 });
    this.program = join(this.scratch, 'program/dist/main.js');
  }

  /** Takes the copy of what was built. Throws BenchError when nothing was. */
  copyProgram(): void {
    const missing = ['dist/main.js', 'build/Release/node_nbd.node'].filter((path) => !existsSync(join(ROOT, path)));
    if (missing.length > 0) throw new BenchError(`not built: ${missing.join(', ')}; run npm run build`);
    const program = join(this.scratch, 'program');
    cpSync(join(ROOT, 'dist'), join(program, 'dist'), { recursive: true });
    cpSync(join(ROOT, 'package.json'), join(program, 'package.json'));
    cpSync(join(ROOT, 'build/Release/node_nbd.node'), join(program, 'build/Release/node_nbd.node'));
    symlinkSync(join(ROOT, 'node_modules'), join(program, 'node_modules'));
  }

  /** Throws BenchError when the disk cannot hold what is to come. */
  async wantSpace(bytes: number, what: string): Promise<void> {
    const { bavail, bsize } = await statfs(this.folder);
    const free = bavail * bsize;
    if (free >= bytes) return;
    const gib = (count: number): string => (count / 2 ** 30).toFixed(1);
    throw new BenchError(
      `${what} wants ${gib(bytes)} GiB of disk, and ${gib(free)} GiB are free: free some, choose another --folder ` +
        'or a smaller --size',
    );
  }

  /** Brings everything written so far to the disk, so that nobody pays for the writes of who came before. */
  async settle(): Promise<void> {
    await this.children.run('sync', ['-f', this.folder], { limitMs: SYNC_MS_MAX, cwd: this.scratch });
  }

  /** A folder of the run that is empty now. */
  emptied(name: string): string {
    const path = join(this.folder, name);
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path, { mode: 0o700 });
    return path;
  }

  removed(name: string): void {
    rmSync(join(this.folder, name), { recursive: true, force: true });
  }

  /** Bytes on disk under a folder of the run. */
  usedBytes(name: string): number {
    // A daemon that runs may remove a file meanwhile.
    const stats = filesUnder(join(this.folder, name)).map((path) => statSync(path, { throwIfNoEntry: false }));
    return stats.reduce((sum, stat) => sum + (stat?.blocks ?? 0) * 512, 0);
  }

  /** Reads every file of a folder of the run from beginning to end, so that all of it is in the page cache. */
  async readThrough(name: string): Promise<void> {
    const buffer = new Uint8Array(READ_BYTES);
    for (const path of filesUnder(join(this.folder, name))) {
      const file = await open(path);
      let bytesRead = 1;
      while (bytesRead > 0) ({ bytesRead } = await file.read(buffer, 0, buffer.length));
      await file.close();
    }
  }

  /** Takes the files of a folder of the run, which must be settled, out of the page cache. */
  async dropCaches(name: string): Promise<void> {
    const options = { limitMs: SYNC_MS_MAX, cwd: this.scratch };
    await this.children.run('sh', ['-c', DROP_CACHES, 'sh', ...filesUnder(join(this.folder, name))], options);
  }

  async close(): Promise<void> {
    await this.children.close();
    rmSync(this.folder, { recursive: true, force: true });
    rmSync(this.scratch, { recursive: true, force: true });
  }
}

/** The regular files under a folder. */
function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
