import { join } from 'node:path';
import { isLoopback } from '../base/address.js';
import { parseDuration } from '../base/duration.js';
import type { ControlClient } from '../ipc/client.js';
import { CALL_MS_DEFAULT } from '../ipc/client-limits.js';
import { findDaemon } from '../ipc/client-discovery.js';
import { usageError } from './cli-error.js';
import { readClientTls, type TlsOption } from './client-tls.js';
import type { GlobalValues } from './global-options.js';
import { Output, type OutputFormat } from './output/output.js';
import type { World } from './world.js';

/** One run of one command: its world, its output, and the daemon that it talks to. */
export class Session {
  readonly world: World;
  readonly output: Output;
  readonly #globals: GlobalValues;
  #client: Promise<ControlClient> | undefined;
  #lasting: ControlClient | undefined;

  constructor(world: World, globals: GlobalValues) {
    this.world = world;
    this.#globals = globals;
    this.output = new Output({
      format: (globals.output ?? 'table') as OutputFormat,
      stdout: world.stdout,
      stderr: world.stderr,
      colour: wantsColour(world, globals),
    });
  }

  get signal(): AbortSignal {
    return this.world.signal;
  }

  get timeoutMs(): number {
    const { timeout } = this.#globals;
    if (timeout === undefined) return CALL_MS_DEFAULT;
    // Seconds are what people mean by a bare number here.
    const timeoutMs = parseDuration(/^\d+$/.test(timeout) ? `${timeout}s` : timeout);
    if (timeoutMs === 0) throw usageError('--timeout must be longer than nothing, such as 30s');
    return timeoutMs;
  }

  /** The client of the daemon that is meant; found once, connected by its first call. */
  client(): Promise<ControlClient> {
    this.#client ??= this.#connect();
    return this.#client;
  }

  /** A client that an interruption does not stop: for work that must be finished or undone in order. */
  async lastingClient(): Promise<ControlClient> {
    this.#lasting ??= (await this.client()).uninterrupted();
    return this.#lasting;
  }

  /** A path as the user means it. */
  path(file: string): string {
    return file.startsWith('/') ? file : join(this.world.workingFolder, file);
  }

  async close(): Promise<void> {
    await this.#lasting?.close();
    if (this.#client === undefined) return;
    try {
      await (await this.#client).close();
    } catch {
      // It could not even be opened; the command has reported that.
    }
  }

  async #connect(): Promise<ControlClient> {
    const { timeoutMs, world } = this;
    const target = findDaemon(
      {
        address: this.#globals['daemon-address'] ?? nonEmpty(world.environment['GFS_DAEMON_ADDRESS']),
        tokenFile: this.#tokenFile(),
      },
      world.registry,
    );
    checkAddress(target.address);
    const tls = readClientTls((option) => this.#tlsFile(option));
    if (target.token !== '' && tls === null) refuseClearToken(target.address);
    // gRPC takes a good part of a second to load: only commands that talk to a daemon pay for it.
    const { ControlClient } = await import('../ipc/client.js');
    const { address, token } = target;
    return new ControlClient({ address, token, tls, timeoutMs, signal: world.signal, clock: world.clock });
  }

  #tlsFile(option: TlsOption): string | undefined {
    const variable = `GFS_${option.toUpperCase().replace('-', '_')}`;
    const file = this.#globals[option] ?? nonEmpty(this.world.environment[variable]);
    return file === undefined ? undefined : this.path(file);
  }

  #tokenFile(): string | undefined {
    const file = this.#globals['token-file'] ?? nonEmpty(this.world.environment['GFS_TOKEN_FILE']);
    return file === undefined ? undefined : this.path(file);
  }
}

function wantsColour(world: World, globals: GlobalValues): boolean {
  return world.stdout.isTerminal && !globals['no-color'] && nonEmpty(world.environment['NO_COLOR']) === undefined;
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}

function checkAddress(address: string): void {
  if (address.startsWith('unix:') && address.length > 5) return;
  const port = Number(/^(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):(\d{1,5})$/.exec(address)?.[1]);
  if (port >= 1 && port <= 65_535) return;
  throw usageError(`"${address}" is not a daemon's address; it is HOST:PORT, such as 127.0.0.1:8090, or unix:PATH`);
}

/** The connection is not encrypted, and whoever listens at an address elsewhere would read the token. */
function refuseClearToken(address: string): void {
  if (address.startsWith('unix:')) return;
  const host = address.slice(0, address.lastIndexOf(':')).replaceAll(/[[\]]/g, '');
  if (isLoopback(host)) return;
  throw usageError(
    `${address} is not on this machine's loopback, and the token would cross the network in clear; ` +
      'give --tls-ca, --tls-cert and --tls-key, run gfs beside the daemon, or forward its port (ssh -L 8090:127.0.0.1:8090 HOST)',
  );
}
