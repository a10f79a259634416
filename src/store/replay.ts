import { assert } from '../base/assert.js';
import type { Log } from '../base/log.js';
import { RecordKind, type RecordHeader } from './journal/record.js';
import type { ScanSink } from './journal/journal-scan.js';
import { HOLE, packLocation, WHOLE_STORED_UNITS } from './location.js';
import type { BlockMap } from './map/block-map.js';
import { Layer } from './map/layer.js';
import { refuseWithDescendants } from './map/layer-tree.js';
import { StoreError } from './store-error.js';

/**
 * Applies scanned records to the map: exactly what publishing them did. After a gap every layer is suspect until its
 * next record shows, by its ordinal, that the gap held nothing of it; those that stay suspect are refused by name.
 */
export class Replay implements Pick<ScanSink, 'record' | 'gap'> {
  readonly #map: BlockMap;
  readonly #log: Log;
  /** Waits until memory has room for more dirty leaves. */
  readonly #makeRoom: () => Promise<void>;
  readonly #suspects = new Set<Layer>();
  readonly #unknown = new Set<number>();
  #gapSeen = false;
  /** Highest layer id seen. */
  layerMax = 0;
  /** Records that said something; pads do not. */
  applied = 0;
  damagedRecords = 0;
  gaps = 0;
  /** '' or a page in a gap that another start may be able to read: then nothing that follows from the gap is final. */
  unread = '';

  constructor(dependencies: { map: BlockMap; log: Log; makeRoom: () => Promise<void> }) {
    this.#map = dependencies.map;
    this.#log = dependencies.log;
    this.#makeRoom = dependencies.makeRoom;
  }

  record(header: RecordHeader, slot: number, offset: number, payloadDamaged: boolean): Promise<void> | void {
    if (payloadDamaged) {
      this.damagedRecords += 1;
      this.#log.error(
        { slot, offset, layer: header.layer, sequence: header.sequence },
        'store: a durable record has a damaged payload; its blocks are judged by their own tags when read',
      );
    }
    if (header.kind === RecordKind.PAD) return;
    this.applied += 1;
    this.layerMax = Math.max(this.layerMax, header.layer);
    if (header.kind === RecordKind.BARRIER) {
      this.#barrier(header);
      return;
    }
    if (header.kind === RecordKind.OPEN) this.#open(header);
    const layer = this.#map.layers.get(header.layer);
    if (layer === undefined) {
      this.#stranger(header);
      return;
    }
    this.#checkOrdinal(layer, header);
    if (layer.gone) return;
    switch (header.kind) {
      case RecordKind.WRITE:
      case RecordKind.HOLE:
        this.#write(layer, header, slot, offset);
        break;
      case RecordKind.DROP:
        this.#map.dropLayer(layer, header.sequence);
        break;
      case RecordKind.MERGE:
        this.#merge(layer, header);
        break;
      case RecordKind.OPEN:
        break;
      default:
        throw new StoreError(`the journal holds records of kind ${header.kind}: use a newer gfs`, {
          code: 'NEWER_FORMAT',
          subject: 'journal',
        });
    }
    if (this.#map.dirtyLeaves >= this.#map.dirtyLeavesMax) return this.#makeRoom();
  }

