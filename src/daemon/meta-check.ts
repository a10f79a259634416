import { existsSync } from 'node:fs';
import { messageOf } from '../base/errors.js';
import { LmdbReader } from '../base/lmdb-reader.js';
import { DATA_KEY_PREFIX, NAME_PREFIX, SNAPSHOT_PREFIX, VOLUME_PREFIX } from '../control/meta-keys.js';
import { decodeJson } from '../meta/json-value.js';
import { checksumOf, decodeRecord, decodeState, RECORD_PREFIX, STATE_KEY } from '../meta/lmdb-record.js';
import { parseSnapshotRow, parseVolumeRow } from '../model/row-shape.js';
import type { SnapshotRow } from '../model/snapshot-row.js';
import type { VolumeRow } from '../model/volume-row.js';
import { damage, type ReportFinding } from '../store/check-finding.js';
import type { StoredLayer } from '../store/store-check.js';

/** What the records of a node say. */
export interface MetaContents {
  readonly volumes: readonly VolumeRow[];
  readonly snapshots: readonly SnapshotRow[];
  /** Wrapped data keys by number, a damaged one with no bytes. */
  readonly dataKeys: ReadonlyMap<number, Uint8Array>;
  /** Records are lost or cannot be read: what is missing proves nothing. */
  readonly incomplete: boolean;
}

const NOT_SERVED = 'that volume is not served, its data is untouched: restore the newest copy of meta/';

/** Reads the MetaStore's file without a change to it. */
export function checkMeta(path: string, report: ReportFinding): MetaContents {
  const nothing = { volumes: [], snapshots: [], dataKeys: new Map<number, Uint8Array>() };
  if (!existsSync(path)) {
    report(
      damage(
        'meta',
        `${path} is not there`,
        'no volume is known without it, the data is untouched: restore it from a copy',
      ),
    );
    return { ...nothing, incomplete: true };
  }
  let reader: LmdbReader;
  try {
    reader = LmdbReader.open(path);
  } catch (thrown) {
    report(
      damage('meta', `${path} cannot be read: ${messageOf(thrown)}`, 'a start is refused: restore it from a copy'),
    );
    return { ...nothing, incomplete: true };
  }
  try {
    if (reader.problem !== '') {
      const what = `the pages of its database do not hang together: ${reader.problem}`;
      report(damage('meta', what, 'a start is refused: restore the newest copy of meta/; the data is untouched'));
      return { ...nothing, incomplete: true };
    }
    return readRecords(reader, report);
  } finally {
    reader.close();
  }
}

function readRecords(reader: LmdbReader, report: ReportFinding): MetaContents {
  const volumes: VolumeRow[] = [];
  const snapshots: SnapshotRow[] = [];
  const dataKeys = new Map<number, Uint8Array>();
  const names = new Map<string, string>();
  let damaged = 0;
  let records = 0;
  let digest = 0;
  let state = null;
  for (const { key, value } of reader.rows()) {
    const stored = key.toString('latin1');
    if (stored === STATE_KEY) state = decodeState(value);
    if (!stored.startsWith(RECORD_PREFIX) || stored === STATE_KEY) continue;
    const name = stored.slice(RECORD_PREFIX.length);
    const entry = decodeRecord(name, value);
    if (entry === null) {
      damaged += 1;
      report(
        damage(
          'meta',
          `the record ${name} does not match its checksum`,
          name.startsWith(VOLUME_PREFIX) ? NOT_SERVED : '',
        ),
      );
      if (name.startsWith(DATA_KEY_PREFIX)) dataKeys.set(Number(name.slice(DATA_KEY_PREFIX.length)), new Uint8Array(0));
      continue;
    }
    records += 1;
    digest = (digest ^ checksumOf(value)) >>> 0;
    try {
      if (name.startsWith(VOLUME_PREFIX)) volumes.push(parseVolumeRow(decodeJson(entry), name));
      else if (name.startsWith(SNAPSHOT_PREFIX)) snapshots.push(parseSnapshotRow(decodeJson(entry), name));
      else if (name.startsWith(NAME_PREFIX))
        names.set(name.slice(NAME_PREFIX.length), (decodeJson(entry) as { id: string }).id);
      else if (name.startsWith(DATA_KEY_PREFIX)) dataKeys.set(Number(name.slice(DATA_KEY_PREFIX.length)), entry.value);
    } catch (thrown) {
      damaged += 1;
      report(damage('meta', messageOf(thrown), NOT_SERVED));
    }
  }
  const sumMatches = state !== null && state.records === records && state.digest === digest;
  if (state === null) report(damage('meta', 'the record that sums up the others is damaged', 'a start makes it anew'));
  else if (!sumMatches && damaged === 0) {
    report(
      damage(
        'meta',
        'the records do not add up: some are missing, or older than they should be',
        'compare with a copy of meta/',
      ),
    );
  }
  for (const { name, id, phase } of volumes) {
    if (phase === 'live' && names.get(name) !== id) {
      report(damage(`volume ${name}`, 'its name has no record of its own', 'it is served; a start mends the name'));
    }
  }
  return { volumes, snapshots, dataKeys, incomplete: damaged > 0 || !sumMatches };
}

