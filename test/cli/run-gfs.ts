import { type ChildProcess, spawn } from 'node:child_process';
import { PassThrough } from 'node:stream';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SystemClock } from '../../src/base/system-clock.js';
import { runCli } from '../../src/cli/cli.js';
import type { Sink, World } from '../../src/cli/world.js';
import type { FakeDaemon } from './fake-daemon.js';

export interface RunOptions {
  /** Columns of a terminal on standard output and error; without it nothing is one. */
  readonly columns?: number;
  readonly environment?: Record<string, string>;
  /** Typed by the person at the terminal. */
  readonly typed?: string;
  readonly interactive?: boolean;
  readonly signal?: AbortSignal;
  readonly workingFolder?: string;
}

export interface RunResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line in this process, in a world where no daemon is registered. */
export async function runGfs(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const stdout = new CapturedSink(options.columns);
  const stderr = new CapturedSink(options.columns);
  const stdin = new PassThrough();
  if (options.typed !== undefined) stdin.write(options.typed);
  const environment = options.environment ?? {};
  const world: World = {
    environment,
    workingFolder: options.workingFolder ?? '/',
    stdout,
    stderr,
    stdin,
    interactive: options.interactive ?? options.typed !== undefined,
    signal: options.signal ?? new AbortController().signal,
    clock: new SystemClock(),
    registry: { environment, uid: 12_345, temporaryFolder: '/nonexistent', systemFolder: '/nonexistent' },
  };
  const status = await runCli(argv, world);
  return { status, stdout: stdout.text, stderr: stderr.text };
}

/** Runs it against the fake daemon. */
export function runWith(daemon: FakeDaemon, argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const environment = {
    GFS_DAEMON_ADDRESS: daemon.address,
    GFS_TOKEN_FILE: daemon.tokenFile,
    ...options.environment,
  };
  return runGfs(argv, { ...options, environment });
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Starts the program as a process of its own. */
export function spawnGfs(argv: readonly string[], environment: Record<string, string>): ChildProcess {
  return spawn(process.execPath, ['--import', 'tsx', join(ROOT, 'src/main.ts'), ...argv], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

class CapturedSink implements Sink {
  readonly stream = new PassThrough();
  readonly columns: number | undefined;
  text = '';

  constructor(columns: number | undefined) {
    this.columns = columns;
    this.stream.on('data', (data: Buffer) => {
      this.text += data.toString();
    });
  }

  get isTerminal(): boolean {
    return this.columns !== undefined;
  }

  write(text: string): void {
    this.text += text;
  }
}
