/** A node's surroundings in memory, which outlive the control plane over them: what a crash leaves is what is in here. */
import { createHash } from 'node:crypto';
import type { Clock, Random, Timer } from '../../src/base/clock.js';
import type { Log } from '../../src/base/log.js';
import { ControlPlane, type ControlPlaneOptions } from '../../src/control/control-plane.js';
import type { ExportConnection, Exports, ExportUris, OpenExport } from '../../src/control/exports.js';
import type { CreateRequest } from '../../src/control/volume-creator.js';
import { CryptoError } from '../../src/crypto/crypto-error.js';
import type { KeyVault, LoadedKey, MadeKey, VaultState } from '../../src/crypto/data-key-vault.js';
import { Operation, type BlockRequest, type Extent } from '../../src/device/block-device.js';
import { DeviceStatistics, LATENCY_BOUNDS_MS } from '../../src/device/device-statistics.js';
import { DeviceError } from '../../src/device/device-error.js';
import { MemoryMetaStore } from '../../src/meta/memory-meta-store.js';
import type { MetaOutcome, MetaStore, MetaTransaction } from '../../src/meta/meta-store.js';
import type {
  LayerId,
  LayerSummary,
  OpenVolume,
  StoreReport,
  VolumeHandle,
  VolumeHost,
} from '../../src/volume/volume-host.js';

/** Time that moves when the test says so. */
export class ManualClock implements Clock {
  #nowMs = 1_700_000_000_000;
  #timers: { atMs: number; callback: () => void }[] = [];

  wallMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs - 1_600_000_000_000;
  }

  after(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.push(timer);
    return timer as unknown as Timer;
  }

  clear(timer: Timer): void {
    this.#timers = this.#timers.filter((one) => one !== (timer as unknown));
  }

  endOfTurn(callback: () => void): void {
    setImmediate(callback);
  }

  get pendingTimers(): number {
    return this.#timers.length;
  }

  /** Moves on and runs what is due, then lets everything that follows from it happen. */
  async advance(byMs: number): Promise<void> {
    this.#nowMs += byMs;
    const due = this.#timers.filter((timer) => timer.atMs <= this.#nowMs);
    this.#timers = this.#timers.filter((timer) => timer.atMs > this.#nowMs);
    for (const timer of due) timer.callback();
    await settle();
  }
}

/** Lets promises and immediates that are under way come to rest. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 20; round += 1) await new Promise((resolve) => setImmediate(resolve));
}

export class SeededRandom implements Random {
  #draws = 0;

  bytes(count: number): Uint8Array {
    const out: Buffer[] = [];
    for (let have = 0; have < count; have += 32) {
      this.#draws += 1;
      out.push(createHash('sha256').update(`draw ${this.#draws}`).digest());
    }
    return Uint8Array.from(Buffer.concat(out).subarray(0, count));
  }
}

export class LogLines implements Log {
  readonly lines: { level: string; fields: object; message: string }[] = [];
  debug = (fields: object, message: string): void => void this.lines.push({ level: 'debug', fields, message });
  info = (fields: object, message: string): void => void this.lines.push({ level: 'info', fields, message });
  warn = (fields: object, message: string): void => void this.lines.push({ level: 'warn', fields, message });
  error = (fields: object, message: string): void => void this.lines.push({ level: 'error', fields, message });
}

export class Crash extends Error {}

/**
 * Counts the steps that change something durable and "kills the process" at one of them: from then on nothing that the
 * dead process still tries has an effect. `before` true: the step itself has not happened.
 */
export class CrashSwitch {
  steps: string[] = [];
  #at = -1;
  #before = true;
  dead = false;

  arm(step: number, before: boolean): void {
    this.steps = [];
    this.#at = step;
    this.#before = before;
    this.dead = false;
  }

  disarm(): void {
    this.arm(-1, true);
  }

  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    if (this.dead) throw new Crash(name);
    const number = this.steps.length;
    this.steps.push(name);
    if (number === this.#at && this.#before) {
      this.dead = true;
      throw new Crash(name);
    }
    const result = await work();
    if (number === this.#at) {
      this.dead = true;
      throw new Crash(name);
    }
    return result;
  }
}

