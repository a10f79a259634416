import { Operation, type BlockRequest, type Extent } from '../../src/device/block-device.js';
import { DeviceError } from '../../src/device/device-error.js';
import { DeviceStatistics, LATENCY_BOUNDS_MS } from '../../src/device/device-statistics.js';
import type { QosSettings } from '../../src/model/qos-settings.js';
import type {
  ChangedRanges,
  LayerId,
  LayerSummary,
  LayerUsage,
  OpenVolume,
  PlainBlocks,
  StoreReport,
  ThrottleReading,
  VolumeHandle,
  VolumeHost,
  VolumeKeys,
} from '../../src/volume/volume-host.js';
import type { BadRange, ScrubProgress, ScrubRequest } from '../../src/volume/volume-scrub.js';
import type { CrashSwitch } from './crash-switch.js';

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
  /** What is clean again of what scrubs found. */
  mended: (range: BadRange) => boolean = () => false;

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

  freeze(): Promise<LayerId[]> {
    return Promise.reject(new Error('this host has no snapshots'));
  }

  usage(layer: LayerId): Promise<LayerUsage> {
    const found = this.store.get(layer);
    const bytes = (found?.blocks.size ?? 0) * (found?.blockBytes ?? 0);
    return Promise.resolve({ exclusiveBytes: bytes, referencedBytes: bytes });
  }

  diff(): Promise<ChangedRanges> {
    return Promise.reject(new Error('this host has no snapshots'));
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

  stillBad(ranges: readonly BadRange[]): Promise<BadRange[]> {
    return Promise.resolve(ranges.filter((range) => !this.mended(range)));
  }

  layers(): LayerSummary[] {
    return [...this.store].map(([layer, { blockBytes, sizeBytes, damage, blocks }]) => ({
      layer: layer as LayerId,
      parent: null,
      state: 'head',
      hidden: false,
      merge: null,
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
  /** What a scrub of it yields, from the position on that it is given. */
  scrubSteps: readonly ScrubProgress[] = [];
  /** Asked before each step of a scrub; the step waits for what it returns. */
  beforeScrubStep: (request: ScrubRequest) => Promise<void> = () => Promise.resolve();
  qos: QosSettings | null = null;
  throttling: ThrottleReading = { throttledMs: 0, waitedMs: 0, throttledRequests: 0, waiting: 0 };
  closed = false;
  keyNumbers: readonly number[];
  plain: PlainBlocks | undefined;
  readonly #layer: FakeLayer;
  readonly #crash: CrashSwitch;
  readonly #onClose: () => void;

  constructor(options: OpenVolume, layer: FakeLayer, crash: CrashSwitch, onClose: () => void) {
    this.volumeId = options.volumeId;
    this.keyNumbers = options.keys.map((key) => key.number);
    this.plain = options.plain;
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

  setQos(settings: QosSettings | null): void {
    this.qos = settings;
  }

  expand(sizeBytes: number): Promise<void> {
    return this.#crash.step('expand', () => {
      this.#layer.sizeBytes = sizeBytes;
      return Promise.resolve();
    });
  }

  async rekey(next: VolumeKeys, decided: () => Promise<void>): Promise<void> {
    await decided();
    await this.#crash.step('rekey', () => {
      for (const key of next.keys) key.secret.fill(0);
      this.keyNumbers = next.keys.map((key) => key.number);
      this.plain = next.plain;
      return Promise.resolve();
    });
  }

  async *scrub(request: ScrubRequest): AsyncGenerator<ScrubProgress, void, void> {
    const from = request.from?.leaf ?? 0;
    for (const step of this.scrubSteps.filter(({ position }) => position.leaf >= from)) {
      await this.beforeScrubStep(request);
      if (this.closed) throw new DeviceError('the volume is closed', { code: 'CLOSED' });
      if (request.signal.aborted) return;
      yield step;
    }
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
