import { isShown, stillNamed } from '../store/bad-blocks.js';
import type { Head } from '../store/head.js';
import { describeStatus } from '../store/read-queue.js';
import { LayerScrub, type BadBlocks, type ScrubPosition, type ScrubStep, type ScrubStore } from '../store/scrub.js';
import type { Store } from '../store/store.js';

export type { ScrubPosition };

/** A part of a volume or of one of its snapshots that cannot be opened. */
export interface BadRange {
  /** The layer that it was written to: the volume's own, or a snapshot's. */
  readonly layer: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** The journal's segment (its slot), that use of it, and where in its file the first block lies; -1, all: the map cannot tell. */
  readonly segment: number;
  readonly generation: number;
  readonly fileOffset: number;
  /** As the store says it; `reason` is the same in words. */
  readonly status: number;
  readonly reason: string;
  /** Whether the volume as it is now shows it; else only snapshots do. */
  readonly shown: boolean;
}

export interface ScrubRequest {
  /** Layers of snapshots that may not be among the ancestors of the volume's own. */
  readonly snapshotLayers: () => readonly number[];
  /** null: from the beginning. */
  readonly from: ScrubPosition | null;
  readonly bytesPerSecond: number;
  /** Ends it after the batch that is under way. */
  readonly signal: AbortSignal;
}

export interface ScrubProgress {
  /** Where a later run goes on. */
  readonly position: ScrubPosition;
  readonly blocks: number;
  /** Bytes read from the journal, headers included. */
  readonly bytes: number;
  readonly bad: readonly BadRange[];
}

/**
 * Reads what a head, its ancestors and its snapshots hold, one batch a step. `demandOpen` throws when the head's keys may not
 * be used any more; then the generator throws that, as it throws StoreError CLOSED.
 */
export async function* scrubHead(
  store: Store,
  head: Head,
  request: ScrubRequest,
  demandOpen: () => void,
): AsyncGenerator<ScrubProgress, void, void> {
  const layers = (): number[] => [head.layerId, ...request.snapshotLayers()];
  const scrub = new LayerScrub(
    { layers, from: request.from, bytesPerSecond: request.bytesPerSecond, signal: request.signal },
    store.scrubDependencies(() => {
      demandOpen();
      return head.keyring;
    }),
  );
  for await (const step of scrub.steps()) yield progressOf(await store.ready(), head, step);
}

/** The ranges that the map still names where they were found damaged. Throws StoreError CLOSED. */
export async function stillBad(store: Store, ranges: readonly BadRange[]): Promise<BadRange[]> {
  const ready = await store.ready();
  const left: BadRange[] = [];
  for (const range of ranges) {
    const layer = ready.map.layers.get(range.layer);
    if (layer === undefined) continue;
    const { blockBytes } = layer;
    const parts = await stillNamed(ready, [blocksOf(range, blockBytes)]);
    for (const part of parts) left.push({ ...range, ...placeOf(part, blockBytes) });
  }
  return left;
}

function progressOf(store: ScrubStore, head: Head, { position, blocks, bytes, bad }: ScrubStep): ScrubProgress {
  const ranges = bad.map((run) => ({
    layer: run.layer,
    segment: run.slot,
    generation: run.generation,
    status: run.status,
    reason: describeStatus(run.status),
    shown: isShown(store, head.layer, run),
    ...placeOf(run, head.blockBytes),
  }));
  return { position, blocks, bytes, bad: ranges };
}

function placeOf(run: BadBlocks, blockBytes: number): Pick<BadRange, 'offsetBytes' | 'lengthBytes' | 'fileOffset'> {
  const { firstBlock, blocks, fileOffset } = run;
  return { offsetBytes: firstBlock * blockBytes, lengthBytes: blocks * blockBytes, fileOffset };
}

function blocksOf(range: BadRange, blockBytes: number): BadBlocks {
  return {
    layer: range.layer,
    firstBlock: range.offsetBytes / blockBytes,
    blocks: range.lengthBytes / blockBytes,
    slot: range.segment,
    generation: range.generation,
    fileOffset: range.fileOffset,
    status: range.status,
  };
}
