import type { LayerId, LayerSummary } from '../volume/volume-host.js';

/**
 * Layers that show blocks of these or of what these were made from, and are somebody else's: of another volume, of its
 * snapshots, or of something that is being made.
 */
export function sharersOf(layers: readonly LayerSummary[], own: ReadonlySet<number>): LayerId[] {
  const known = new Map(layers.map((layer) => [layer.layer as number, layer]));
  const chainOf = (start: number): LayerSummary[] => {
    const chain: LayerSummary[] = [];
    for (let layer = known.get(start); layer !== undefined; layer = known.get(layer.parent ?? 0)) chain.push(layer);
    return chain;
  };
  const shown = new Set([...own].flatMap((id) => chainOf(id).map(({ layer }) => layer)));
  return layers
    .filter(({ layer, hidden }) => !hidden && !own.has(layer))
    .filter(({ layer }) => chainOf(layer).some((below) => shown.has(below.layer)))
    .map(({ layer }) => layer);
}
