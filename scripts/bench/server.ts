import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect } from 'node:net';
import { BenchError } from './bench-error.js';
import { type Children, SAID_CHARACTERS_MAX, type ServerOptions, whenGone } from './children.js';
import { cpuSeconds } from './process-usage.js';

const READY_MS_MAX = 60_000;
const STOP_MS_MAX = 60_000;
const RETRY_MS = 10;

/** A server process that answers on a unix socket. */
export class Server {
  readonly name: string;
  readonly #child: ChildProcess;
  #said = '';

  private constructor(name: string, children: Children, line: readonly [string, ...string[]], options: ServerOptions) {
    this.name = name;
    const [program, ...args] = line;
    const heard = (text: string): void => {
      this.#said = (this.#said + text).slice(-SAID_CHARACTERS_MAX);
      options.heard(text);
    };
    this.#child = children.serve(program, args, { ...options, heard });
  }

  static launch(
    name: string,
    children: Children,
    line: readonly [string, ...string[]],
    options: ServerOptions,
  ): Server {
    return new Server(name, children, line, options);
  }

  /** Starts one and waits until it takes connections. Throws BenchError with what it said if it does not. */
  static async start(
    name: string,
    children: Children,
    line: readonly [string, ...string[]],
    options: { readonly cwd: string; readonly socket: string },
  ): Promise<Server> {
    // Some leave their socket behind, and refuse to start where one is.
    rmSync(options.socket, { force: true });
    const server = new Server(name, children, line, { cwd: options.cwd, heard: () => undefined });
    await server.#answers(options.socket);
    return server;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get runs(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** The end of what it wrote. */
  get said(): string {
    return this.#said;
  }

  cpuSeconds(): number {
    return cpuSeconds(this.pid);
  }

  /** Resolves when it has ended. */
  gone(): Promise<void> {
    return whenGone(this.#child);
  }

  /** Asks it to end and waits; one that does not is killed, and that is a failure. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (!this.runs) return;
    const gone = this.gone();
    this.#child.kill(signal);
    const late = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS_MAX);
    await gone;
    clearTimeout(late);
    if (this.#child.signalCode === 'SIGKILL' && signal !== 'SIGKILL') {
      throw new BenchError(`${this.name} did not end in ${STOP_MS_MAX / 1000} s\n${this.#said}`);
    }
  }

  /** These programs tell nobody when they are ready: whoever wants to know has to knock. */
  async #answers(socket: string): Promise<void> {
    const deadlineMs = performance.now() + READY_MS_MAX;
    while (!(await accepts(socket))) {
      if (!this.runs) throw new BenchError(`${this.name} ended before it took connections\n${this.#said}`);
      if (performance.now() > deadlineMs) {
        throw new BenchError(`${this.name} took no connections in ${READY_MS_MAX / 1000} s\n${this.#said}`);
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

async function accepts(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
