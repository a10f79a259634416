import { assert } from '../../base/assert.js';
import { LEAF_BLOCKS } from '../limits.js';

const CAPACITY_MIN = 1024;
/** Places in the list, in the low bits of a sort key; a block number has the rest of 53 bits. */
const PLACES = 2 ** 20;

/** Blocks that have been copied, in typed arrays: where each lay, and where its copy lies. */
export class MovedBlocks {
  /** The layer that held the block when it was copied. */
  layers = new Float64Array(CAPACITY_MIN);
  blocks = new Float64Array(CAPACITY_MIN);
  from = new Float64Array(CAPACITY_MIN);
  /** 0: the copy has no place yet. */
  to = new Float64Array(CAPACITY_MIN);
  count = 0;

  add(layer: number, block: number, from: number): void {
    if (this.count === this.blocks.length) this.#grow();
    this.layers[this.count] = layer;
    this.blocks[this.count] = block;
    this.from[this.count] = from;
    this.to[this.count] = 0;
    this.count += 1;
  }

  #grow(): void {
    assert(this.count < PLACES, 'a segment holds fewer blocks than that');
    const grown = (old: Float64Array): Float64Array<ArrayBuffer> => {
      const larger = new Float64Array(old.length * 2);
      larger.set(old);
      return larger;
    };
    this.layers = grown(this.layers);
    this.blocks = grown(this.blocks);
    this.from = grown(this.from);
    this.to = grown(this.to);
  }

  clear(): void {
    this.count = 0;
  }

  /** Places in the list by layer and leaf, leaves ascending. */
  byLeaf(): Map<number, { readonly leaf: number; readonly places: Int32Array }[]> {
    const byLayer = new Map<number, number[]>();
    for (let place = 0; place < this.count; place += 1) {
      const found = byLayer.get(this.layers[place]);
      if (found === undefined) byLayer.set(this.layers[place], [place]);
      else found.push(place);
    }
    const result = new Map<number, { leaf: number; places: Int32Array }[]>();
    for (const [layer, places] of byLayer) {
      const keys = new Float64Array(places.length);
      for (const [n, place] of places.entries()) keys[n] = this.blocks[place] * PLACES + place;
      keys.sort();
      const sorted = Int32Array.from(keys, (key) => key & (PLACES - 1));
      const leaves: { leaf: number; places: Int32Array }[] = [];
      for (let begin = 0; begin < sorted.length;) {
        const leaf = Math.floor(this.blocks[sorted[begin]] / LEAF_BLOCKS);
        let end = begin + 1;
        while (end < sorted.length && this.blocks[sorted[end]] < (leaf + 1) * LEAF_BLOCKS) end += 1;
        leaves.push({ leaf, places: sorted.subarray(begin, end) });
        begin = end;
      }
      result.set(layer, leaves);
    }
    return result;
  }
}
