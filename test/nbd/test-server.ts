import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { onTestFinished } from 'vitest';
import type { Clock } from '../../src/base/clock.js';
import { SystemClock } from '../../src/base/system-clock.js';
import type { BlockDevice } from '../../src/device/block-device.js';
import { DeviceStatistics } from '../../src/device/device-statistics.js';
import type { ExportFault } from '../../src/nbd/export-directory.js';
import type { TlsMode } from '../../src/nbd/handshake.js';
import type { NbdLimits } from '../../src/nbd/limits.js';
import { NbdServer } from '../../src/nbd/server.js';
import type { TlsOptions } from '../../src/nbd/tls-terminator.js';
import { WireClient } from './wire-client.js';

type Duplicate = (fd: number) => number;

export interface TestExport {
  readonly device: BlockDevice;
  readonly description?: string;
  readonly readOnly?: boolean;
  /** Refuses to open it. */
  readonly fault?: ExportFault;
}

export interface TestServerOptions {
  readonly exports: Readonly<Record<string, TestExport>>;
  readonly limits?: Partial<NbdLimits>;
  readonly tls?: { readonly mode: TlsMode; readonly options: TlsOptions };
  readonly clock?: Clock;
  /** Receive by copying, as on TLS, although descriptors can be duplicated. */
  readonly copying?: boolean;
}

/** `usage()` of a server on which nothing is left of its sessions. */
export const NOTHING_HELD = { connections: 0, negotiating: 0, requestsInFlight: 0, bufferBytes: 0 };

/** A server on a unix socket (and TCP) in a temporary folder, with a record of what it tells. */
export class TestServer {
  readonly server: NbdServer;
  readonly folder: string;
  readonly socketPath: string;
  readonly statistics = new DeviceStatistics();
  /** Event names with their reason or export. */
  readonly events: string[] = [];
  opened = 0;
  closed = 0;
  port = 0;
  readonly #clients: WireClient[] = [];
  readonly #waiters: { readonly check: () => boolean; readonly resolve: () => void }[] = [];

  private constructor(options: TestServerOptions) {
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'nbd-'));
    this.socketPath = path.join(this.folder, 'nbd.sock');
    const duplicate = options.copying === true ? null : duplicateDescriptor;
    this.server = new NbdServer(
      {
        ...(options.limits === undefined ? {} : { limits: options.limits }),
        ...(options.tls === undefined ? {} : { tls: options.tls.options }),
      },
      {
        clock: options.clock ?? new SystemClock(),
        ...(duplicate === null ? {} : { duplicateDescriptor: duplicate }),
        exports: {
          list: () =>
            Object.entries(options.exports).map(([name, each]) => ({ name, description: each.description ?? '' })),
          open: (name) => {
            const found = options.exports[name];
            if (found === undefined) return { code: 'UNKNOWN' };
            if (found.fault !== undefined) return found.fault;
            this.opened += 1;
            return {
              volumeId: `id-${name}`,
              device: found.device,
              description: found.description ?? '',
              readOnly: found.readOnly ?? false,
              statistics: this.statistics,
              closed: () => {
                this.closed += 1;
                this.#told(null);
              },
            };
          },
        },
        events: {
          connected: (client) => this.#told(`connected ${client.transport} ${client.exportName}`),
          disconnected: (client) => this.#told(`disconnected ${client.reason}`),
          handshakeFailed: (client) => this.#told(`handshake ${client.reason}`),
          connectionRefused: (refused) => this.#told(`refused ${refused.reason}`),
          requestFailed: (failed) => this.#told(`failed ${failed.fault.code} ${String(failed.suppressed)}`),
        },
      },
    );
  }

  /** A server that listens until the running test has ended, however it ended. */
  static async start(options: TestServerOptions): Promise<TestServer> {
    const test = new TestServer(options);
    onTestFinished(() => test.#stop());
    const mode = options.tls?.mode ?? 'none';
    await test.server.listenUnix(test.socketPath, 0o600, mode);
    test.port = (await test.server.listenTcp('127.0.0.1', 0, mode)).port;
    return test;
  }

  uri(name: string): string {
    return `nbd+unix:///${name}?socket=${this.socketPath}`;
  }

  async connect(): Promise<WireClient> {
    const client = await WireClient.connect({ path: this.socketPath });
    this.#clients.push(client);
    return client;
  }

  async connectTcp(): Promise<WireClient> {
    const client = await WireClient.connect({ host: '127.0.0.1', port: this.port });
    this.#clients.push(client);
    return client;
  }

  /** Resolves as soon as `check` holds after something was told. */
  async until(check: () => boolean): Promise<void> {
    if (check()) return;
    await new Promise<void>((resolve) => this.#waiters.push({ check, resolve }));
  }

  /** How often an event that begins with `prefix` was told. */
  count(prefix: string): number {
    return this.events.filter((each) => each.startsWith(prefix)).length;
  }

  async #stop(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    // The folder goes first: it must not stay behind when a test fails because a session does not end.
    fs.rmSync(this.folder, { recursive: true, force: true });
    await this.server.close();
  }

  #told(event: string | null): void {
    if (event !== null) this.events.push(event);
    const waiting = this.#waiters.splice(0);
    for (const waiter of waiting) {
      if (waiter.check()) waiter.resolve();
      else this.#waiters.push(waiter);
    }
  }
}

/** From the addon, where it is built; null: tests say that they run without it. */
export const duplicateDescriptor: Duplicate | null = await import('../../src/io/descriptors.js').then(
  (descriptors) => descriptors.duplicateDescriptor,
  () => null,
);

/** The ways in which bytes reach a session; what is not possible here is named. */
export const RECEIVE_PATHS: readonly { readonly path: string; readonly copying: boolean }[] = (() => {
  const copying = { path: 'copied from the socket', copying: true };
  if (duplicateDescriptor !== null) return [{ path: 'received in place', copying: false }, copying];
  console.log('SKIPPED: receiving in place (the native addon is not built)');
  return [copying];
})();
