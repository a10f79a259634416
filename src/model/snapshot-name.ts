/** A snapshot is written VOLUME@SNAPSHOT wherever one is named; neither part has an '@' of its own. */
import { VOLUME_NAME_LENGTH_MAX } from './limits.js';
import { ModelError } from './model-error.js';
import type { SnapshotOrigin } from './snapshot-row.js';
import { problemOf } from './volume-name.js';

export const SNAPSHOT_MARK = '@';

/** What "VOLUME@SNAPSHOT" names; `snapshot` null: the volume itself. */
export interface PointReference {
  readonly volume: string;
  readonly snapshot: string | null;
}

/** Returns the name, or throws ModelError NAME that says which character is wrong. The rule is that of volume names. */
export function checkSnapshotName(name: string): string {
  const problem = problemOf(name, VOLUME_NAME_LENGTH_MAX);
  if (problem !== '') throw new ModelError(`snapshot name ${problem}`, { code: 'NAME', name });
  return name;
}

/** Takes a reference apart at its first '@'. Nothing is checked: whoever looks the parts up finds them, or not. */
export function parsePoint(reference: string): PointReference {
  const at = reference.indexOf(SNAPSHOT_MARK);
  if (at < 0) return { volume: reference, snapshot: null };
  return { volume: reference.slice(0, at), snapshot: reference.slice(at + 1) };
}

/** `web-data@monday`. */
export function pointName(volume: string, snapshot: string): string {
  return `${volume}${SNAPSHOT_MARK}${snapshot}`;
}

const PREFIXES: Record<SnapshotOrigin, string> = { manual: 'snap', schedule: 'auto', safety: 'safety' };

/** A name for a snapshot that got none: what it is for and its moment in UTC; a number follows when that is taken. */
export function generatedSnapshotName(
  origin: SnapshotOrigin,
  atMs: number,
  isTaken: (name: string) => boolean,
): string {
  const moment = new Date(atMs).toISOString().slice(0, 19).replaceAll(':', '').replace('T', '-');
  const name = `${PREFIXES[origin]}-${moment}`;
  if (!isTaken(name)) return name;
  let count = 2;
  while (isTaken(`${name}-${count}`)) count += 1;
  return `${name}-${count}`;
}
