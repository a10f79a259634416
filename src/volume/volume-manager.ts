import type { Clock } from '../base/clock.js';
import type { Closable } from '../base/lifecycle.js';
import { LATENCY_BOUNDS_MS } from '../device/device-statistics.js';
import { FairQueue } from '../qos/fair-queue.js';
import { Resealer } from '../store/cleaner/resealer.js';
import type { Store, StoreSpace } from '../store/store.js';
import { SPACE_AGE_MS } from './limits.js';
import { Volume } from './volume.js';
import { type BadRange, scrubHead, stillBad } from './volume-scrub.js';
import type {
  ChangedRanges,
  LayerId,
  LayerSummary,
  LayerUsage,
  OpenVolume,
  StoreReport,
  VolumeHandle,
  VolumeHost,
} from './volume-host.js';

/** The volumes of one node over its store. */
export class VolumeManager implements VolumeHost, Closable {
  readonly #segmentBytes: number;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #open = new Set<Volume>();
  readonly #fair: FairQueue;
  #space: StoreSpace;
  #spaceAtMs: number;

  constructor(options: { segmentBytes: number; space: StoreSpace }, dependencies: { store: Store; clock: Clock }) {
    this.#segmentBytes = options.segmentBytes;
    this.#space = options.space;
    this.#store = dependencies.store;
    this.#clock = dependencies.clock;
    this.#fair = new FairQueue({ clock: dependencies.clock });
    this.#spaceAtMs = dependencies.clock.monotonicMs();
  }

  async createLayer(blockBytes: number, sizeBytes: number, parent?: LayerId): Promise<LayerId> {
    const sizeBlocks = sizeBytes / blockBytes;
    return (await this.#store.layers.create({ blockBytes, sizeBlocks, parent: parent ?? 0 })) as LayerId;
  }

  async freeze(layers: readonly LayerId[]): Promise<LayerId[]> {
    return (await this.#store.layers.freeze(layers)) as LayerId[];
  }

  dropLayer(layer: LayerId): Promise<void> {
    return this.#store.layers.drop(layer);
  }

  async usage(layer: LayerId): Promise<LayerUsage> {
    const blockBytes = await this.#store.blockBytesOf(layer);
    const { exclusiveBlocks, referencedBlocks } = await this.#store.usage(layer);
    return { exclusiveBytes: exclusiveBlocks * blockBytes, referencedBytes: referencedBlocks * blockBytes };
  }

  async diff(from: LayerId | null, to: LayerId, fromOffsetBytes: number, rangesMax: number): Promise<ChangedRanges> {
    const blockBytes = await this.#store.blockBytesOf(to);
    const first = Math.floor(fromOffsetBytes / blockBytes);
    const { ranges, next } = await this.#store.difference(from, to, first, rangesMax);
    return {
      ranges: ranges.map((range) => ({
        offsetBytes: range.first * blockBytes,
        lengthBytes: range.count * blockBytes,
        data: range.data,
      })),
      nextOffsetBytes: next === null ? null : next * blockBytes,
    };
  }

  stillBad(ranges: readonly BadRange[]): Promise<BadRange[]> {
    return stillBad(this.#store, ranges);
  }

  layers(): LayerSummary[] {
    const found: LayerSummary[] = [];
    for (const layer of this.#store.engine?.map.layers.values() ?? []) {
      if (layer.gone) continue;
      found.push({
        layer: layer.id as LayerId,
        parent: layer.parent === 0 ? null : (layer.parent as LayerId),
        state: layer.state === 'head' ? 'head' : 'frozen',
        hidden: layer.hidden,
        merge: this.#store.mergeProgress(layer),
        blockBytes: layer.blockBytes,
        sizeBytes: layer.sizeBlocks * layer.blockBytes,
        allocatedBytes: layer.mappedBlocks * layer.blockBytes,
        damage: layer.damage,
      });
    }
    return found;
  }

  open(options: OpenVolume): VolumeHandle {
    try {
      const head = this.#store.openHead(options);
      const volume = new Volume(
        { volumeId: options.volumeId, readOnly: options.readOnly ?? false },
        {
          head,
          clock: this.#clock,
          fair: this.#fair,
          grow: (sizeBlocks) => this.#store.layers.grow(() => head.layerId, sizeBlocks),
          scrub: (request, demandOpen) => scrubHead(this.#store, head, request, demandOpen),
          reseal: (request, demandOpen) =>
            new Resealer(
              { ...request, own: () => [head.layerId, ...request.own()] },
              this.#store.resealDependencies(head, demandOpen),
            ).run(),
          release: async () => {
            await this.#store.closeHead(head);
            this.#open.delete(volume);
          },
        },
      );
      this.#open.add(volume);
      return volume;
    } finally {
      for (const key of options.keys) key.secret.fill(0);
    }
  }

  checkpoint(): Promise<void> {
    return this.#store.checkpoint();
  }

  report(): StoreReport {
    this.#refreshSpace();
    const engine = this.#store.engine;
    const layers = this.layers();
    const space = this.#store.spaceLeft(this.#space);
    const common = {
      state: this.#store.state === 'opening' ? ('starting' as const) : this.#store.state,
      stateReason: this.#store.stateReason,
      liveBytes: layers.reduce((sum, layer) => sum + layer.allocatedBytes, 0),
      freeBytes: space.freeBytes,
      totalBytes: space.totalBytes,
      cleaned: this.#store.cleanerWork,
      unauthenticBlocks: this.#store.badBlocks,
    };
    if (engine === null) {
      return {
        ...common,
        journalBytes: 0,
        replayBytes: 0,
        lastRecovery: '',
        mapCacheHits: 0,
        mapCacheMisses: 0,
        mapCacheBytes: 0,
        appendedBytes: 0,
        checkpoints: 0,
        checkpointMsLast: 0,
        syncs: 0,
        syncMsSum: 0,
        syncBuckets: new Float64Array(LATENCY_BOUNDS_MS.length + 1),
      };
    }
    const { journal, checkpointer, map, table, recovery } = engine;
    return {
      ...common,
      journalBytes: (table.count('chain') + table.count('cold')) * this.#segmentBytes,
      replayBytes: checkpointer.replayBytes,
      lastRecovery: recovery.summary,
      mapCacheHits: map.hits,
      mapCacheMisses: map.misses,
      mapCacheBytes: map.cache.bytes,
      appendedBytes: journal.appendedBytes,
      checkpoints: checkpointer.count,
      checkpointMsLast: checkpointer.msLast,
      syncs: journal.syncStatistics.syncs,
      syncMsSum: journal.syncStatistics.msSum,
      syncBuckets: journal.syncStatistics.buckets,
    };
  }

  /** The next report gets a fresh figure; this one takes what is known. */
  #refreshSpace(): void {
    const now = this.#clock.monotonicMs();
    if (now - this.#spaceAtMs < SPACE_AGE_MS) return;
    this.#spaceAtMs = now;
    this.#store.space().then(
      (space) => {
        this.#space = space;
      },
      () => undefined,
    );
  }

  async close(): Promise<void> {
    const closed = Promise.all([...this.#open].map((volume) => volume.close()));
    await this.#store.close(closed);
    await closed;
  }
}
