import type { BlockKeys, KeyringId } from '../io/block-keys.js';
import { OpenBatch, OpenStatus } from '../io/open-batch.js';
import { storedBytesOf } from '../io/record-layout.js';
import { damage, type ReportFinding } from './check-finding.js';
import { JournalCheck, type JournalFacts, type SuspectRecord } from './journal-check.js';
import { blocksIn } from './journal/record.js';
import { checkMap, type MapFacts } from './map-check.js';
import {
  openOffline,
  type OfflineStore,
  type OfflineStoreDependencies,
  type OfflineStoreOptions,
} from './offline-store.js';
import { describeStatus } from './read-queue.js';
import { LayerScrub } from './scrub.js';

/** Blocks that a sample opens of one volume, about. */
const SAMPLE_BLOCKS = 1000;

export interface StoreCheckOptions extends OfflineStoreOptions {
  /** Opens every block, not a sample. */
  readonly deep: boolean;
}

/** What the check must know of volumes. */
export interface CheckedVolume {
  /** `volume web-data`. */
  readonly subject: string;
  readonly layer: number;
  /** Layers of its snapshots. */
  readonly snapshotLayers: readonly number[];
  /** null: its blocks cannot be opened, for a reason that has been told. */
  readonly keys: {
    readonly keys: readonly { readonly number: number; readonly secret: Uint8Array }[];
    readonly plain: boolean;
  } | null;
}

export interface StoreFacts extends JournalFacts, MapFacts {
  readonly openedBlocks: number;
}

/**
 * Checks a store that is not running, and changes nothing. `volumesOf` is told the layers that there are and says whose they
 * are. Throws StoreError and FileError when a start could not be looked at either.
 */
export async function checkStore(
  options: StoreCheckOptions,
  dependencies: OfflineStoreDependencies & { readonly keys: BlockKeys },
  report: ReportFinding,
  volumesOf: (layers: readonly StoredLayer[]) => Promise<readonly CheckedVolume[]>,
): Promise<StoreFacts> {
  const store = await openOffline(options, dependencies, report);
  const keyrings = new Map<CheckedVolume, KeyringId>();
  try {
    const volumes = await volumesOf(layersOf(store));
    for (const volume of volumes) {
      if (volume.keys === null) continue;
      const keyring = dependencies.keys.createKeyring(volume.keys.plain);
      keyrings.set(volume, keyring);
      for (const { number, secret } of volume.keys.keys) {
        dependencies.keys.addDataKey(keyring, number, secret);
        secret.fill(0);
      }
    }
    const owners = ownersOf(store, volumes);
    const nameOf = (layer: number): string => {
      const owner = owners.get(layer);
      return owner === undefined ? `layer ${layer}` : `${owner.subject} (layer ${layer})`;
    };
    const judge = (suspect: SuspectRecord): Promise<Set<number> | null> => {
      const owner = owners.get(suspect.header.layer);
      const keyring = owner === undefined ? undefined : keyrings.get(owner);
      return keyring === undefined ? Promise.resolve(null) : openRecord(store, suspect, keyring);
    };
    const journal = await new JournalCheck({ nodeId: options.nodeId }, { store, report, nameOf, judge }).run();
    const map = await checkMap(store, report, nameOf);
    let openedBlocks = 0;
    for (const [volume, keyring] of keyrings) {
      openedBlocks += await openBlocks(store, volume, keyring, options.deep, dependencies, report, nameOf);
    }
    return { ...journal, ...map, openedBlocks };
  } finally {
    for (const keyring of keyrings.values()) dependencies.keys.releaseKeyring(keyring);
    await store.close();
  }
}

export interface StoredLayer {
  readonly id: number;
  readonly parent: number;
  readonly state: string;
  readonly hidden: boolean;
  readonly blockBytes: number;
  readonly sizeBytes: number;
}

function layersOf({ recovered }: OfflineStore): StoredLayer[] {
  return [...recovered.map.layers.values()]
    .filter((layer) => !layer.gone)
    .map(({ id, parent, state, hidden, blockBytes, sizeBlocks }) => ({
      ...{ id, parent, state, hidden, blockBytes },
      sizeBytes: sizeBlocks * blockBytes,
    }));
}

/** Which volume shows a layer; of several the one whose own it is. */
function ownersOf({ recovered }: OfflineStore, volumes: readonly CheckedVolume[]): Map<number, CheckedVolume> {
  const owners = new Map<number, CheckedVolume>();
  for (const volume of volumes) {
    for (const start of [volume.layer, ...volume.snapshotLayers]) {
      let layer = recovered.map.layers.get(start);
      while (layer !== undefined) {
        if (!owners.has(layer.id)) owners.set(layer.id, volume);
        layer = recovered.map.layers.get(layer.parent);
      }
    }
  }
  for (const volume of volumes) owners.set(volume.layer, volume);
  return owners;
}

/** The blocks of a record that cannot be opened; null when the keys are others. */
async function openRecord(
  store: OfflineStore,
  { slot, offset, header }: SuspectRecord,
  keyring: KeyringId,
): Promise<Set<number> | null> {
  const batch = new OpenBatch();
  const { blockBytes } = header;
  batch.destinations.push(new Uint8Array(blockBytes));
  const file = await store.segmentFiles.open(slot);
  const generation = store.recovered.table.generations[slot];
  const blocks = blocksIn(header, offset);
  for (const { block, at } of blocks) {
    batch.add(file, at, storedBytesOf(blockBytes), generation, block, keyring, 0, 0, blockBytes);
  }
  if (store.files.openNow(batch) > 0) await new Promise<void>((resolve) => store.files.openLater(batch, resolve));
  const status = batch.status.subarray(0, batch.count);
  if (status.includes(OpenStatus.KEY)) return null;
  return new Set(blocks.filter((_, n) => status[n] !== OpenStatus.OK).map(({ block }) => block));
}

async function openBlocks(
  store: OfflineStore,
  volume: CheckedVolume,
  keyring: KeyringId,
  deep: boolean,
  { clock }: OfflineStoreDependencies,
  report: ReportFinding,
  nameOf: (layer: number) => string,
): Promise<number> {
  const { map, table } = store.recovered;
  const mapped = map.layers.get(volume.layer)?.mappedBlocks ?? 0;
  const scrub = new LayerScrub(
    {
      layers: () => [volume.layer, ...volume.snapshotLayers],
      from: null,
      bytesPerSecond: Number.MAX_SAFE_INTEGER,
      every: deep ? 1 : Math.max(1, Math.ceil(mapped / SAMPLE_BLOCKS)),
      signal: new AbortController().signal,
    },
    {
      files: store.files,
      clock,
      store: () => Promise.resolve(offline),
      keyring: () => keyring,
      busy: () => false,
    },
  );
  const offline = { map, table, segmentFiles: store.segmentFiles };
  let opened = 0;
  for await (const { blocks, bad } of scrub.steps()) {
    opened += blocks;
    for (const { layer, firstBlock, blocks: count, slot, fileOffset, status } of bad) {
      // Damage of the map has been told where the map was read.
      if (slot < 0) continue;
      const what = `blocks ${firstBlock} to ${firstBlock + count - 1} of ${nameOf(layer)}: ${describeStatus(status)}`;
      report(
        damage(
          volume.subject,
          `${what} (segment ${slot} at ${fileOffset})`,
          'they read as I/O errors; everything else of it reads',
        ),
      );
    }
  }
  return opened;
}
