import { damage, note, type ReportFinding } from './check-finding.js';
import { leafSlices } from './layer-comparison.js';
import { LEAF_BLOCKS } from './limits.js';
import { offsetUnitsOf, slotOf, storedUnitsOf } from './location.js';
import { childrenOf } from './map/layer-tree.js';
import type { SegmentState } from './journal/segment-table.js';
import type { Layer } from './map/layer.js';
import { decodeLeaf, mappedIn } from './map/leaf-codec.js';
import { indexOfKey, leavesOf, type KeyRange } from './map/map-keys.js';
import type { MapRows } from './map/map-rows.js';
import type { OfflineStore } from './offline-store.js';
import { StoreError } from './store-error.js';
import type { StoredMap } from './stored-map.js';

export interface MapFacts {
  readonly layers: number;
  readonly leaves: number;
  readonly liveBlocks: number;
}

const ROWS_STEP = 512;
/** Segments that blocks may lie in. */
const HOLDING: ReadonlySet<SegmentState> = new Set(['chain', 'cold']);

/**
 * Holds the map to itself and to the journal: each stored leaf, which of them the filters know, what is counted, who descends
 * from whom, and that every entry names a place that is there. Live-byte counters are hints: their drift is a note.
 */
export async function checkMap(
  store: OfflineStore,
  report: ReportFinding,
  nameOf: (layer: number) => string,
): Promise<MapFacts> {
  const leaves = store.stored === null ? 0 : checkStored(store.stored, report, nameOf);
  checkTree(store.recovered, report, nameOf);
  const liveBlocks = await checkEntries(store, report, nameOf);
  const layers = [...store.recovered.map.layers.values()].filter((layer) => !layer.gone).length;
  return { layers, leaves, liveBlocks };
}

function checkStored({ map, rows }: StoredMap, report: ReportFinding, nameOf: (layer: number) => string): number {
  let leaves = 0;
  const entries = new Float64Array(LEAF_BLOCKS);
  for (const layer of map.layers.values()) {
    if (layer.gone) continue;
    const missing = new Set(layer.filter.leaves());
    let mapped = 0;
    let damaged = false;
    for (const { key, value } of rowsOf(rows, leavesOf(layer.id))) {
      leaves += 1;
      const leaf = indexOfKey(key);
      if (!missing.delete(leaf)) {
        report(
          damage(
            `layer ${layer.id}`,
            `leaf ${leaf} of ${nameOf(layer.id)} is stored and its filter does not know it`,
            `blocks ${spanOf(leaf)} may read as zeros or as their parent's`,
          ),
        );
      }
      if (value === null || !decodeLeaf(value, entries, 0)) {
        damaged = true;
        const why = value === null ? 'does not match its checksum' : 'cannot be decoded';
        report(leafDamage(layer, leaf, why, nameOf));
        continue;
      }
      mapped += mappedIn(value);
    }
    for (const leaf of missing) {
      damaged = true;
      report(leafDamage(layer, leaf, 'is not there', nameOf));
    }
    // What a damaged leaf maps is not known.
    if (!damaged && mapped !== layer.storedBlocks) {
      const what = `its leaves map ${mapped} blocks, and ${layer.storedBlocks} are counted`;
      report(
        damage(
          `layer ${layer.id}`,
          `${nameOf(layer.id)}: ${what}`,
          'everything reads; only what it takes is shown wrong',
        ),
      );
    }
  }
  return leaves;
}

function leafDamage(
  layer: Layer,
  leaf: number,
  why: string,
  nameOf: (layer: number) => string,
): ReturnType<typeof damage> {
  return damage(
    `layer ${layer.id}`,
    `leaf ${leaf} of ${nameOf(layer.id)} ${why}`,
    `blocks ${spanOf(leaf)} read as I/O errors, the others read; without its map (set map/ aside) a start makes it anew from the journal`,
  );
}

function spanOf(leaf: number): string {
  return `${leaf * LEAF_BLOCKS} to ${(leaf + 1) * LEAF_BLOCKS - 1}`;
}

