import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { BenchError } from './bench-error.js';

export interface RunOptions {
  /** It is killed after so long. */
  readonly limitMs: number;
  readonly cwd: string;
}

export interface ServerOptions {
  readonly cwd: string;
  readonly environment?: NodeJS.ProcessEnv;
  /** Gets every piece that it writes. */
  readonly heard: (text: string) => void;
}

/** The end of what a program said that is kept to tell why it failed. */
export const SAID_CHARACTERS_MAX = 4000;

/** Every process that the bench starts. Whatever happens, none of them outlives it. */
export class Children {
  readonly #running = new Set<ChildProcess>();
  #closed = false;

  /** Runs a program to its end. Throws BenchError with what it said when it fails. */
  async run(
    program: string,
    args: readonly string[],
    options: RunOptions,
  ): Promise<{ stdout: string; stderr: string }> {
    let stdout = '';
    let stderr = '';
    const child = this.#start(program, args, { cwd: options.cwd, environment: process.env });
    child.stdout?.on('data', (data: Buffer) => (stdout += data.toString()));
    child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, options.limitMs);
    await closed(child, program);
    clearTimeout(timer);
    if (child.exitCode !== 0) {
      const how = late ? `not done in ${options.limitMs / 1000} s` : `exit status ${child.exitCode ?? 'by a signal'}`;
      const said = `${stdout}\n${stderr}`.trim().slice(-SAID_CHARACTERS_MAX);
      throw new BenchError(`${program} ${args.join(' ')}: ${how}\n${said}`);
    }
    return { stdout, stderr };
  }

  /** Starts a program that stays. */
  serve(program: string, args: readonly string[], options: ServerOptions): ChildProcess {
    const child = this.#start(program, args, options);
    child.stdout?.on('data', (data: Buffer) => options.heard(data.toString()));
    child.stderr?.on('data', (data: Buffer) => options.heard(data.toString()));
    child.on('error', (error) => options.heard(`${error.message}\n`));
    return child;
  }

  /** Kills what still runs, and waits until it is gone. Nothing can be started afterwards. */
  async close(): Promise<void> {
    this.#closed = true;
    const running = [...this.#running];
    for (const child of running) child.kill('SIGKILL');
    await Promise.all(running.map((child) => whenGone(child)));
  }

  #start(
    program: string,
    args: readonly string[],
    options: { cwd: string; environment?: NodeJS.ProcessEnv },
  ): ChildProcess {
    if (this.#closed) throw new BenchError('interrupted');
    // A process group of its own: Ctrl-C is for the bench, which ends them in order.
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.environment ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#running.add(child);
    child.once('close', () => this.#running.delete(child));
    child.once('error', () => this.#running.delete(child));
    return child;
  }
}

/** Resolves when it has ended; at once if it did not start. */
export async function whenGone(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  await once(child, 'exit');
}

async function closed(child: ChildProcess, program: string): Promise<void> {
  try {
    await once(child, 'close');
  } catch (thrown) {
    throw new BenchError(`${program} cannot be started: ${String(thrown)}`);
  }
}