  #open(header: RecordHeader): void {
    const sizeBlocks = header.extents.length === 1 ? header.extents[0].first : 0;
    const layer = this.#map.layers.get(header.layer);
    if (layer !== undefined) {
      // Of a layer that is there: it has grown. The checkpoint may already know a later size.
      layer.sizeBlocks = Math.max(layer.sizeBlocks, sizeBlocks);
      return;
    }
    const { blockBytes, parent, ordinal } = header;
    // Its birth is lost and this is a growth, or what it shows is: it would show zeros in place of what is lost.
    if (ordinal !== 1 || (parent !== 0 && !this.#map.layers.has(parent))) return;
    const born = this.#map.addLayer(Layer.born({ id: header.layer, parent, blockBytes, sizeBlocks }).row());
    born.damage = this.#map.layers.get(parent)?.damage ?? '';
  }

  /** Heads freeze, and each gets a child. The checkpoint may know it already, and what became of the layers since. */
  #barrier(header: RecordHeader): void {
    for (let n = 0; n + 1 < header.extents.length; n += 2) {
      const head = this.#map.layers.get(header.extents[n].first);
      const id = header.extents[n].count;
      this.layerMax = Math.max(this.layerMax, id);
      if (head === undefined) {
        this.#stranger({ ...header, layer: header.extents[n].first });
        continue;
      }
      this.#checkOrdinal(head, { ...header, ordinal: header.extents[n + 1].first });
      const { blockBytes, sizeBlocks } = head;
      const child =
        this.#map.layers.get(id) ??
        this.#map.addLayer(Layer.born({ id, parent: head.id, blockBytes, sizeBlocks }).row());
      this.#map.freeze([{ head, child }], header.sequence);
    }
  }

  #merge(layer: Layer, header: RecordHeader): void {
    const heir = this.#map.layers.get(header.parent);
    if (heir === undefined) this.#refuse(layer, `record ${header.sequence} names an heir that is not known`);
    else this.#map.beginMerge(layer, heir, header.sequence);
  }

  #write(layer: Layer, header: RecordHeader, slot: number, offset: number): void {
    if (header.blockBytes !== layer.blockBytes) {
      this.#refuse(layer, `record ${header.sequence} has another block size`);
      return;
    }
    const unit = layer.blockBytes / 64;
    const stored = unit * WHOLE_STORED_UNITS;
    let at = offset + header.payloadOffset;
    for (const extent of header.extents) {
      if (extent.first + extent.count > layer.sizeBlocks) {
        this.#refuse(layer, `record ${header.sequence} writes past the end of the layer`);
        return;
      }
      if (extent.zeros) {
        this.#map.setHole(layer, extent.first, extent.count, header.sequence);
      } else {
        const location = packLocation(slot, at / unit, WHOLE_STORED_UNITS);
        assert(location !== HOLE, 'a location is never a hole');
        this.#map.setBlocks(layer, extent.first, extent.count, location, header.sequence);
        at += extent.count * stored;
      }
    }
  }

  #checkOrdinal(layer: Layer, header: RecordHeader): void {
    if (header.ordinal <= layer.ordinal) return; // The checkpoint is ahead of this record.
    if (this.#suspects.delete(layer) && header.ordinal !== layer.ordinal + 1) {
      this.#refuse(layer, `records ${layer.ordinal + 1} to ${header.ordinal - 1} of it are lost in damaged journal`);
    }
    layer.ordinal = header.ordinal;
  }

  /** A record of a layer that nobody opened: damage, unless a gap explains it. */
  #stranger(header: RecordHeader): void {
    if (this.#unknown.has(header.layer)) return;
    this.#unknown.add(header.layer);
    this.#log.error(
      { layer: header.layer, sequence: header.sequence, gap: this.#gapSeen },
      'store: the journal names a layer that is not known; its records are ignored and its volume is refused',
    );
  }

  gap(from: number, to: number, slot: number, offset: number, unread: string): void {
    this.gaps += 1;
    if (this.unread === '') this.unread = unread;
    this.#gapSeen = true;
    this.#log.error({ slot, offset, from, to, unread }, 'store: durable journal records are lost');
    for (const layer of this.#map.layers.values()) if (!layer.gone) this.#suspects.add(layer);
  }

  /** Refuses what no later record has cleared. Returns the layers that are refused. */
  finish(): Layer[] {
    for (const layer of this.#suspects) {
      this.#refuse(layer, 'the journal is damaged where this volume may have been written');
    }
    this.#suspects.clear();
    return [...this.#map.layers.values()].filter((layer) => layer.damage !== '');
  }

  #refuse(layer: Layer, damage: string): void {
    const unread = this.unread === '' ? '' : ` (${this.unread} cannot be read; start again when the disk can)`;
    refuseWithDescendants(this.#map.layers, layer, `${damage}${unread}`);
    this.#log.error({ layer: layer.id, damage }, 'store: a layer is refused');
  }
}