interface FakeLayer {
  blockBytes: number;
  sizeBytes: number;
  damage: string;
  readonly blocks: Map<number, Uint8Array>;
  readonly epochs: number[];
  readonly secrets: string[];
}

/** Layers in memory. It holds those that use it to the rules of the contract: epochs grow, keys are 32 bytes. */
export class FakeHost implements VolumeHost {
  readonly store = new Map<number, FakeLayer>();
  readonly handles = new Map<number, FakeHandle>();
  readonly #crash: CrashSwitch;
  #lastLayer = 0;
  state: StoreReport['state'] = 'ready';
  failOpen: string | null = null;
  failDrop: string | null = null;

  constructor(crash: CrashSwitch) {
    this.#crash = crash;
  }

  createLayer(blockBytes: number, sizeBytes: number): Promise<LayerId> {
    return this.#crash.step('createLayer', () => {
      this.#lastLayer += 1;
      this.store.set(this.#lastLayer, {
        blockBytes,
        sizeBytes,
        damage: '',
        blocks: new Map(),
        epochs: [],
        secrets: [],
      });
      return Promise.resolve(this.#lastLayer as LayerId);
    });
  }

  dropLayer(layer: LayerId): Promise<void> {
    return this.#crash.step('dropLayer', () => {
      if (this.failDrop !== null)
        return Promise.reject(new DeviceError(this.failDrop, { code: 'IO', detail: this.failDrop }));
      if (this.handles.has(layer)) throw new Error('dropLayer of an open volume');
      this.store.delete(layer);
      return Promise.resolve();
    });
  }

  layers(): LayerSummary[] {
    return [...this.store].map(([layer, { blockBytes, sizeBytes, damage, blocks }]) => ({
      layer: layer as LayerId,
      blockBytes,
      sizeBytes,
      damage,
      allocatedBytes: blocks.size * blockBytes,
    }));
  }

  open(options: OpenVolume): VolumeHandle {
    const layer = this.store.get(options.layer);
    if (this.failOpen !== null) throw new DeviceError(this.failOpen, { code: 'IO', detail: this.failOpen });
    if (layer === undefined || layer.damage !== '') throw new DeviceError('damaged', { code: 'IO', detail: 'damaged' });
    if (this.handles.has(options.layer)) throw new Error('opened twice');
    if (options.epoch <= (layer.epochs.at(-1) ?? 0)) throw new Error(`epoch ${options.epoch} was used before`);
    layer.epochs.push(options.epoch);
    for (const key of options.keys) {
      layer.secrets.push(Buffer.from(key.secret).toString('hex'));
      key.secret.fill(0);
    }
    const handle = new FakeHandle(options, layer, this.#crash, () => this.handles.delete(options.layer));
    this.handles.set(options.layer, handle);
    return handle;
  }

  report(): StoreReport {
    return {
      state: this.state,
      stateReason: this.state === 'ready' ? '' : 'a test says so',
      liveBytes: 0,
      journalBytes: 0,
      replayBytes: 0,
      freeBytes: 1,
      totalBytes: 2,
      lastRecovery: 'nothing to replay',
      mapCacheHits: 0,
      mapCacheMisses: 0,
      mapCacheBytes: 0,
      appendedBytes: 0,
      checkpoints: 0,
      checkpointMsLast: 0,
      syncs: 0,
      syncMsSum: 0,
      syncBuckets: new Float64Array(LATENCY_BOUNDS_MS.length + 1),
      unauthenticBlocks: 0,
    };
  }

  checkpoint(): Promise<void> {
    return Promise.resolve();
  }

  /** What a killed process leaves: layers, and no open handle. */
  kill(): void {
    this.handles.clear();
  }
}

export class FakeHandle implements VolumeHandle {
  readonly volumeId: string;
  readonly statistics = new DeviceStatistics();
  readonly readOnly = false;
  readonly requests: BlockRequest[] = [];
  /** While true, requests wait in `requests`; `release` completes them. */
  hold = false;
  failWrites: string | null = null;
  closed = false;
  readonly #layer: FakeLayer;
  readonly #crash: CrashSwitch;
  readonly #onClose: () => void;