/** Every row of a range; null for one that does not match its checksum. */
function* rowsOf(rows: MapRows, keys: KeyRange): Generator<{ key: Uint8Array; value: Uint8Array | null }> {
  let { from } = keys;
  for (;;) {
    const step = rows.take({ from, to: keys.to }, ROWS_STEP);
    yield* step;
    if (step.length < ROWS_STEP) return;
    const last = step[step.length - 1].key;
    from = new Uint8Array(last.length + 1);
    from.set(last);
  }
}

function checkTree({ map }: StoredMap, report: ReportFinding, nameOf: (layer: number) => string): void {
  for (const layer of map.layers.values()) {
    if (layer.gone) continue;
    const subject = `layer ${layer.id}`;
    const wrong = (what: string, reads = ''): void => report(damage(subject, `${nameOf(layer.id)}: ${what}`, reads));
    if (layer.damage !== '') wrong(`it is refused as a whole: ${layer.damage}`, 'other volumes are served');
    if (layer.parent !== 0) {
      const parent = map.layers.get(layer.parent);
      if (parent === undefined || parent.gone) {
        wrong(`its parent, layer ${layer.parent}, is gone`, 'what it has not overwritten of its parent reads as zeros');
      } else {
        if (parent.id >= layer.id) wrong(`its parent, layer ${parent.id}, is younger than it`);
        if (parent.state === 'head') wrong(`its parent, layer ${parent.id}, is still written to`);
        if (parent.blockBytes !== layer.blockBytes) wrong(`its parent has blocks of ${parent.blockBytes} bytes`);
      }
    }
    const children = childrenOf(map.layers, layer);
    if (layer.state === 'head' && children.length > 0) wrong('it is written to, and others were made from it');
    if (layer.state === 'merging') {
      const heir = map.layers.get(layer.heir);
      if (heir === undefined || heir.gone || heir.parent !== layer.id) {
        wrong(`layer ${layer.heir} is to take it over, and is not its child`);
      }
    }
    if (layer.hidden && layer.state === 'head') wrong('it is hidden, and still written to');
    if (layer.hidden && children.length === 0) {
      report(note(subject, 'it is a deleted snapshot that nothing shows any more; it goes when the node runs'));
    }
  }
}

/** Entries name places that are there; what they take is compared with what is counted. */
async function checkEntries(
  { recovered }: OfflineStore,
  report: ReportFinding,
  nameOf: (layer: number) => string,
): Promise<number> {
  const { map, table } = recovered;
  const live = new Map<number, number>();
  let blocks = 0;
  for (const layer of map.layers.values()) {
    if (layer.gone) continue;
    const unit = layer.blockBytes / 64;
    const lost = new Map<number, number>();
    for await (const leaves of leafSlices({ map }, [layer], [layer], 0)) {
      for (const leaf of leaves) {
        for (const entry of ownEntries(recovered, layer, leaf)) {
          if (entry <= 0) continue;
          blocks += 1;
          const slot = slotOf(entry);
          const stored = storedUnitsOf(entry) * unit;
          live.set(slot, (live.get(slot) ?? 0) + stored);
          const there = table.has(slot) && HOLDING.has(table.state(slot)) && offsetUnitsOf(entry) * unit > 0;
          if (!there) lost.set(slot, (lost.get(slot) ?? 0) + 1);
        }
      }
    }
    for (const [slot, count] of lost) {
      report(
        damage(
          `layer ${layer.id}`,
          `${count} blocks of ${nameOf(layer.id)} are said to lie in segment ${slot}, which is not in use`,
          'they read as I/O errors',
        ),
      );
    }
  }
  let drift = 0;
  let segments = 0;
  for (const { slot, state, liveBytes } of table.rows()) {
    if (!HOLDING.has(state) || liveBytes === (live.get(slot) ?? 0)) continue;
    drift += Math.abs(liveBytes - (live.get(slot) ?? 0));
    segments += 1;
  }
  if (segments > 0) {
    report(note('map', `the live-byte counters of ${segments} segments are off by ${drift} bytes; they are hints`));
  }
  return blocks;
}

/** None for a leaf that cannot be read: that has been told. */
function ownEntries({ map }: StoredMap, layer: Layer, leaf: number): Float64Array {
  try {
    return map.views.own(layer, leaf) ?? new Float64Array(0);
  } catch (thrown) {
    if (thrown instanceof StoreError && thrown.code === 'DAMAGED') return new Float64Array(0);
    throw thrown;
  }
}
