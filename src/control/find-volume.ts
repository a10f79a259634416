import { checkVolumeName } from '../model/volume-name.js';
import { ControlError, invalid } from './control-error.js';
import { CANDIDATES_SHOWN_MAX, ID_PREFIX_LENGTH_MIN, REFERENCE_LENGTH_MAX } from './limits.js';
import type { VolumeRecord } from './volume-record.js';
import type { VolumeTable } from './volume-table.js';

/** live: by name, id or id prefix. retained: by id, id prefix or former name. any: live first, then retained. */
export type Among = 'live' | 'retained' | 'any';

const ID_PREFIX_PATTERN = /^[0-9a-f-]+$/;
const UUID_PATTERN = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * The one volume that a reference means. Throws NOT_FOUND, or AMBIGUOUS with the ids that it could mean. A full id
 * finds its volume whatever its phase, so that the operation itself can say why it does not fit.
 */
export function findVolume(table: VolumeTable, reference: string, among: Among): VolumeRecord {
  if (reference === '') throw invalid('volume', 'name the volume: its name, its id, or the beginning of its id');
  if (reference.length > REFERENCE_LENGTH_MAX) throw invalid('volume', 'that is too long for a name or an id');
  const named = table.named(reference);
  if (named !== undefined && among !== 'retained') return named;
  const exact = table.get(reference.toLowerCase());
  if (exact !== undefined) return exact;

  const pool = table.all().filter(({ row }) => fits(row.phase, among));
  const former = pool.filter(({ row }) => row.retained?.formerName === reference);
  if (former.length > 0) return onlyOne(former, reference);
  // Purge and restore of a live volume are refused with a reason, not with "not found".
  if (named !== undefined) return named;
  const prefix = reference.toLowerCase();
  if (prefix.length >= ID_PREFIX_LENGTH_MIN && ID_PREFIX_PATTERN.test(prefix)) {
    const begun = pool.filter(({ id }) => id.startsWith(prefix));
    if (begun.length > 0) return onlyOne(begun, reference);
  }
  throw notFound(table, reference, among);
}

/** After waiting for its turn: the volume may have been renamed, and its name given to another. */
export function refuseOther(table: VolumeTable, reference: string, among: Among, record: VolumeRecord): void {
  if (findVolume(table, reference, among) === record) return;
  throw new ControlError(`"${reference}" has just come to mean another volume; look again`, {
    code: 'NOT_FOUND',
    what: 'volume',
    reference,
  });
}

/** A name that a volume may get. One that looks like an id would hide the volume that has that id. */
export function checkNewName(name: string): string {
  checkVolumeName(name);
  if (UUID_PATTERN.test(name)) throw invalid('name', `"${name}" looks like the id of a volume; choose another name`);
  return name;
}

function fits(phase: string, among: Among): boolean {
  if (phase === 'deleting') return false;
  return among === 'any' || phase === among;
}

function onlyOne(found: readonly VolumeRecord[], reference: string): VolumeRecord {
  if (found.length === 1) return found[0];
  const shown = found
    .slice(0, CANDIDATES_SHOWN_MAX)
    .map((record) => `${record.id} (${record.displayName})`)
    .join(', ');
  const more = found.length > CANDIDATES_SHOWN_MAX ? ` and ${found.length - CANDIDATES_SHOWN_MAX} more` : '';
  throw new ControlError(`"${reference}" could mean ${found.length} volumes: ${shown}${more}; use the whole id`, {
    code: 'AMBIGUOUS',
    reference,
    candidates: found.slice(0, CANDIDATES_SHOWN_MAX).map(({ id }) => id),
  });
}

function notFound(table: VolumeTable, reference: string, among: Among): ControlError {
  const retained = table.all().some(({ row }) => row.retained?.formerName === reference);
  let text = `there is no volume "${reference}"`;
  if (among === 'retained') text = `there is no retained volume "${reference}"`;
  else if (retained) {
    text += `; a deleted one of that name is retained: see \`gfs volume list --retained\`, bring it back with \`gfs volume restore ${reference}\``;
  }
  return new ControlError(text, { code: 'NOT_FOUND', what: 'volume', reference });
}