  constructor(options: OpenVolume, layer: FakeLayer, crash: CrashSwitch, onClose: () => void) {
    this.volumeId = options.volumeId;
    this.#layer = layer;
    this.#crash = crash;
    this.#onClose = onClose;
  }

  get blockBytes(): number {
    return this.#layer.blockBytes;
  }

  get sizeBytes(): number {
    return this.#layer.sizeBytes;
  }

  get allocatedBytes(): number {
    return this.#layer.blocks.size * this.#layer.blockBytes;
  }

  submit(request: BlockRequest): void {
    this.requests.push(request);
    if (!this.hold) this.release();
  }

  release(): void {
    for (const request of this.requests.splice(0)) this.#serve(request);
  }

  extents(offsetBytes: number, lengthBytes: number, extentsMax: number): Promise<Extent[]> {
    const extents: { lengthBytes: number; allocated: boolean }[] = [];
    for (let at = offsetBytes; at < offsetBytes + lengthBytes; at += this.blockBytes) {
      const allocated = this.#layer.blocks.has(at / this.blockBytes);
      const last = extents.at(-1);
      if (last?.allocated === allocated) last.lengthBytes += this.blockBytes;
      else if (extents.length === extentsMax) break;
      else extents.push({ lengthBytes: this.blockBytes, allocated });
    }
    return Promise.resolve(extents);
  }

  expand(sizeBytes: number): Promise<void> {
    return this.#crash.step('expand', () => {
      this.#layer.sizeBytes = sizeBytes;
      return Promise.resolve();
    });
  }

  close(): Promise<void> {
    this.closed = true;
    this.#onClose();
    return Promise.resolve();
  }

  #serve(request: BlockRequest): void {
    if (this.closed) {
      request.done({ code: 'CLOSED' });
      return;
    }
    const { operation, offsetBytes, lengthBytes, data, dataOffset } = request;
    if (operation === Operation.WRITE && this.failWrites !== null) {
      request.done({ code: 'IO', detail: this.failWrites });
      return;
    }
    for (let done = 0; done < lengthBytes;) {
      const at = offsetBytes + done;
      const [index, within] = [Math.floor(at / this.blockBytes), at % this.blockBytes];
      const length = Math.min(this.blockBytes - within, lengthBytes - done);
      const block = this.#layer.blocks.get(index);
      if (operation === Operation.WRITE) {
        const target = block ?? new Uint8Array(this.blockBytes);
        target.set(data.subarray(dataOffset + done, dataOffset + done + length), within);
        this.#layer.blocks.set(index, target);
      } else if (operation === Operation.READ) {
        const source = block?.subarray(within, within + length) ?? new Uint8Array(length);
        data.set(source, dataOffset + done);
      }
      done += length;
    }
    request.done(null);
  }
}

/** Keys whose wrapped copy is the key itself, turned round. Files survive a crash. */
export class FakeVault implements KeyVault {
  readonly files = new Map<number, string>();
  readonly providerName = 'file';
  readonly warnings: readonly string[] = [];
  readonly #crash: CrashSwitch;
  state: VaultState = { usable: true };
  /** Makes `load` fail with this. */
  trouble: CryptoError | null = null;

  constructor(crash: CrashSwitch) {
    this.#crash = crash;
  }

  describe(): string {
    return 'keys of a test';
  }

