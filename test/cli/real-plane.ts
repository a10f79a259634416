import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ControlPlane } from '../../src/control/control-plane.js';
import { ControlServer } from '../../src/ipc/server/control-server.js';
import { SystemClock } from '../../src/base/system-clock.js';
import { FakeWorld } from '../control/fake-world.js';
import { fakeStatus } from './fixtures.js';
import { runGfs, type RunOptions, type RunResult } from './run-gfs.js';

const TOKEN = 'token-of-a-real-plane';

/** A real control plane over layers in memory, served by the real API: what verbs with a story of their own run against. */
export class RealPlane {
  readonly folder = mkdtempSync(join(tmpdir(), 'gfs-real-plane-'));
  readonly world = new FakeWorld();
  readonly plane: ControlPlane;
  readonly #server: ControlServer;

  private constructor(plane: ControlPlane, world: FakeWorld, server: ControlServer) {
    this.plane = plane;
    this.world = world;
    this.#server = server;
    writeFileSync(join(this.folder, 'token'), TOKEN, { mode: 0o600 });
  }

  static async start(): Promise<RealPlane> {
    const world = new FakeWorld();
    const plane = await world.start();
    const node = { status: () => fakeStatus(), config: () => [], stop: () => undefined, pid: 1 };
    const server = await ControlServer.listen(
      { host: '127.0.0.1', port: 0, token: TOKEN },
      { plane, node, certificates: null, clock: new SystemClock(), log: world.log },
    );
    return new RealPlane(plane, world, server);
  }

  /** Runs `gfs WORDS`, with the folder as the place that files are in. */
  gfs(words: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const environment = {
      GFS_DAEMON_ADDRESS: this.#server.address,
      GFS_TOKEN_FILE: join(this.folder, 'token'),
      ...options.environment,
    };
    return runGfs(words, { workingFolder: this.folder, ...options, environment });
  }

  /** The same for a command that must succeed: its output. */
  async ok(...words: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.gfs(words);
    if (status !== 0) throw new Error(`gfs ${words.join(' ')}: ${String(status)} ${stderr}`);
    return stdout.trim();
  }

  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- what a command answers is what the test checks
  async json(...words: string[]): Promise<any> {
    return JSON.parse(await this.ok(...words, '-o', 'json'));
  }

  async close(): Promise<void> {
    await this.#server.close();
    await this.plane.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
