import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import { LmdbReader } from '../base/lmdb-reader.js';
import type { Log } from '../base/log.js';
import type { Checksums } from '../io/block-keys.js';
import type { Files } from '../io/files.js';
import { ReadOnlyFiles } from '../io/read-only-files.js';
import { ChainReplay, settleSegments, type ReplayedChain } from './chain-replay.js';
import { demandRegistered, journalPathOf } from './chain-survey.js';
import { damage, type ReportFinding } from './check-finding.js';
import { JournalScan } from './journal/journal-scan.js';
import { SegmentFiles } from './journal/segment-files.js';
import { UnreadPages } from './journal/unread-pages.js';
import { LeafWriter } from './leaf-writer.js';
import { LeafMoves } from './map/leaf-moves.js';
import { OFFLINE_CACHE_BYTES, SEGMENT_FILES_OPEN_MAX } from './limits.js';
import type { Layer } from './map/layer.js';
import { FileMapEnvironment } from './map/file-map-environment.js';
import { refuseWithDescendants } from './map/layer-tree.js';
import { MapRows } from './map/map-rows.js';
import { StoreError } from './store-error.js';
import { readStoredMap, type StoredMap } from './stored-map.js';

export interface OfflineStoreOptions {
  readonly storagePath: string;
  /** 16 bytes. */
  readonly nodeId: Uint8Array;
  readonly segmentBytes: number;
}

export interface OfflineStoreDependencies {
  readonly files: Files;
  readonly checksums: Checksums;
  readonly clock: Clock;
}

/** A store that is not running, as the next start would find it. */
export interface OfflineStore {
  readonly files: Files;
  readonly checksums: Checksums;
  readonly journalPath: string;
  readonly segmentFiles: SegmentFiles;
  /** The map as it is stored, before any replay; null: it cannot be used. */
  readonly stored: StoredMap | null;
  /** The map with the journal replayed. */
  readonly recovered: StoredMap;
  readonly replayed: ReplayedChain;
  close(): Promise<void>;
}

/**
 * Does what a start does, with the same code, on files of which nothing can be changed: loads the map, or does without a
 * damaged one, and replays the journal in memory. What a start would complain of is reported. Throws StoreError (NEWER_FORMAT,
 * IO) and FileError when a start could not be either.
 */
export async function openOffline(
  options: OfflineStoreOptions,
  dependencies: OfflineStoreDependencies,
  report: ReportFinding,
): Promise<OfflineStore> {
  const files = new ReadOnlyFiles(dependencies.files);
  const { checksums, clock } = dependencies;
  const journalPath = journalPathOf(options.storagePath);
  const segmentFiles = new SegmentFiles({ directory: journalPath, openMax: SEGMENT_FILES_OPEN_MAX }, { files });
  const unread = new UnreadPages({ pathOf: segmentFiles.path.bind(segmentFiles) });
  const log = reportingLog(report);
  const reader = openMap(join(options.storagePath, 'map', 'data.mdb'), report);
  const mapOptions = { storagePath: options.storagePath, mapPath: '', mapCacheBytes: OFFLINE_CACHE_BYTES };
  const load = (source: LmdbReader | null): StoredMap =>
    readStoredMap(new MapRows({ environment: new FileMapEnvironment(source), checksums }), '', mapOptions, { clock });
  let stored: StoredMap | null = null;
  let recovered: StoredMap;
  try {
    stored = reader === null ? null : load(reader);
    recovered = load(reader);
    const { table, checkpoint } = recovered;
    if (checkpoint !== null) {
      const scan = new JournalScan({ candidates: [] }, { files, segmentFiles, checksums, unread });
      await demandRegistered(
        { journalPath, nodeId: options.nodeId, table, generation: checkpoint.generation },
        { files, readHeader: scan.readHeader.bind(scan), unread },
      );
    }
  } catch (thrown) {
    if (!(thrown instanceof StoreError) || thrown.code !== 'DAMAGED') throw thrown;
    report(damage('map', thrown.message, WITHOUT_MAP));
    stored = null;
    recovered = load(null);
  }
  const { map, rows } = recovered;
  const live = recovered.live.change;
  const leaves = new LeafWriter({
    map,
    moves: new LeafMoves({ map, live }),
    rows,
    live,
    clock,
    commit: (changes) => rows.commit(changes),
    damaged: (layer: Layer, reason: string) => {
      refuseWithDescendants(map.layers, layer, reason);
    },
    progressed: () => undefined,
  });
  const replayed = await new ChainReplay(
    { journalPath, nodeId: options.nodeId, segmentBytes: options.segmentBytes },
    { files, checksums, log, segmentFiles, unread, leaves, commit: (changes) => rows.commit(changes) },
  ).run(recovered);
  settleSegments(recovered.table, replayed);
  return {
    files,
    checksums,
    journalPath,
    segmentFiles,
    stored,
    recovered,
    replayed,
    close: async () => {
      await segmentFiles.close();
      reader?.close();
    },
  };
}

const WITHOUT_MAP =
  'the next start sets it aside and makes it anew from the journal, as far as that is whole; nothing of it is needed for good';

function openMap(path: string, report: ReportFinding): LmdbReader | null {
  // A store that has never been started has none.
  if (!existsSync(path)) return null;
  try {
    const reader = LmdbReader.open(path);
    if (reader.problem === '') return reader;
    report(damage('map', `the pages of its database do not hang together: ${reader.problem}`, WITHOUT_MAP));
    reader.close();
  } catch (thrown) {
    report(damage('map', `its database cannot be read: ${messageOf(thrown)}`, WITHOUT_MAP));
  }
  return null;
}

/** What recovery complains of is a finding. */
function reportingLog(report: ReportFinding): Log {
  const told = (fields: object, message: string): void => {
    const facts = Object.entries(fields)
      .filter(([, value]) => value !== '')
      .map(([name, value]) => `${name} ${String(value)}`);
    const text = message.replace(/^store: /, '');
    report(damage('journal', facts.length === 0 ? text : `${text} (${facts.join(', ')})`));
  };
  const silent = (): void => undefined;
  return { debug: silent, info: silent, warn: told, error: told };
}
