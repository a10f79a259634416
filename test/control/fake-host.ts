import { Operation, RequestFlag, type BlockRequest, type Extent } from '../../src/device/block-device.js';
import { DeviceError } from '../../src/device/device-error.js';
import { DeviceStatistics, LATENCY_BOUNDS_MS } from '../../src/device/device-statistics.js';
import type { QosSettings } from '../../src/model/qos-settings.js';
import type {
  ChangedRange,
  ChangedRanges,
  LayerId,
  LayerSummary,
  LayerUsage,
  OpenVolume,
  PlainBlocks,
  ResealOptions,
  ResealOutcome,
  StoreReport,
  ThrottleReading,
  VolumeHandle,
  VolumeHost,
  VolumeKeys,
} from '../../src/volume/volume-host.js';
import type { BadRange, ScrubProgress, ScrubRequest } from '../../src/volume/volume-scrub.js';
import type { CrashSwitch } from './crash-switch.js';
import { openFake, sealFake } from './fake-sealed.js';

interface FakeLayer {
  blockBytes: number;
  sizeBytes: number;
  damage: string;
  parent: number | null;
  state: LayerSummary['state'];
  hidden: boolean;
  /** What the layer itself says of a block: null reads as zeros and hides the parent's. */
  readonly blocks: Map<number, Uint8Array | null>;
  readonly epochs: number[];
  readonly secrets: string[];
}

/** The layers that one store holds, and what they show. */
type Layers = Map<number, FakeLayer>;

/** What a layer shows of a block. */
function shownBlock(layers: Layers, layer: FakeLayer, index: number): Uint8Array | null {
  for (let at: FakeLayer | undefined = layer; at !== undefined; at = layers.get(at.parent ?? 0)) {
    if ((index + 1) * at.blockBytes > at.sizeBytes) return null;
    const block = at.blocks.get(index);
    if (block !== undefined) return block;
  }
  return null;
}

/** Layers in memory. It holds those that use it to the rules of the contract: epochs grow, keys are 32 bytes. */
export class FakeHost implements VolumeHost {
  space = { freeBytes: 1, totalBytes: 2 };
  readonly store = new Map<number, FakeLayer>();
  readonly handles = new Map<number, FakeHandle>();
  readonly #crash: CrashSwitch;
  #lastLayer = 0;
  state: StoreReport['state'] = 'ready';
  failOpen: string | null = null;
  failDrop: string | null = null;
  /** Told of each handle before anyone uses it. */
  opened: (handle: FakeHandle) => void = () => undefined;
  /** What is clean again of what scrubs found. */
  mended: (range: BadRange) => boolean = () => false;
  failFreeze: string | null = null;
  /** While true, maps are not taken over: hidden layers with one child stay. */
  holdMerges = false;

  constructor(crash: CrashSwitch) {
    this.#crash = crash;
  }

