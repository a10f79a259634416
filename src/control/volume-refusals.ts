/** Why a verb cannot be done to a volume now, and what to do instead. */
import { formatSize } from '../base/size.js';
import type { VolumeRow } from '../model/volume-row.js';
import type { VolumeHandle } from '../volume/volume-host.js';
import { type ControlError, refused } from './control-error.js';
import type { Exports } from './exports.js';
import type { VolumeRecord } from './volume-record.js';

/** Connections that a refusal names. */
const ADDRESSES_SHOWN_MAX = 3;

/** Throws when clients are connected. `otherwise` says what else the user may do. */
export function refuseConnected(record: VolumeRecord, exports: Exports, otherwise: string): void {
  const connections = exports.connections(record.id);
  if (connections.length === 0) return;
  const shown = connections.slice(0, ADDRESSES_SHOWN_MAX).map((connection) => connection.address);
  const more = connections.length > shown.length ? ', ...' : '';
  const count = `${connections.length} ${connections.length === 1 ? 'connection' : 'connections'}`;
  throw refused(
    'connections',
    `volume ${record.displayName} has ${count} (${shown.join(', ')}${more}); disconnect first, or ${otherwise}`,
  );
}

/** The handle of an open volume, or the refusal that says why there is none. */
export function openHandle(record: VolumeRecord, verb: string): VolumeHandle {
  const { serving } = record;
  if (record.row.phase !== 'live') throw wrongState(record, verb);
  if (serving.state === 'open') return serving.handle;
  const reason = serving.state === 'closed' ? 'it is not open yet' : serving.reason;
  const state = serving.state === 'damaged' ? 'damaged' : 'locked';
  throw refused(state, `volume ${record.displayName} is ${state} and cannot be ${verb}: ${reason}`);
}

/** `verb` is a participle: "expanded". The hint says how a retained volume comes back. */
export function wrongState(record: VolumeRecord, verb: string, why = `it is ${record.row.phase}`): ControlError {
  const name = record.displayName;
  const hint = record.row.phase === 'retained' ? `; bring it back with \`gfs volume restore ${name}\`` : '';
  return refused('state', `volume ${name} cannot be ${verb}: ${why}${hint}`);
}

/** `wanted` is in bytes, less than the volume has. */
export function shrinking(row: VolumeRow, wanted: number): ControlError {
  return refused(
    'shrink',
    `volume ${row.name} has ${formatSize(row.sizeBytes)} and cannot shrink to ${formatSize(wanted)}: ` +
      'what lies past the new end would be lost. The way around: shrink the file system in it first, ' +
      'then clone the volume into a smaller one',
  );
}
