import { crc32c } from '../../src/base/crc32c.js';
import { ControlPlane, type ControlPlaneOptions } from '../../src/control/control-plane.js';
import type { CreateRequest } from '../../src/control/volume-creator.js';
import { MemoryMetaStore } from '../../src/meta/memory-meta-store.js';
import { LogLines } from '../base/log-lines.js';
import { ManualClock } from '../base/manual-clock.js';
import { SeededRandom } from '../base/seeded-random.js';
import { settle } from '../base/waiting.js';
import { CrashSwitch } from './crash-switch.js';
import { FakeExports } from './fake-exports.js';
import { FakeHost } from './fake-host.js';
import { FakeVault } from './fake-vault.js';
import { SteppedMeta } from './stepped-meta.js';

const NODE_ID = '6f9619ff-8b86-4011-b42d-00cf4fc964ff';

/** A node's surroundings in memory, which outlive the control plane over them: what a crash leaves is what is in here. */
export class FakeWorld {
  readonly crash = new CrashSwitch();
  readonly clock = new ManualClock();
  readonly random = new SeededRandom(1);
  readonly log = new LogLines();
  readonly meta = new SteppedMeta(new MemoryMetaStore({}, { clock: this.clock }), this.crash);
  readonly host = new FakeHost(this.crash);
  readonly vault = new FakeVault(this.crash);
  exports = new FakeExports();

  /** A control plane over what is there, started. */
  async start(options: Partial<ControlPlaneOptions> = {}): Promise<ControlPlane> {
    const plane = this.plane(options);
    await plane.start();
    return plane;
  }

  plane(options: Partial<ControlPlaneOptions> = {}): ControlPlane {
    const { meta, host, vault, exports, clock, random, log } = this;
    return new ControlPlane(
      { nodeId: NODE_ID, blockBytesDefault: 4096, scrubs: { intervalMs: 0, bytesPerSecond: 2 ** 20 }, ...options },
      {
        meta,
        host,
        vault,
        exports,
        clock,
        random,
        log,
        crc32c: (bytes, offset, length, seed) => crc32c(bytes.subarray(offset, offset + length), seed),
        isZero: (bytes, offset, length) => bytes.subarray(offset, offset + length).every((byte) => byte === 0),
      },
    );
  }

  /** Time goes on by so much, and everything that follows from it happens. */
  async advance(byMs: number): Promise<void> {
    this.clock.advance(byMs);
    await settle();
  }

  /** The process dies: handles and connections go, layers, rows and key files stay. */
  kill(): void {
    this.crash.disarm();
    this.host.kill();
    this.exports = new FakeExports();
  }
}

export function request(name: string, fields: Partial<CreateRequest> = {}): CreateRequest {
  return {
    name,
    sizeBytes: 1024 * 1024,
    storageClass: '',
    volumeType: '',
    replicas: 0,
    labels: {},
    blockBytes: 0,
    ...fields,
  };
}

export const TESTER = { actor: 'test' };
