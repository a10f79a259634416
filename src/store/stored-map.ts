import { join } from 'node:path';
import { SegmentTable } from './journal/segment-table.js';
import type { EngineDependencies } from './engine.js';
import { LiveBytes } from './live-bytes.js';
import { BlockMap } from './map/block-map.js';
import {
  CHECKPOINT_KEY,
  COUNT_KEYS,
  FILTER_KEYS,
  indexOfKey,
  LAYER_KEYS,
  layerOfKey,
  SEGMENT_KEYS,
} from './map/map-keys.js';
import { RESERVE_NAME } from './map-reserve.js';
import { MapRows } from './map/map-rows.js';
import { StoreError } from './store-error.js';
import { decodeCheckpoint, decodeCount, decodeLayer, decodeSegment, type CheckpointRow } from './stored-rows.js';

/** The map as of its checkpoint, and the segments that it has registered. */
export interface StoredMap {
  /** Open; whoever gets it closes it. */
  readonly rows: MapRows;
  readonly table: SegmentTable;
  readonly live: LiveBytes;
  readonly map: BlockMap;
  /** null: it is empty, and everything comes from the journal. */
  readonly checkpoint: CheckpointRow | null;
  /** '' or why what was there has been set aside. */
  readonly rebuilt: string;
}

export interface StoredMapOptions {
  readonly storagePath: string;
  /** The folder of the database, which exists. */
  readonly mapPath: string;
  readonly mapCacheBytes: number;
}

export interface StoredMapDependencies extends Pick<
  EngineDependencies,
  'files' | 'checksums' | 'clock' | 'log' | 'openEnvironment' | 'probeEnvironment'
> {
  /** Holds the map to the journal beside it; StoreError DAMAGED when it cannot be the map of this journal. */
  readonly check: (stored: StoredMap) => Promise<void>;
}

/**
 * Loads the map as of its checkpoint. A damaged one is set aside and an empty one taken, to be rebuilt from the journal.
 * Throws StoreError (NEWER_FORMAT, or what `check` throws that is not DAMAGED) or FileError.
 */
export async function loadStoredMap(
  options: StoredMapOptions,
  dependencies: StoredMapDependencies,
): Promise<StoredMap> {
  let problem = await dependencies.probeEnvironment(options.mapPath);
  if (problem === '') {
    try {
      return await openRows(options, dependencies, async (rows) => {
        const stored = readStoredMap(rows, '', options, dependencies);
        await dependencies.check(stored);
        return stored;
      });
    } catch (thrown) {
      if (!(thrown instanceof StoreError) || thrown.code !== 'DAMAGED') throw thrown;
      problem = thrown.message;
    }
  }
  await setAside(problem, options, dependencies);
  return openRows(options, dependencies, (rows) =>
    Promise.resolve(readStoredMap(rows, problem, options, dependencies)),
  );
}

/** Opens the database for `read`; it is closed again when that throws. */
async function openRows(
  { mapPath }: StoredMapOptions,
  { files, checksums, openEnvironment }: StoredMapDependencies,
  read: (rows: MapRows) => Promise<StoredMap>,
): Promise<StoredMap> {
  const environment = await openEnvironment(mapPath);
  const rows = new MapRows({ environment, checksums });
  try {
    // Its files may be new, and whoever made them does not sync the folder.
    await files.syncDirectory(mapPath);
    return await read(rows);
  } catch (thrown) {
    await rows.close();
    throw thrown;
  }
}

async function setAside(
  problem: string,
  { storagePath, mapPath }: StoredMapOptions,
  { files, log, clock }: StoredMapDependencies,
): Promise<void> {
  const aside = `${mapPath}.damaged-${clock.wallMs()}`;
  log.error({ problem, aside }, 'store: the map is damaged; it is set aside and rebuilt from the journal');
  await files.rename(mapPath, aside);
  // The copy is kept for whoever wants to look; the space that it held back is not.
  if (await files.exists(join(aside, RESERVE_NAME))) await files.remove(join(aside, RESERVE_NAME));
  await files.makeDirectory(mapPath);
  await files.syncDirectory(storagePath);
}

/** The map that rows hold. Throws StoreError DAMAGED, NEWER_FORMAT. */
export function readStoredMap(
  rows: MapRows,
  rebuilt: string,
  { mapCacheBytes }: StoredMapOptions,
  { clock }: Pick<StoredMapDependencies, 'clock'>,
): StoredMap {
  const table = new SegmentTable();
  const live = new LiveBytes(table);
  const map = new BlockMap(
    { cacheBytes: mapCacheBytes },
    {
      rows,
      live: live.change,
      endOfTurn: (callback) => {
        clock.endOfTurn(callback);
      },
    },
  );
  // Leaves are stored ahead of the checkpoint: the layer of some may be known only to the journal behind it.
  for (const row of rows.range(FILTER_KEYS)) map.loadFilter(layerOfKey(row.key), indexOfKey(row.key), row.value);
  for (const row of rows.range(COUNT_KEYS)) map.loadCount(layerOfKey(row.key), decodeCount(row.value));
  const bytes = rows.get(CHECKPOINT_KEY);
  if (bytes === null) return { rows, table, live, map, checkpoint: null, rebuilt };
  const checkpoint = decodeCheckpoint(bytes);
  for (const row of rows.range(SEGMENT_KEYS)) table.put(decodeSegment(row.value));
  if (!table.has(checkpoint.slot) || table.generations[checkpoint.slot] !== checkpoint.generation) {
    const subject = `segment ${checkpoint.slot}`;
    throw new StoreError(`the checkpoint names ${subject}, which is not registered`, { code: 'DAMAGED', subject });
  }
  for (const row of rows.range(LAYER_KEYS)) map.addLayer(decodeLayer(row.value));
  table.takeChanged();
  return { rows, table, live, map, checkpoint, rebuilt };
}
