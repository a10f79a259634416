import { storedBytesOf } from '../../io/record-layout.js';
import type { RecordHeader } from '../journal/record.js';
import { packLocation, WHOLE_STORED_UNITS } from '../location.js';

/** The sealed blocks of one record, in typed arrays that serve one record after the other. */
export class RecordBlocks {
  /** The layer that the record names. */
  layer = 0;
  blockBytes = 0;
  count = 0;
  blocks = new Float64Array(0);
  locations = new Float64Array(0);
  /** Where the stored bytes of each are in the bytes at hand. */
  places = new Int32Array(0);

  /** Takes those of a record that lies at `offset` of a segment and at `at` of the bytes at hand. */
  use(header: RecordHeader, slot: number, offset: number, at: number): void {
    const { extents, payloadOffset, blockBytes } = header;
    let count = 0;
    for (const extent of extents) if (!extent.zeros && !extent.origin) count += extent.count;
    if (this.blocks.length < count) {
      this.blocks = new Float64Array(count);
      this.locations = new Float64Array(count);
      this.places = new Int32Array(count);
    }
    this.layer = header.layer;
    this.blockBytes = blockBytes;
    this.count = count;
    const stored = storedBytesOf(blockBytes);
    const unit = blockBytes / 64;
    let place = 0;
    for (const extent of extents) {
      if (extent.zeros || extent.origin) continue;
      for (let n = 0; n < extent.count; n += 1) {
        const inRecord = payloadOffset + place * stored;
        this.blocks[place] = extent.first + n;
        this.locations[place] = packLocation(slot, (offset + inRecord) / unit, WHOLE_STORED_UNITS);
        this.places[place] = at + inRecord;
        place += 1;
      }
    }
  }
}