  createLayer(blockBytes: number, sizeBytes: number, parent?: LayerId): Promise<LayerId> {
    return this.#crash.step('createLayer', () => {
      const above = parent === undefined ? undefined : this.store.get(parent);
      if (parent !== undefined && (above?.state !== 'frozen' || above.hidden || above.blockBytes !== blockBytes)) {
        throw new Error(`layer ${parent} cannot be a parent`);
      }
      return Promise.resolve(this.#addLayer(blockBytes, sizeBytes, parent ?? null));
    });
  }

  freeze(layers: readonly LayerId[]): Promise<LayerId[]> {
    return this.#crash.step('freeze', () => {
      if (this.failFreeze !== null) {
        return Promise.reject(new DeviceError(this.failFreeze, { code: 'IO', detail: this.failFreeze }));
      }
      const heads = layers.map((layer) => {
        const frozen = this.store.get(layer);
        if (frozen?.state !== 'head') throw new Error(`layer ${layer} is no head`);
        frozen.state = 'frozen';
        const head = this.#addLayer(frozen.blockBytes, frozen.sizeBytes, layer);
        const made = this.store.get(head)!;
        made.epochs.push(...frozen.epochs);
        made.secrets.push(...frozen.secrets);
        const handle = this.handles.get(layer);
        if (handle !== undefined) {
          this.handles.delete(layer);
          this.handles.set(head, handle);
          handle.goOn(head, made);
        }
        return head;
      });
      return Promise.resolve(heads);
    });
  }

  dropLayer(layer: LayerId): Promise<void> {
    return this.#crash.step('dropLayer', () => {
      if (this.failDrop !== null)
        return Promise.reject(new DeviceError(this.failDrop, { code: 'IO', detail: this.failDrop }));
      if (this.handles.has(layer)) throw new Error('dropLayer of an open volume');
      const dropped = this.store.get(layer);
      if (dropped === undefined) return Promise.resolve();
      dropped.hidden = true;
      this.settleHidden();
      return Promise.resolve();
    });
  }

  stillBad(ranges: readonly BadRange[]): Promise<BadRange[]> {
    return Promise.resolve(ranges.filter((range) => !this.mended(range)));
  }

  /** Hidden layers with at most one child go, as far as `holdMerges` lets them. */
  settleHidden(): void {
    for (;;) {
      const next = [...this.store].find(([id, { hidden }]) => {
        const children = this.#childrenOf(id).length;
        return hidden && (children === 0 || (children === 1 && !this.holdMerges));
      });
      if (next === undefined) return;
      const [id, layer] = next;
      for (const child of this.#childrenOf(id)) {
        for (const [index, block] of layer.blocks) if (!child.blocks.has(index)) child.blocks.set(index, block);
        child.parent = layer.parent;
      }
      this.store.delete(id);
    }
  }

  usage(layer: LayerId): Promise<LayerUsage> {
    const of = this.#layer(layer);
    const shown = this.#indexesOf(of).filter((index) => shownBlock(this.store, of, index) !== null).length;
    const own = [...of.blocks.values()].filter((block) => block !== null).length;
    return Promise.resolve({ exclusiveBytes: own * of.blockBytes, referencedBytes: shown * of.blockBytes });
  }

  diff(from: LayerId | null, to: LayerId, fromOffsetBytes: number, rangesMax: number): Promise<ChangedRanges> {
    const target = this.#layer(to);
    const base = from === null ? null : this.#layer(from);
    const { blockBytes, sizeBytes } = target;
    const ranges: ChangedRange[] = [];
    for (let at = fromOffsetBytes; at < sizeBytes; at += blockBytes) {
      const [now, before] = [target, base].map((of) => of && shownBlock(this.store, of, at / blockBytes));
      const grown = base !== null && at >= base.sizeBytes;
      if (now === before || ((now ?? null) === null && (before ?? null) === null && !grown)) continue;
      const data = (now ?? null) !== null;
      const last = ranges.at(-1);
      if (last?.data === data && last.offsetBytes + last.lengthBytes === at) {
        ranges[ranges.length - 1] = { ...last, lengthBytes: last.lengthBytes + blockBytes };
      } else if (ranges.length === rangesMax) return Promise.resolve({ ranges, nextOffsetBytes: at });
      else ranges.push({ offsetBytes: at, lengthBytes: blockBytes, data });
    }
    return Promise.resolve({ ranges, nextOffsetBytes: null });
  }

  #layer(id: LayerId): FakeLayer {
    const layer = this.store.get(id);
    if (layer === undefined || layer.hidden) throw new DeviceError('no such layer', { code: 'IO', detail: 'no layer' });
    return layer;
  }

  #childrenOf(id: number): FakeLayer[] {
    return [...this.store.values()].filter(({ parent }) => parent === id);
  }

  #indexesOf(layer: FakeLayer): number[] {
    return Array.from({ length: layer.sizeBytes / layer.blockBytes }, (_, index) => index);
  }

  #addLayer(blockBytes: number, sizeBytes: number, parent: number | null): LayerId {
    this.#lastLayer += 1;
    this.store.set(this.#lastLayer, {
      blockBytes,
      sizeBytes,
      damage: '',
      parent,
      state: 'head',
      hidden: false,
      blocks: new Map(),
      epochs: [],
      secrets: [],
    });
    return this.#lastLayer as LayerId;
  }

  layers(): LayerSummary[] {
    return [...this.store].map(([layer, { blockBytes, sizeBytes, damage, blocks, parent, state, hidden }]) => ({
      layer: layer as LayerId,
      blockBytes,
      sizeBytes,
      damage,
      allocatedBytes: [...blocks.values()].filter((block) => block !== null).length * blockBytes,
      parent: parent as LayerId | null,
      state,
      hidden,
      merge: hidden && this.#childrenOf(layer).length === 1 ? { doneLeaves: 1, totalLeaves: 4 } : null,
    }));
  }

  open(options: OpenVolume): VolumeHandle {
    const layer = this.store.get(options.layer);
    if (this.failOpen !== null) throw new DeviceError(this.failOpen, { code: 'IO', detail: this.failOpen });
    if (layer === undefined || layer.damage !== '') throw new DeviceError('damaged', { code: 'IO', detail: 'damaged' });
    if (this.handles.has(options.layer)) throw new Error('opened twice');
    if ((layer.state === 'frozen') !== (options.readOnly === true)) throw new Error('what is frozen is read only');
    if (layer.hidden) throw new Error("a hidden layer is nobody's");
    if (layer.state === 'head') {
      if (options.epoch <= (layer.epochs.at(-1) ?? 0)) throw new Error(`epoch ${options.epoch} was used before`);
      layer.epochs.push(options.epoch);
    }
    for (const key of options.keys) {
      layer.secrets.push(Buffer.from(key.secret).toString('hex'));
      key.secret.fill(0);
    }
    const handle = new FakeHandle(options, this.store, layer, this.#crash, (of) => this.handles.delete(of));
    this.handles.set(options.layer, handle);
    this.opened(handle);
    return handle;
  }

  report(): StoreReport {
    return {
      state: this.state,
      stateReason: this.state === 'ready' ? '' : 'a test says so',
      liveBytes: 0,
      journalBytes: 0,
      replayBytes: 0,
      ...this.space,
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
      cleaned: { segments: 0, blocks: 0, bytes: 0 },
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

/** What became of a run that looked at nothing. */
export function resealed(fields: Partial<ResealOutcome> = {}): ResealOutcome {
  const nothing = { lookedBytes: 0, totalBytes: 0, sealedBlocks: 0, badBlocks: 0, heldSegments: 0 };
  return { ...nothing, gone: [], sharedWith: [], ...fields };
}

export class FakeHandle implements VolumeHandle {
  readonly volumeId: string;
  readonly statistics = new DeviceStatistics();
  readonly readOnly: boolean;
  readonly requests: BlockRequest[] = [];
  /** While true, requests wait in `requests`; `release` completes them. */
  hold = false;
  failWrites: string | null = null;
  /** What a scrub of it yields, from the position on that it is given. */
  scrubSteps: readonly ScrubProgress[] = [];
  /** Asked before each step of a scrub; the step waits for what it returns. */
  beforeScrubStep: (request: ScrubRequest) => Promise<void> = () => Promise.resolve();
  /** By default a run that goes on until it is ended. */
  resealWith: (options: ResealOptions) => Promise<ResealOutcome> = ({ signal }) =>
    new Promise((resolve) => {
      if (signal.aborted) resolve(resealed());
      signal.addEventListener('abort', () => {
        resolve(resealed());
      });
    });
  qos: QosSettings | null = null;
  throttling: ThrottleReading = { throttledMs: 0, waitedMs: 0, throttledRequests: 0, waiting: 0 };
  closed = false;
  keyNumbers: readonly number[];
  plain: PlainBlocks | undefined;
  readonly #layers: Layers;
  #layerId: number;
  #layer: FakeLayer;
  readonly #crash: CrashSwitch;
  readonly #onClose: (layer: number) => void;

  constructor(
    options: OpenVolume,
    layers: Layers,
    layer: FakeLayer,
    crash: CrashSwitch,
    onClose: (layer: number) => void,
  ) {
    this.volumeId = options.volumeId;
    this.readOnly = options.readOnly ?? false;
    this.#layers = layers;
    this.#layerId = options.layer;
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
    const { blocks, blockBytes } = this.#layer;
    return [...blocks.values()].filter((block) => block !== null).length * blockBytes;
  }

  /** Its layer was frozen, and this is the new head. */
  goOn(layerId: number, layer: FakeLayer): void {
    this.#layerId = layerId;
    this.#layer = layer;
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
      const allocated = shownBlock(this.#layers, this.#layer, at / this.blockBytes) !== null;
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

  reseal(options: ResealOptions): Promise<ResealOutcome> {
    return this.resealWith(options);
  }

  close(): Promise<void> {
    if (!this.closed) this.#onClose(this.#layerId);
    this.closed = true;
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
    if ((request.flags & RequestFlag.SEALED) !== 0) {
      this.#serveSealed(request);
      return;
    }
    for (let done = 0; done < lengthBytes;) {
      const at = offsetBytes + done;
      const [index, within] = [Math.floor(at / this.blockBytes), at % this.blockBytes];
      const length = Math.min(this.blockBytes - within, lengthBytes - done);
      const block = shownBlock(this.#layers, this.#layer, index);
      if (operation === Operation.WRITE) {
        // A block of its own: what is frozen shares none with what goes on.
        const target = Uint8Array.from(block ?? new Uint8Array(this.blockBytes));
        target.set(data.subarray(dataOffset + done, dataOffset + done + length), within);
        this.#layer.blocks.set(index, target);
      } else if (operation === Operation.WRITE_ZEROES || operation === Operation.TRIM) {
        this.#layer.blocks.set(index, null);
      } else if (operation === Operation.READ) {
        const source = block?.subarray(within, within + length) ?? new Uint8Array(length);
        data.set(source, dataOffset + done);
      }
      done += length;
    }
    request.done(null);
  }

  /** Whole blocks. */
  #serveSealed({ operation, offsetBytes, lengthBytes, data, dataOffset, done }: BlockRequest): void {
    const step = (this.blockBytes / 64) * 65;
    for (let n = 0; n * this.blockBytes < lengthBytes; n += 1) {
      const index = offsetBytes / this.blockBytes + n;
      const at = dataOffset + n * step;
      if (operation === Operation.READ) {
        const block = shownBlock(this.#layers, this.#layer, index);
        if (block === null) {
          done({ code: 'IO', detail: `block ${index} holds nothing` });
          return;
        }
        data.set(sealFake(this.keyNumbers.at(-1)!, index, block), at);
      } else {
        const block = openFake(this.keyNumbers, index, Buffer.from(data.subarray(at, at + step)));
        if (block === null) {
          done({ code: 'UNAUTHENTIC', detail: `block ${index} is not what was sealed there` });
          return;
        }
        this.#layer.blocks.set(index, block);
      }
    }
    done(null);
  }
}
