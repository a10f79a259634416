import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { SystemClock } from '../../src/base/system-clock.js';
import { ControlClient } from '../../src/ipc/client.js';
import { findDaemon } from '../../src/ipc/client-discovery.js';
import { registryPlace } from '../../src/ipc/daemon-registry.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const READY_WAIT_MS = 45_000;
const EXIT_WAIT_MS = 30_000;
const COMMAND_MS_MAX = 45_000;

/** One line of the daemon's log, as pino writes it. */
export interface LogLine {
  readonly level?: number | string;
  readonly msg?: string;
  readonly [field: string]: unknown;
}

export interface CommandResult {
  /** null: ended by a signal. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface DaemonOptions {
  /** Takes the clean-up: `onTestFinished`, or a list that `afterAll` goes through for a daemon that tests share. */
  readonly atEnd: (cleanUp: () => Promise<void>) => unknown;
  /** More flags of `gfs -d`. */
  readonly flags?: readonly string[];
  /** Lines of its configuration file, by section. Segments are small unless it says otherwise. */
  readonly config?: Readonly<Record<string, readonly string[]>>;
  readonly environment?: Readonly<Record<string, string>>;
  /** An existing folder outside of the test's own, e.g. on a small disk. */
  readonly storagePath?: string;
}

/** How to start the program: what was built if nothing is newer than it, otherwise the sources. */
export function programLine(): string[] {
  const entry = join(ROOT, 'dist/main.js');
  // tsc rewrites only what changed; the build information is written by every build that compiled something.
  const built = ['main.js', '.tsbuildinfo'].map((name) => join(ROOT, 'dist', name)).filter((path) => existsSync(path));
  const builtMs = Math.max(0, ...built.map((path) => statSync(path).mtimeMs));
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, withFileTypes: true });
  const fresh =
    existsSync(entry) &&
    sources
      .filter((source) => source.isFile() && source.name.endsWith('.ts'))
      .every((source) => statSync(join(source.parentPath, source.name)).mtimeMs <= builtMs);
  return fresh
    ? [process.execPath, entry]
    : [process.execPath, '--import', fileURLToPath(import.meta.resolve('tsx')), join(ROOT, 'src/main.ts')];
}

const PROGRAM = programLine();

/**
 * A real daemon: a process of its own with a storage path, and the `gfs` commands that find it. It can be killed and
 * started again on the same path. Whatever it started is gone when the test has ended, however it ended.
 */
export class DaemonProcess {
  /** A folder for whatever the test needs; removed at the end. */
  readonly folder: string;
  readonly storagePath: string;
  /** Log lines of all starts, in order. */
  readonly log: LogLine[] = [];
  /** Everything that it ever wrote, as it came. */
  output = '';
  readonly #options: DaemonOptions;
  readonly #commands = new Set<ChildProcess>();
  #child: ChildProcess | null = null;
  #client: ControlClient | null = null;
  #exit: Promise<number | null> = Promise.resolve(null);
  #wake = new Set<() => void>();

  private constructor(folder: string, options: DaemonOptions) {
    this.folder = folder;
    this.storagePath = options.storagePath ?? join(folder, 'storage');
    this.#options = options;
  }

