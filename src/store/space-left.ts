import type { SpaceReport } from '../io/files.js';
import type { Engine } from './engine.js';
import { COLD_TIERS, RESERVE_SEGMENTS } from './limits.js';

/**
 * What volumes can still write (bytes), and what that makes together with what they take. Dead blocks count as free: the
 * cleaner gives them back. What is held back for trims, deletes, starts and the cleaner's own segments does not.
 */
export function spaceLeft(
  { map, pool }: Pick<Engine, 'map' | 'pool'>,
  disk: SpaceReport,
  options: { readonly segmentBytes: number; readonly capacityBytes: number },
): SpaceReport {
  const live = map.sealedBytes;
  const journal = Math.min(options.capacityBytes, disk.freeBytes + pool.fileCount * options.segmentBytes);
  const totalBytes = Math.max(live, journal - (RESERVE_SEGMENTS + COLD_TIERS) * options.segmentBytes);
  return { freeBytes: totalBytes - live, totalBytes };
}