/** Holds the rows of volumes and snapshots, and the layers of the store, to each other. */
export function checkLayersOfVolumes(
  { volumes, snapshots, incomplete }: MetaContents,
  layers: readonly StoredLayer[],
  report: ReportFinding,
): void {
  const known = new Map(layers.map((layer) => [layer.id, layer]));
  const owners = new Map<number, string>();
  for (const row of volumes) {
    const subject = `volume ${nameOf(row)}`;
    const other = owners.get(row.layer);
    owners.set(row.layer, subject);
    if (other !== undefined) report(damage(subject, `its layer, ${row.layer}, is said to be that of ${other} as well`));
    const layer = known.get(row.layer);
    if (row.phase === 'deleting') continue;
    const wrong = (what: string): void => report(damage(subject, what, 'it is not served; the others are'));
    if (layer === undefined) wrong(`its layer, ${row.layer}, is not in the store`);
    else if (layer.blockBytes !== row.blockBytes) {
      wrong(`its layer has blocks of ${layer.blockBytes} bytes, its record says ${row.blockBytes}`);
    } else if (layer.state !== 'head' || layer.hidden) wrong(`its layer, ${row.layer}, cannot be written to any more`);
    else if (layer.sizeBytes < row.sizeBytes) {
      report(
        damage(
          subject,
          `its layer holds ${layer.sizeBytes} bytes, its record says ${row.sizeBytes}`,
          'what lies behind reads as errors',
        ),
      );
    }
  }
  const names = new Map(volumes.map((row) => [row.id, nameOf(row)]));
  for (const row of snapshots) {
    const volume = names.get(row.volumeId);
    const subject = `snapshot ${volume ?? row.volumeId}@${row.name}`;
    owners.set(row.layer, subject);
    if (row.phase === 'deleting') continue;
    const layer = known.get(row.layer);
    const wrong = (what: string): void => report(damage(subject, what, 'it cannot be read; the others can'));
    if (volume === undefined && !incomplete) wrong('no volume is known that it is of');
    if (layer === undefined) wrong(`its layer, ${row.layer}, is not in the store`);
    else if (layer.state === 'head') wrong(`its layer, ${row.layer}, is still written to`);
    else if (layer.hidden) wrong(`its layer, ${row.layer}, was given up`);
  }
  for (const layer of layers) {
    if (layer.hidden || owners.has(layer.id)) continue;
    const subject = `layer ${layer.id}`;
    if (incomplete)
      report(
        damage(subject, 'no record that can be read names it', 'its data is kept: restore the newest copy of meta/'),
      );
    else
      report({
        level: 'note',
        subject,
        what: 'no volume and no snapshot names it: a creation was cut off, or records were lost',
        reads: '',
      });
  }
}

/** What people call it. */
export function nameOf(row: VolumeRow): string {
  return row.retained?.formerName ?? row.name;
}
