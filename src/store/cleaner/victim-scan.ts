import type { Checksums } from '../../io/block-keys.js';
import type { Files } from '../../io/files.js';
import { decodeRecordHeader, RECORD_HEADER_BYTES, RecordKind } from '../journal/record.js';
import type { SegmentFiles } from '../journal/segment-files.js';
import { SegmentWindow } from '../journal/segment-window.js';
import type { SegmentTable } from '../journal/segment-table.js';
import { RECORD_EXTENTS_MAX, SEGMENT_HEADER_BYTES } from '../limits.js';
import { RecordBlocks } from './record-blocks.js';

/** The longest header that a record can have. */
const HEADER_BYTES_MAX = RECORD_HEADER_BYTES + 16 * RECORD_EXTENTS_MAX;

/** Reads a segment from front to back and tells every block that its records hold. */
export class VictimScan {
  readonly #io: { files: Files; segmentFiles: SegmentFiles; table: SegmentTable; checksums: Checksums };
  readonly #window: SegmentWindow;
  readonly #blocks = new RecordBlocks();
  #unread = false;

  constructor(dependencies: { files: Files; segmentFiles: SegmentFiles; table: SegmentTable; checksums: Checksums }) {
    this.#io = dependencies;
    this.#window = new SegmentWindow({
      files: dependencies.files,
      unread: () => {
        this.#unread = true;
      },
    });
  }

  /**
   * Hands over the blocks of one record after the other, with the bytes that hold them until the answer. True when the
   * records were whole up to where the segment is known to end: only then is everything known that lies in it.
   */
  async run(slot: number, record: (blocks: RecordBlocks, bytes: Uint8Array) => Promise<boolean>): Promise<boolean> {
    const { segmentFiles, table, checksums } = this.#io;
    const { usedBytes, stampLow, stampHigh } = table.row(slot);
    if (usedBytes === 0) return true;
    const file = await segmentFiles.openIfThere(slot);
    if (file === null) return false;
    segmentFiles.pin(slot);
    try {
      this.#unread = false;
      await this.#window.use(file, usedBytes);
      const check = { stampLow, stampHigh, crc32c: checksums.crc32c.bind(checksums) };
      let offset = SEGMENT_HEADER_BYTES;
      while (offset < usedBytes) {
        let at = await this.#window.at(offset, HEADER_BYTES_MAX);
        const header = decodeRecordHeader(this.#window.bytes, at, usedBytes - offset, check);
        if (header === null || this.#unread) return false;
        if (header.kind === RecordKind.WRITE || header.kind === RecordKind.RELOCATE) {
          at = await this.#window.at(offset, header.recordBytes);
          // What cannot be read shows as zeros.
          if (this.#unread) return false;
          this.#blocks.use(header, slot, offset, at);
          if (!(await record(this.#blocks, this.#window.bytes))) return false;
        }
        offset += header.recordBytes;
      }
      return offset === usedBytes && !this.#unread;
    } finally {
      segmentFiles.unpin(slot);
    }
  }
}