  create(number: number): Promise<MadeKey> {
    return this.#crash.step('vault.create', () => {
      if (this.files.has(number)) throw new CryptoError('taken', { code: 'NUMBER_TAKEN', keyNumber: number });
      const secret = createHash('sha256').update(`key ${number}`).digest();
      this.files.set(number, secret.toString('hex'));
      return Promise.resolve({
        number,
        secret: Uint8Array.from(secret),
        record: new TextEncoder().encode(secret.toString('hex')),
      });
    });
  }

  load(number: number, metaCopy: Uint8Array | null): Promise<LoadedKey> {
    if (this.trouble !== null) return Promise.reject(this.trouble);
    const file = this.files.get(number);
    const hex = metaCopy === null ? file : new TextDecoder().decode(metaCopy);
    if (hex === undefined)
      return Promise.reject(new CryptoError('no copy', { code: 'MISSING', subject: `key ${number}` }));
    const healed = metaCopy === null ? ({ copy: 'meta', reason: 'it was missing' } as const) : null;
    return Promise.resolve({
      number,
      secret: Uint8Array.from(Buffer.from(hex, 'hex')),
      record: new TextEncoder().encode(hex),
      healed,
    });
  }

  erase(number: number): Promise<void> {
    return this.#crash.step('vault.erase', () => {
      this.files.delete(number);
      return Promise.resolve();
    });
  }

  numbers(): Promise<number[]> {
    return Promise.resolve([...this.files.keys()].sort((a, b) => a - b));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

export class FakeExports implements Exports {
  readonly offered = new Map<string, OpenExport>();
  readonly clients = new Map<string, ExportConnection[]>();

  open(exported: OpenExport): void {
    this.offered.set(exported.volumeId, exported);
  }

  close(volumeId: string): Promise<void> {
    this.offered.delete(volumeId);
    this.clients.delete(volumeId);
    return Promise.resolve();
  }

  connections(volumeId: string): readonly ExportConnection[] {
    return this.clients.get(volumeId) ?? [];
  }

  kick(volumeId: string, address: string): Promise<readonly string[]> {
    const all = this.clients.get(volumeId) ?? [];
    const dropped = all.filter((one) => address === '' || one.address === address);
    this.clients.set(
      volumeId,
      all.filter((one) => !dropped.includes(one)),
    );
    return Promise.resolve(dropped.map((one) => one.address));
  }

  uris(name: string): ExportUris {
    return { uri: `nbd://127.0.0.1:10809/${name}`, socketUri: `nbd+unix:///${name}?socket=/run/nbd.sock` };
  }

  connect(volumeId: string, address: string): void {
    const all = this.clients.get(volumeId) ?? [];
    this.clients.set(volumeId, [...all, { address, sinceMs: 0, inFlight: 0, transport: 'tcp' }]);
  }
}

/** A meta store whose transactions are steps of the crash switch, and which counts them. */
class SteppedMeta implements MetaStore {
  readonly #inner: MetaStore;
  readonly #crash: CrashSwitch;
  transactions = 0;
  /** Makes transactions fail with this. */
  trouble: Error | null = null;
  damaged: readonly string[] = [];

  constructor(inner: MetaStore, crash: CrashSwitch) {
    this.#inner = inner;
    this.#crash = crash;
  }

  get: MetaStore['get'] = (key) => this.#inner.get(key);
  watch: MetaStore['watch'] = (...of) => this.#inner.watch(...of);
  grantLease: MetaStore['grantLease'] = (ttlMs) => this.#inner.grantLease(ttlMs);
  close: MetaStore['close'] = () => this.#inner.close();

  async list(prefix: string): ReturnType<MetaStore['list']> {
    const listing = await this.#inner.list(prefix);
    const damaged = this.damaged.filter((key) => key.startsWith(prefix));
    return { ...listing, entries: listing.entries.filter((entry) => !damaged.includes(entry.key)), damaged };
  }

  transaction(transaction: MetaTransaction): Promise<MetaOutcome> {
    this.transactions += 1;
    if (this.trouble !== null) return Promise.reject(this.trouble);
    return this.#crash.step('meta', () => this.#inner.transaction(transaction));
  }

  scrub(): Promise<void> {
    return this.#crash.step('meta scrub', () => this.#inner.scrub());
  }
}

export class FakeWorld {
  readonly crash = new CrashSwitch();
  readonly clock = new ManualClock();
  readonly random = new SeededRandom();
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
      { blockBytesDefault: 4096, ...options },
      {
        meta,
        host,
        vault,
        exports,
        clock,
        random,
        log,
        isZero: (bytes, offset, length) => bytes.subarray(offset, offset + length).every((byte) => byte === 0),
      },
    );
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

/** Waits for something that happens without an event of its own; fails when it does not. */
export async function until(reached: () => boolean, what: string): Promise<void> {
  const deadlineMs = performance.now() + 10_000;
  while (!reached()) {
    if (performance.now() > deadlineMs) throw new Error(`never came: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