  /** Prepares a daemon without starting it. */
  static async prepare(options: DaemonOptions): Promise<DaemonProcess> {
    const folder = await mkdtemp(join(tmpdir(), 'galleon-system-'));
    const daemon = new DaemonProcess(folder, options);
    options.atEnd(() => daemon.#cleanUp());
    await mkdir(join(folder, 'runtime'), { mode: 0o700 });
    await daemon.configure(options.config ?? {});
    return daemon;
  }

  /** Prepares and starts one, and waits until it is ready. */
  static async start(options: DaemonOptions): Promise<DaemonProcess> {
    const daemon = await DaemonProcess.prepare(options);
    await daemon.start();
    return daemon;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get residentBytes(): number {
    const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${String(this.pid)}/status`, 'utf8'));
    return Number(line?.[1]) * 1024;
  }

  /** Its open sockets; the journal opens files of its own. */
  get sockets(): number {
    const folder = `/proc/${String(this.pid)}/fd`;
    return readdirSync(folder).filter((fd) => {
      try {
        return readlinkSync(`${folder}/${fd}`).startsWith('socket:');
      } catch {
        // Closed meanwhile.
        return false;
      }
    }).length;
  }

  get runs(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Environment in which `gfs` and the daemon see this world and no other. */
  get environment(): Record<string, string> {
    return {
      PATH: process.env['PATH'] ?? '/usr/bin:/bin',
      HOME: this.folder,
      TMPDIR: tmpdir(),
      GFS_RUNTIME_FOLDER: join(this.folder, 'runtime'),
      ...this.#options.environment,
    };
  }

  get configFile(): string {
    return join(this.folder, 'galleonfs.toml');
  }

  /** The control API of the running daemon. */
  get client(): ControlClient {
    if (this.#client !== null) return this.#client;
    const place = registryPlace(this.environment);
    const target = findDaemon({ address: undefined, tokenFile: undefined }, place);
    const signal = new AbortController().signal;
    this.#client = new ControlClient({ ...target, timeoutMs: COMMAND_MS_MAX, signal, clock: new SystemClock() });
    return this.#client;
  }

  get socketPath(): string {
    return join(this.storagePath, 'run/nbd.sock');
  }

  /** NBD URI of an export over the unix socket. */
  uri(name: string): string {
    return `nbd+unix:///${name}?socket=${this.socketPath}`;
  }

  /** Writes the configuration file; small segments unless `sections` says otherwise. */
  async configure(sections: Readonly<Record<string, readonly string[]>>): Promise<void> {
    const all: Record<string, readonly string[]> = {
      ...sections,
      persistence: ['segment_size = "1M"', ...(sections['persistence'] ?? [])],
    };
    const text = Object.entries(all).map(([name, lines]) => `[${name}]\n${lines.join('\n')}\n`);
    await writeFile(this.configFile, text.join('\n'));
  }

  /** Starts it and waits until it says that it is ready. Throws with its log when it ends instead. */
  async start(flags: readonly string[] = []): Promise<void> {
    this.launch(flags);
    const startedAt = this.log.length;
    const isReady = (): boolean => this.log.slice(startedAt).some((line) => line.msg === 'daemon: ready');
    await this.#until(isReady, READY_WAIT_MS, 'ready');
  }

  /** Starts it and waits for nothing. */
  launch(flags: readonly string[] = []): void {
    if (this.runs) throw new Error('it runs already');
    this.#forgetClient();
    const [program, ...args] = PROGRAM;
    const addresses = ['--bind-address', '--ipc-address', '--nbd-address', '--metrics-address'];
    const chosen = [...(this.#options.flags ?? []), ...flags];
    const own = addresses.filter((flag) => !chosen.includes(flag)).flatMap((flag) => [flag, '127.0.0.1:0']);
    const line = ['-d', '--storage-path', this.storagePath, '--config', this.configFile, ...own, ...chosen];
    const child = spawn(program, [...args, ...line], {
      cwd: ROOT,
      env: this.environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.#exit = once(child, 'close').then(() => {
      this.#notify();
      return child.exitCode;
    });
    createInterface({ input: child.stdout }).on('line', (text) => this.#take(text));
    createInterface({ input: child.stderr }).on('line', (text) => this.#take(text));
  }

  /** Starts it where it must refuse; its exit status and what it said. */
  async startRefused(flags: readonly string[] = []): Promise<{ status: number | null; output: string }> {
    const before = this.output.length;
    this.launch(flags);
    const status = await this.exited();
    return { status, output: this.output.slice(before) };
  }

  /** Resolves with its exit status when it has ended; null when a signal ended it. */
  async exited(): Promise<number | null> {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), EXIT_WAIT_MS);
    try {
      const never = once(late.signal, 'abort').then(() => 'late' as const);
      const ended = await Promise.race([this.#exit, never]);
      if (ended === 'late') throw new Error(`still running after ${String(EXIT_WAIT_MS)} ms\n${this.tail()}`);
      return ended;
    } finally {
      clearTimeout(timer);
    }
  }

  async kill9(): Promise<void> {
    this.signal('SIGKILL');
    await this.exited();
  }

  /** Ends it in order and returns its exit status. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.signal(signal);
    return this.exited();
  }

  async restart(): Promise<void> {
    await this.kill9();
    await this.start();
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.#child?.kill(signal)) throw new Error(`no daemon to send ${signal} to\n${this.tail()}`);
  }

  /** Resolves when its log has a line that fits, also if that line is there already. */
  async logged(fits: (line: LogLine) => boolean, from = 0): Promise<LogLine> {
    const find = (): LogLine | undefined => this.log.slice(from).find(fits);
    await this.#until(() => find() !== undefined, READY_WAIT_MS, 'in the log');
    return find()!;
  }

  /** Starts a `gfs` command and does not wait for it. */
  spawnGfs(args: readonly string[], environment: Readonly<Record<string, string>> = {}): ChildProcess {
    const [program, ...head] = PROGRAM;
    const child = spawn(program, [...head, ...args], {
      cwd: this.folder,
      env: { ...this.environment, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: COMMAND_MS_MAX,
    });
    this.#commands.add(child);
    child.once('close', () => this.#commands.delete(child));
    return child;
  }

  /** Runs a `gfs` command to its end. */
  gfs(...args: string[]): Promise<CommandResult> {
    return resultOf(this.spawnGfs(args));
  }

  /** Runs a command that must succeed; its output. */
  async gfsOk(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.gfs(...args);
    if (status !== 0) throw new Error(`gfs ${args.join(' ')}: exit status ${String(status)}\n${stdout}${stderr}`);
    return stdout;
  }

  /** Runs a command that must succeed with `-o json`; what it answered. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- what a command answers is what the test checks
  async json(...args: string[]): Promise<any> {
    return JSON.parse(await this.gfsOk(...args, '-o', 'json'));
  }

  /** Makes a volume and exports it. */
  async volume(name: string, sizeBytes: number, storageClass = 'encrypted-storage', blockBytes = 0): Promise<void> {
    const { client } = this;
    await client.createVolume({
      ...{ name, sizeBytes, storageClass, blockBytes },
      ...{ volumeType: '', replicas: 0, labels: {} },
    });
    await client.exportVolume({ volume: name, readOnly: false });
  }

  /** The end of what it wrote, for messages. */
  tail(): string {
    return this.output.split('\n').slice(-30).join('\n');
  }

  #take(text: string): void {
    this.output += `${text}\n`;
    try {
      this.log.push(JSON.parse(text) as LogLine);
    } catch {
      // Not a line of the log: what node itself says, or the reason of a refusal.
      this.log.push({ text });
    }
    this.#notify();
  }

  #notify(): void {
    for (const wake of [...this.#wake]) wake();
  }

  async #until(holds: () => boolean, limitMs: number, what: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const settle = (): void => {
        if (holds()) done(resolve);
        else if (!this.runs) done(() => reject(new Error(`the daemon ended before it was ${what}\n${this.tail()}`)));
      };
      const late = (): void => done(() => reject(new Error(`not ${what} in ${String(limitMs)} ms\n${this.tail()}`)));
      const timer = setTimeout(late, limitMs);
      const done = (end: () => void): void => {
        clearTimeout(timer);
        this.#wake.delete(settle);
        end();
      };
      this.#wake.add(settle);
      settle();
    });
  }

  #forgetClient(): void {
    void this.#client?.close();
    this.#client = null;
  }

  async #cleanUp(): Promise<void> {
    this.#forgetClient();
    for (const command of this.#commands) command.kill('SIGKILL');
    if (this.runs) this.#child?.kill('SIGKILL');
    await this.#exit;
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** What a process says until it ends. */
export async function resultOf(child: ChildProcess): Promise<CommandResult> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
  await once(child, 'close');
  return { status: child.exitCode, stdout, stderr };
}

/** All files under a folder with their bytes, sockets and the like left out. */
export function* filesUnder(folder: string): Generator<{ path: string; bytes: Buffer }> {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    yield { path, bytes: readFileSync(path) };
  }
}
