import type { ChangedRanges, LayerId, LayerSummary, LayerUsage, VolumeHost } from '../../src/volume/volume-host.js';
import { Violation } from './expectations.js';
import type { JournalHistory, LayerHistory } from './journal-history.js';

/**
 * Holds the layers that a start finds against those that the journal says there are: each with its size and state, and of
 * hidden ones none but those from which something is made that is still there. With `part` some may be missing.
 */
export function checkLayers(layers: readonly LayerSummary[], history: JournalHistory, part: boolean): void {
  const named = (id: number, state: string, blockBytes: number, sizeBytes: number): string =>
    `${id} (${state}, ${sizeBytes} by ${blockBytes})`;
  const is = layers
    .filter(({ damage, hidden }) => damage === '' && !hidden)
    .map(({ layer, state, blockBytes, sizeBytes }) => named(layer, state, blockBytes, sizeBytes))
    .sort();
  const should = history
    .alive()
    .map((layer) => {
      const { id, frozen, blockBytes, sizeBlocks } = layer;
      return named(id, frozen ? 'frozen' : 'head', blockBytes, sizeBlocks * blockBytes);
    })
    .sort();
  const right = part ? is.every((row) => should.includes(row)) : is.join() === should.join();
  if (!right) throw new Violation(`a start finds the layers ${is.join()}; there were ${should.join()}`);
  if (part) return;
  const hidden = layers.filter((layer) => layer.hidden).map(({ layer }) => layer as number);
  for (const id of history.settledTree().keys()) {
    if (history.layers.get(id)?.alive === false && !hidden.includes(id)) {
      throw new Violation(`layer ${id} was dropped while others were made from it, and a start does not find it`);
    }
  }
  for (const id of hidden) {
    if (!history.hasLeft(id)) throw new Violation(`a start finds layer ${id}, and nothing is made from it any more`);
  }
}

/** Blocks of a layer's own: those that it shows and its parent does not. */
function ownBlocks(layer: LayerHistory, history: JournalHistory, tree: ReadonlyMap<number, number>): number[] {
  const parent = history.layers.get(tree.get(layer.id) ?? 0);
  return [...layer.blocks.keys()].filter((block) => {
    const shown = layer.shown(block);
    return shown !== null && shown !== parent?.shown(block);
  });
}

/** Sums of live data, after a checkpoint: each block belongs to one layer. */
export function checkSums(layers: readonly LayerSummary[], history: JournalHistory): void {
  const tree = history.settledTree();
  for (const { layer: id, hidden, allocatedBytes, blockBytes } of layers) {
    const layer = history.layers.get(id);
    if (layer === undefined || hidden) continue;
    const should = ownBlocks(layer, history, tree).length;
    if (allocatedBytes === should * blockBytes) continue;
    throw new Violation(`layer ${id} has ${allocatedBytes / blockBytes} blocks of its own, and should have ${should}`);
  }
}

export function checkUsage(usage: LayerUsage, layer: LayerHistory, history: JournalHistory): void {
  const { id, blockBytes } = layer;
  const tree = history.settledTree();
  const children = [...history.layers.values()].filter((each) => tree.get(each.id) === id);
  const exclusive = ownBlocks(layer, history, tree).filter((block) =>
    children.every((child) => child.shown(block) !== layer.shown(block)),
  ).length;
  const referenced = [...layer.blocks.keys()].filter((block) => layer.shown(block) !== null).length;
  const is = `${usage.exclusiveBytes / blockBytes} exclusive, ${usage.referencedBytes / blockBytes} referenced`;
  const should = `${exclusive} exclusive, ${referenced} referenced`;
  if (is !== should) throw new Violation(`layer ${id} has ${is} blocks, and should have ${should}`);
}

/** The whole difference of two layers, page by page, against what their contents say. */
export async function checkDifference(
  manager: Pick<VolumeHost, 'diff'>,
  from: LayerHistory | null,
  to: LayerHistory,
  rangesMax: number,
): Promise<void> {
  const { blockBytes } = to;
  const changed = new Map<number, boolean>();
  const fromId = from === null ? null : (from.id as LayerId);
  for (let offset: number | null = 0; offset !== null;) {
    const page: ChangedRanges = await manager.diff(fromId, to.id as LayerId, offset, rangesMax);
    for (const { offsetBytes, lengthBytes, data } of page.ranges) {
      for (let at = offsetBytes; at < offsetBytes + lengthBytes; at += blockBytes) {
        if (changed.has(at / blockBytes)) throw new Violation(`a difference tells of block ${at / blockBytes} twice`);
        changed.set(at / blockBytes, data);
      }
    }
    offset = page.nextOffsetBytes;
  }
  const name = `the difference of layers ${from?.id ?? 'none'} and ${to.id}`;
  const blocks = new Set([...to.blocks.keys(), ...(from?.blocks.keys() ?? []), ...changed.keys()]);
  for (const block of blocks) {
    if (block >= to.sizeBlocks) continue;
    const shown = to.shown(block);
    const should = shown === (from?.shown(block) ?? null) ? undefined : shown !== null;
    if (changed.get(block) === should) continue;
    const say = (data: boolean | undefined): string => (data === undefined ? 'the same' : data ? 'data' : 'zeros');
    throw new Violation(`${name} says of block ${block}: ${say(changed.get(block))}; it is ${say(should)}`);
  }
}
