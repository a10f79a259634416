import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SystemClock } from '../../src/base/system-clock.js';
import { ControlClient } from '../../src/ipc/client.js';
import { BenchError } from './bench-error.js';
import type { Bed } from './bed.js';
import { Metrics } from './metrics.js';
import { Server } from './server.js';

const READY_MS_MAX = 300_000;
const CALL_MS_MAX = 60_000;
const LOCAL = '127.0.0.1:0';

/** One line of the daemon's log. */
export interface LogLine {
  readonly msg: string;
  readonly [field: string]: unknown;
}

interface Waiter {
  readonly fits: (line: LogLine) => boolean;
  readonly resolve: (line: LogLine) => void;
}

/** A daemon on a storage path of the bench's own, with its defaults. It can be ended and started again. */
export class GalleonDaemon {
  /** From the start of the process until it said that it serves; milliseconds. */
  readyMs = 0;
  readonly log: LogLine[] = [];
  readonly storagePath: string;
  readonly #bed: Bed;
  readonly #server: Server;
  readonly #waiters = new Set<Waiter>();
  #rest = '';
  #client: ControlClient | null = null;

  private constructor(bed: Bed, storagePath: string, flags: readonly string[]) {
    this.#bed = bed;
    this.storagePath = storagePath;
    const addresses = ['--ipc-address', '--nbd-address', '--metrics-address', '--bind-address'];
    const line = [
      ...['-d', '--storage-path', storagePath, '--nbd-socket', this.socketPath],
      ...addresses.flatMap((flag) => [flag, LOCAL]),
      ...flags,
    ];
    this.#server = Server.launch('galleon', bed.children, [process.execPath, bed.program, ...line], {
      cwd: bed.folder,
      environment: { ...process.env, GFS_RUNTIME_FOLDER: join(bed.scratch, 'runtime') },
      heard: (text) => this.#hear(text),
    });
  }

  /**
   * Starts one on an empty folder of that name for as long as `use` takes. Whatever comes of it, the daemon is gone
   * afterwards, and the folder.
   */
  static async within<Result>(
    bed: Bed,
    folder: string,
    flags: readonly string[],
    use: (daemon: GalleonDaemon) => Promise<Result>,
  ): Promise<Result> {
    try {
      const daemon = await GalleonDaemon.start(bed, join(bed.emptied(folder), 'storage'), flags);
      try {
        return await use(daemon);
      } finally {
        await daemon.kill9();
      }
    } finally {
      bed.removed(folder);
    }
  }

  /** Starts it and waits until it serves. Throws BenchError with the end of its log when it does not. */
  static async start(bed: Bed, storagePath: string, flags: readonly string[] = []): Promise<GalleonDaemon> {
    const startMs = performance.now();
    const daemon = new GalleonDaemon(bed, storagePath, flags);
    await daemon.logged((line) => line.msg === 'daemon: ready');
    daemon.readyMs = performance.now() - startMs;
    return daemon;
  }

  get server(): Server {
    return this.#server;
  }

  get socketPath(): string {
    return join(this.#bed.scratch, 'galleon.sock');
  }

  uri(volume: string): string {
    return `nbd+unix:///${volume}?socket=${this.socketPath}`;
  }

  get client(): ControlClient {
    if (this.#client !== null) return this.#client;
    const ready = this.log.find((line) => line.msg === 'daemon: ready');
    const token = readFileSync(join(this.storagePath, 'run/control.token'), 'utf8').trim();
    this.#client = new ControlClient({
      ...{ address: String(ready?.['ipc']), token, timeoutMs: CALL_MS_MAX },
      ...{ signal: new AbortController().signal, clock: new SystemClock() },
    });
    return this.#client;
  }

  /** What its metrics say now. */
  async metrics(): Promise<Metrics> {
    const ready = this.log.find((line) => line.msg === 'daemon: ready');
    const answer = await fetch(`http://${String(ready?.['metrics'])}/metrics`, {
      signal: AbortSignal.timeout(CALL_MS_MAX),
    });
    return new Metrics(await answer.text());
  }

  async createVolume(name: string, sizeBytes: number, storageClass: string): Promise<void> {
    await this.client.createVolume({
      ...{ name, sizeBytes, storageClass, blockBytes: 0 },
      ...{ volumeType: '', replicas: 0, labels: {} },
    });
  }

  async exportVolume(name: string): Promise<void> {
    await this.client.exportVolume({ volume: name, readOnly: false });
  }

  /** Resolves with the first line that fits, also if it was there already. */
  async logged(fits: (line: LogLine) => boolean): Promise<LogLine> {
    const found = this.log.find(fits);
    if (found !== undefined) return found;
    let timer: NodeJS.Timeout | undefined;
    const line = new Promise<LogLine>((resolve) => this.#waiters.add({ fits, resolve }));
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), READY_MS_MAX);
    });
    const first = await Promise.race([line, this.#server.gone().then(() => null), late]);
    clearTimeout(timer);
    if (first === null) throw new BenchError(`the daemon did not say what was waited for\n${this.#server.said}`);
    return first;
  }

  /** Ends it in order, with its checkpoint. */
  async stop(): Promise<void> {
    this.#forgetClient();
    await this.#server.stop('SIGTERM');
  }

  async kill9(): Promise<void> {
    this.#forgetClient();
    await this.#server.stop('SIGKILL');
  }

  #forgetClient(): void {
    void this.#client?.close();
    this.#client = null;
  }

  #hear(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line.startsWith('{')) this.#take(JSON.parse(line));
    }
  }

  #take(line: LogLine): void {
    this.log.push(line);
    for (const waiter of this.#waiters) {
      if (!waiter.fits(line)) continue;
      this.#waiters.delete(waiter);
      waiter.resolve(line);
    }
  }
}
