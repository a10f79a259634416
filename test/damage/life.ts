import type { VolumeManager } from '../../src/volume/volume-manager.js';
import { flush, writeBlocks, type Opened, type Outcome, type VolumeContents } from './contents.js';

/** Numbers of the patterns that are written after the damage: the reference stores use smaller ones. */
const NUMBER_MIN = 1_000_000;

/**
 * A node lives on after damage: it makes a volume, under a number that no other has, and writes to the healthy ones.
 * `volumes` gets what they hold then.
 */
export async function liveOn(
  manager: VolumeManager,
  node: Opened,
  volumes: VolumeContents[],
  outcome: Outcome,
): Promise<void> {
  const layer = await manager.createLayer(4096, 4 * 4096);
  if (volumes.some((known) => known.layer === layer)) throw new Error(`the number of layer ${layer} was given again`);
  const fresh: VolumeContents = { layer, blockBytes: 4096, encrypted: false, blocks: [0, 0, 0, 0], loose: false };
  volumes.push(fresh);
  const healthy = volumes.filter((contents) => outcome.refused[contents.layer] === undefined);
  for (const contents of healthy.slice(-3)) {
    const handle = node.open(contents);
    try {
      const number = NUMBER_MIN + contents.layer * 10;
      await writeBlocks(handle, contents, 1, [number, number + 1]);
      await flush(handle);
    } finally {
      await handle.close();
    }
  }
}
