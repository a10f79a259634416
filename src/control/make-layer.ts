import type { LayerId, VolumeHost } from '../volume/volume-host.js';
import type { RowReferences } from './row-references.js';

/**
 * A new layer whose number no row names: a store that was lost or set back counts from before, and what old rows name must
 * never become new data. `parent`: a frozen layer that it begins as.
 */
export async function makeLayer(
  { host, references }: { readonly host: VolumeHost; readonly references: RowReferences },
  { blockBytes, sizeBytes }: { readonly blockBytes: number; readonly sizeBytes: number },
  parent?: LayerId,
): Promise<LayerId> {
  for (;;) {
    const layer = await host.createLayer(blockBytes, sizeBytes, parent);
    if (!references.namesLayer(layer)) return layer;
    await host.dropLayer(layer);
  }
}
