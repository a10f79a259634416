import type { StoreMeasure } from './measures.js';
import { SampleFamily } from './sample-family.js';

type Kind = 'counter' | 'gauge';
type Row = readonly [name: string, kind: Kind, help: string, value: (store: StoreMeasure) => number];

const ROWS: readonly Row[] = [
  ['galleonfs_store_live_bytes', 'gauge', 'Live data of all volumes, without headers.', (s) => s.liveBytes],
  ['galleonfs_store_journal_bytes', 'gauge', 'Disk space that the journal takes.', (s) => s.journalBytes],
  ['galleonfs_store_replay_bytes', 'gauge', 'Journal that a start would replay now.', (s) => s.replayBytes],
  ['galleonfs_store_free_bytes', 'gauge', 'Space that volumes can still write.', (s) => s.freeBytes],
  ['galleonfs_store_total_bytes', 'gauge', 'Space for volumes, used and free.', (s) => s.totalBytes],
  [
    'galleonfs_store_used_ratio',
    'gauge',
    'Share of the space for volumes that is used; warned about from 0.8 and from 0.95 on.',
    (s) => (s.totalBytes === 0 ? 0 : 1 - s.freeBytes / s.totalBytes),
  ],
  ['galleonfs_store_appended_bytes_total', 'counter', 'Bytes appended to the journal.', (s) => s.appendedBytes],
  ['galleonfs_store_checkpoints_total', 'counter', 'Checkpoints of the map.', (s) => s.checkpoints],
  [
    'galleonfs_store_checkpoint_duration_seconds',
    'gauge',
    'How long the last checkpoint took.',
    (s) => s.checkpointMsLast / 1000,
  ],
  ['galleonfs_store_map_cache_hits_total', 'counter', 'Map leaves found in memory.', (s) => s.mapCacheHits],
  ['galleonfs_store_map_cache_misses_total', 'counter', 'Map leaves fetched from disk.', (s) => s.mapCacheMisses],
  ['galleonfs_store_map_cache_bytes', 'gauge', 'Memory that cached leaves take.', (s) => s.mapCacheBytes],
  [
    'galleonfs_store_cleaned_segments_total',
    'counter',
    'Segments that the cleaner has emptied.',
    (s) => s.cleaned.segments,
  ],
  [
    'galleonfs_store_moved_blocks_total',
    'counter',
    'Live blocks that the cleaner has moved out of them.',
    (s) => s.cleaned.blocks,
  ],
  [
    'galleonfs_store_moved_bytes_total',
    'counter',
    'Bytes that the cleaner has appended, beside those appended for clients.',
    (s) => s.cleaned.bytes,
  ],
  [
    'galleonfs_store_unauthentic_blocks_total',
    'counter',
    'Blocks that failed authentication when read. Anything above 0 is damage.',
    (s) => s.unauthenticBlocks,
  ],
];

/** The journal, the map and the disk. */
export class StoreFamilies {
  readonly #boundsSeconds: readonly number[];
  readonly #rows = ROWS.map(([name, kind, help, value]) => ({ family: new SampleFamily(name, kind, help), value }));
  readonly #ready = new SampleFamily('galleonfs_store_ready', 'gauge', '1 while the store takes requests.');
  readonly #sync = new SampleFamily(
    'galleonfs_store_sync_duration_seconds',
    'histogram',
    'Duration of fdatasync on the journal.',
  );

  constructor(latencyBoundsMs: readonly number[]) {
    this.#boundsSeconds = latencyBoundsMs.map((ms) => ms / 1000);
  }

  families(): SampleFamily[] {
    return [...this.#rows.map(({ family }) => family), this.#ready, this.#sync];
  }

  collect(store: StoreMeasure): void {
    for (const { family, value } of this.#rows) {
      family.clear();
      family.add({}, value(store));
    }
    this.#ready.clear();
    this.#ready.add({}, store.state === 'ready' ? 1 : 0);
    this.#sync.clear();
    this.#sync.addHistogram({}, this.#boundsSeconds, store.syncBuckets, store.syncMsSum / 1000);
  }
}
