/**
 * A master key that only a program of the user's can reach: a smart card's tool, a cloud's command line, a script.
 *
 *   ARGV... wrap      stdin: the data key, 32 bytes, as one line of base64; stdout: the wrapped key as base64
 *   ARGV... unwrap    stdin: what `wrap` gave, as one line of base64; stdout: the data key as base64
 *
 * Base64 and not raw bytes, so that a shell script can be one. White space in the output does not count. Exit status 0
 * or it failed; then its stderr goes into the error, so it must print no keys there. It runs without a shell, in a
 * process group of its own, one call at a time, and is killed with its children when it takes too long.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Clock } from '../base/clock.js';
import { Mutex } from '../base/mutex.js';
import { CryptoError } from './crypto-error.js';
import type { KeyProvider } from './key-provider.js';
import {
  COMMAND_OUTPUT_BYTES_MAX,
  COMMAND_TIMEOUT_MS,
  DATA_KEY_BYTES,
  STDERR_CHARACTERS_SHOWN,
  WRAPPED_BYTES_MAX,
} from './limits.js';
import { providerClosed } from './local-key-provider.js';

export interface CommandKeyProviderOptions {
  readonly argv: readonly string[];
  readonly timeoutMs?: number;
}

export interface CommandKeyProviderDependencies {
  readonly clock: Clock;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

type Verb = 'wrap' | 'unwrap';

/** Each call is one run of the program. Failures are CryptoError COMMAND_FAILED, after `close` CLOSED. */
export class CommandKeyProvider implements KeyProvider {
  readonly name = 'command';
  readonly #program: string;
  readonly #args: readonly string[];
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #environment: Readonly<Record<string, string | undefined>>;
  readonly #calls = new Mutex();
  #closed = false;

  /** Throws CryptoError OPTIONS when there is no program. */
  constructor(options: CommandKeyProviderOptions, dependencies: CommandKeyProviderDependencies) {
    const [program = '', ...args] = options.argv;
    if (program === '') throw new CryptoError('the key command names no program', { code: 'OPTIONS', option: 'argv' });
    this.#program = program;
    this.#args = args;
    this.#timeoutMs = options.timeoutMs ?? COMMAND_TIMEOUT_MS;
    this.#clock = dependencies.clock;
    this.#environment = dependencies.environment;
  }

  /** Only the program: its arguments may hold secrets. */
  describe(): string {
    return `program ${this.#program}`;
  }

  async wrap(dataKey: Uint8Array): Promise<Uint8Array> {
    const wrapped = await this.#inTurn('wrap', dataKey);
    if (wrapped.length === 0 || wrapped.length > WRAPPED_BYTES_MAX) {
      throw this.#failed(
        'wrap',
        0,
        `gave ${String(wrapped.length)} bytes; 1 to ${String(WRAPPED_BYTES_MAX)} are expected`,
      );
    }
    return wrapped;
  }

  async unwrap(wrapped: Uint8Array): Promise<Uint8Array> {
    const dataKey = await this.#inTurn('unwrap', wrapped);
    if (dataKey.length !== DATA_KEY_BYTES) {
      dataKey.fill(0);
      throw this.#failed('unwrap', 0, `gave ${String(dataKey.length)} bytes; ${String(DATA_KEY_BYTES)} are expected`);
    }
    return dataKey;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#calls.settled();
  }

  #inTurn(verb: Verb, input: Uint8Array): Promise<Uint8Array> {
    return this.#calls.run(async () => {
      if (this.#closed) throw providerClosed();
      return this.#run(verb, input);
    });
  }

  #run(verb: Verb, input: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const child = spawn(this.#program, [...this.#args, verb], {
        stdio: ['pipe', 'pipe', 'pipe'],
        env: this.#environment,
        detached: true,
      });
      const stdout = collect(child, child.stdout);
      const stderr = collect(child, child.stderr);
      let timedOut = false;
      const timer = this.#clock.after(this.#timeoutMs, () => {
        timedOut = true;
        killGroup(child);
      });
      const fail = (exitStatus: number | null, what: string): void => {
        const said = stderr.bytes().toString('utf8').trim().slice(-STDERR_CHARACTERS_SHOWN);
        reject(this.#failed(verb, exitStatus, said === '' ? what : `${what}: ${said}`));
      };
      child.once('error', (thrown) => {
        this.#clock.clear(timer);
        fail(null, `could not be started (${thrown.message})`);
      });
      child.once('close', (status, signal) => {
        this.#clock.clear(timer);
        if (timedOut) fail(null, `took longer than ${String(this.#timeoutMs)} ms`);
        else if (stdout.overflowed() || stderr.overflowed()) fail(null, 'printed too much');
        else if (signal !== null) fail(null, `was ended by ${signal}`);
        else if (status !== 0) fail(status, `ended with status ${String(status)}`);
        else {
          const output = stdout.bytes();
          const decoded = decodeBase64(output.toString('latin1'));
          output.fill(0);
          if (decoded === null) fail(0, 'did not print base64');
          else resolve(decoded);
        }
      });
      // A program that ends without reading its input breaks the pipe; its exit status says more than EPIPE.
      child.stdin.on('error', () => undefined);
      child.stdin.end(`${Buffer.from(input).toString('base64')}\n`);
    });
  }

  #failed(verb: Verb, exitStatus: number | null, detail: string): CryptoError {
    const message = `the key program ${this.#program} (${verb}) ${detail}`;
    return new CryptoError(message, { code: 'COMMAND_FAILED', exitStatus, detail });
  }
}

function collect(child: ChildProcess, stream: NodeJS.ReadableStream): { bytes(): Buffer; overflowed(): boolean } {
  const chunks: Buffer[] = [];
  let total = 0;
  stream.on('data', (chunk: Buffer) => {
    total += chunk.length;
    if (total <= COMMAND_OUTPUT_BYTES_MAX) chunks.push(chunk);
    else killGroup(child);
  });
  return { bytes: () => Buffer.concat(chunks), overflowed: () => total > COMMAND_OUTPUT_BYTES_MAX };
}

/** A script's own children hold its pipes open; they go too. */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has just ended by itself.
  }
}

function decodeBase64(text: string): Uint8Array | null {
  const packed = text.replaceAll(/\s/g, '');
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(packed) || packed.length % 4 !== 0) return null;
  return Uint8Array.from(Buffer.from(packed, 'base64'));
}
