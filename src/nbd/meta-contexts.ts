/**
 * Metadata contexts of an export ("Metadata querying" of the protocol text): base:allocation, which every export has, and
 * what its composition offers beside it.
 */
import type { BlockDevice } from '../device/block-device.js';
import { DeviceError } from '../device/device-error.js';
import { BASE_ALLOCATION, NBD_STATE_HOLE, NBD_STATE_ZERO } from './constants.js';

/** A run of bytes with the flags that a context gives it. */
export interface StatusRun {
  readonly lengthBytes: number;
  readonly flags: number;
}

/** Runs from an offset on, in order and without gaps, at most so many; not empty. Rejects when it cannot be said. */
export type StatusSource = (offsetBytes: number, lengthBytes: number, runsMax: number) => Promise<StatusRun[]>;

/** Contexts of an export besides base:allocation. */
export interface ExportContexts {
  /** Full names, `namespace:leaf`. */
  names(): readonly string[];
  /** null: there is no such context now. */
  open(name: string): StatusSource | null;
}

/** A context that a client has selected, under the id that it was given. */
export interface SelectedContext {
  readonly id: number;
  readonly name: string;
  readonly status: StatusSource;
}

/** What one context says of a range. */
export interface ContextStatus {
  readonly id: number;
  readonly runs: readonly StatusRun[];
}

/** Those of an export that the queries of a LIST_META_CONTEXT want: none wants all, `namespace:` all that begin so. */
export function listedContexts(contexts: ExportContexts | undefined, queries: readonly string[]): string[] {
  const all = [BASE_ALLOCATION, ...(contexts?.names() ?? [])];
  if (queries.length === 0) return all;
  const isWanted = (name: string): boolean =>
    queries.some((query) => name === query || (query.endsWith(':') && name.startsWith(query)));
  return all.filter(isWanted);
}

/** The contexts that the queries of a SET_META_CONTEXT name, each once, numbered from 1, at most so many. */
export function selectContexts(
  device: BlockDevice,
  contexts: ExportContexts | undefined,
  queries: readonly string[],
  contextsMax: number,
): SelectedContext[] {
  const selected: SelectedContext[] = [];
  for (const name of new Set(queries)) {
    if (selected.length >= contextsMax) break;
    const status = name === BASE_ALLOCATION ? allocationOf(device) : (contexts?.open(name) ?? null);
    if (status !== null) selected.push({ id: selected.length + 1, name, status });
  }
  return selected;
}

function allocationOf(device: BlockDevice): StatusSource {
  return async (offsetBytes, lengthBytes, runsMax) => {
    const extents = await device.extents(offsetBytes, lengthBytes, runsMax);
    return extents.map((extent) => ({
      lengthBytes: extent.lengthBytes,
      // What is not allocated reads as zeros.
      flags: extent.allocated ? 0 : NBD_STATE_HOLE | NBD_STATE_ZERO,
    }));
  };
}

/** What each context says of a range: no more runs and no more bytes than were asked for, none empty. */
export function askContexts(
  contexts: readonly SelectedContext[],
  offsetBytes: number,
  lengthBytes: number,
  runsMax: number,
): Promise<ContextStatus[]> {
  const asked = contexts.map(async ({ id, status }) => {
    const runs = clipRuns(await status(offsetBytes, lengthBytes, runsMax), lengthBytes, runsMax);
    // A reply has at least one descriptor for each context.
    if (runs.length === 0) throw new DeviceError('no status', { code: 'IO', detail: 'a context says nothing' });
    return { id, runs };
  });
  return Promise.all(asked);
}

/** Holds a source to its contract. */
function clipRuns(runs: readonly StatusRun[], lengthBytes: number, runsMax: number): StatusRun[] {
  const clipped: StatusRun[] = [];
  let left = lengthBytes;
  for (const { lengthBytes: length, flags } of runs) {
    const bytes = Math.min(length, left);
    if (bytes > 0) clipped.push({ lengthBytes: bytes, flags });
    left -= bytes;
    if (clipped.length === runsMax) break;
  }
  return clipped;
}
