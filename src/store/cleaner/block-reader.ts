import { viewOf } from '../../base/bytes.js';
import type { Checksums, KeyringId } from '../../io/block-keys.js';
import type { FileId, Files } from '../../io/files.js';
import { OpenBatch, OpenStatus } from '../../io/open-batch.js';
import { BLOCK, storedBytesOf } from '../../io/record-layout.js';
import { isHeaderOf } from '../journal/block-header.js';
import type { SegmentFiles } from '../journal/segment-files.js';
import type { SegmentTable } from '../journal/segment-table.js';
import { BLOCK_BYTES_MAX, RESEAL_GAP_BYTES, RESEAL_READ_BYTES } from '../limits.js';
import { offsetUnitsOf, slotOf } from '../location.js';

/** A block of a layer and where it lies. */
export interface PlacedBlock {
  readonly block: number;
  readonly location: number;
}

/** What a block's header cannot tell: it is damaged, of another use of its segment, or cannot be read. */
export const UNKNOWN_KEY = -1;

/** Looks at sealed blocks where they lie: under which keys they are, and what is in them. */
export class BlockReader {
  readonly #files: Files;
  readonly #checksums: Checksums;
  readonly #segmentFiles: SegmentFiles;
  readonly #table: SegmentTable;
  readonly #bytes = new Uint8Array(RESEAL_READ_BYTES + storedBytesOf(BLOCK_BYTES_MAX));
  readonly #batch = new OpenBatch();

  constructor(dependencies: { files: Files; checksums: Checksums; segmentFiles: SegmentFiles; table: SegmentTable }) {
    this.#files = dependencies.files;
    this.#checksums = dependencies.checksums;
    this.#segmentFiles = dependencies.segmentFiles;
    this.#table = dependencies.table;
  }

  /** The data key number of each block, or UNKNOWN_KEY. Locations ascend, and their segments stay what they are meanwhile. */
  async keyNumbers(blocks: readonly PlacedBlock[], blockBytes: number): Promise<Float64Array> {
    const found = new Float64Array(blocks.length).fill(UNKNOWN_KEY);
    const stored = storedBytesOf(blockBytes);
    const offsetOf = (n: number): number => offsetUnitsOf(blocks[n].location) * (blockBytes / 64);
    for (let first = 0; first < blocks.length;) {
      const slot = slotOf(blocks[first].location);
      let end = first + 1;
      while (
        end < blocks.length &&
        slotOf(blocks[end].location) === slot &&
        offsetOf(end) - offsetOf(end - 1) - stored <= RESEAL_GAP_BYTES &&
        offsetOf(end) + stored - offsetOf(first) <= this.#bytes.length
      ) {
        end += 1;
      }
      const file = await this.#segmentFiles.openIfThere(slot);
      if (file !== null) {
        const from = offsetOf(first);
        const isRead = await this.#read(file, from, offsetOf(end - 1) + stored - from);
        for (let n = first; n < end; n += 1) {
          const at = offsetOf(n) - from;
          if (isRead) found[n] = this.#numberAt(slot, at);
          else if (await this.#read(file, offsetOf(n), BLOCK.HEADER_BYTES)) found[n] = this.#numberAt(slot, 0);
        }
      }
      first = end;
    }
    return found;
  }

  /** Bytes that the file does not have are zeros. false: they cannot be read. */
  async #read(file: FileId, offset: number, length: number): Promise<boolean> {
    let done = 0;
    try {
      while (done < length) {
        const read = await this.#files.read(file, offset + done, this.#bytes, done, length - done);
        if (read === 0) break;
        done += read;
      }
    } catch {
      return false;
    }
    this.#bytes.fill(0, done, length);
    return true;
  }

  #numberAt(slot: number, at: number): number {
    if (!isHeaderOf(this.#table.generations[slot], this.#bytes, at, this.#checksums)) return UNKNOWN_KEY;
    return viewOf(this.#bytes).getUint32(at + BLOCK.KEY_NUMBER_AT, true);
  }

  /**
   * Opens blocks one behind another into `plain`; resolves to an OpenStatus for each. `keyring` is asked in the turn in which
   * they go to the kernel.
   */
  async open(
    blocks: readonly PlacedBlock[],
    blockBytes: number,
    keyring: () => KeyringId,
    plain: Uint8Array,
  ): Promise<Int32Array> {
    const files = new Map<number, FileId>();
    for (const { location } of blocks) {
      const slot = slotOf(location);
      if (!files.has(slot)) files.set(slot, await this.#segmentFiles.open(slot));
    }
    const batch = this.#batch;
    batch.clear();
    batch.destinations.push(plain);
    const keys = keyring();
    for (const [n, { block, location }] of blocks.entries()) {
      const slot = slotOf(location);
      const offset = offsetUnitsOf(location) * (blockBytes / 64);
      const generation = this.#table.generations[slot];
      const file = files.get(slot) ?? (0 as FileId);
      const at = n * blockBytes;
      batch.add(file, offset, storedBytesOf(blockBytes), generation, block, keys, 0, at, blockBytes);
    }
    // On reader threads in any case: nobody waits for it, and so much at once would hold the event loop.
    await new Promise<void>((resolve) => {
      this.#files.openLater(batch, resolve);
    });
    batch.destinations.length = 0;
    return batch.status.slice(0, blocks.length);
  }
}

export const isOpened = (status: number): boolean => status === OpenStatus.OK;
