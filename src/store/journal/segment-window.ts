import type { FileId, Files } from '../../io/files.js';
import { viewOf } from '../../base/bytes.js';
import { PAGE_BYTES, RECORD_BYTES_MAX } from '../limits.js';
import { readPatiently } from './unread-pages.js';

const WINDOW_BYTES_MAX = 2 * RECORD_BYTES_MAX;

/** A sliding window over one segment file, for reading it from front to back in large steps. */
export class SegmentWindow {
  readonly #files: Files;
  readonly #unread: (offset: number) => void;
  /** As large as the largest segment so far wants it: many a scan only reads header pages, and needs none. */
  #bytes = new Uint8Array(0);
  #view = viewOf(this.#bytes);
  /** Bytes behind this one are zero. */
  #filled = 0;
  #file = -1 as FileId;
  #from = 0;
  #length = 0;
  /** Where the segment ends, though its file may be shorter. */
  #segmentBytes = 0;
  /** Where the file ends: bytes beyond it do not exist. */
  endBytes = 0;

  /** `unread` is told of each page of the file in use that cannot be read. */
  constructor(dependencies: { files: Files; unread: (offset: number) => void }) {
    this.#files = dependencies.files;
    this.#unread = dependencies.unread;
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  get view(): DataView {
    return this.#view;
  }

  /** null: the file is gone, and with it all bytes. */
  async use(file: FileId | null, endBytes: number): Promise<void> {
    this.#from = 0;
    this.#length = 0;
    this.endBytes = 0;
    this.#segmentBytes = endBytes;
    const size = Math.min(WINDOW_BYTES_MAX, endBytes);
    if (this.#bytes.length < size) {
      this.#bytes = new Uint8Array(size);
      this.#view = viewOf(this.#bytes);
      this.#filled = 0;
    }
    if (file === null) return;
    this.#file = file;
    this.endBytes = Math.min(endBytes, await this.#files.sizeBytes(file));
  }

  /**
   * Makes [offset, offset + length) available as far as the segment goes, zeros where its file is shorter; returns where
   * `offset` is in `bytes`. `length` is at most half a window. A page that cannot be read
   * shows as zeros, and is told to `unread`: its bytes fail their checksums, and whoever judges them asks why. `ahead`: more is
   * read at once, for whoever goes on behind them.
   */
  async at(offset: number, length: number, ahead = true): Promise<number> {
    const end = Math.min(offset + length, this.endBytes);
    // A record may claim bytes that a truncated file does not have: the window must have room for them.
    const endInWindow = offset - this.#from + Math.min(length, this.#segmentBytes - offset);
    if (offset < this.#from || end > this.#from + this.#length || endInWindow > this.#bytes.length) {
      const want = Math.min(ahead ? this.#bytes.length : length, Math.max(this.endBytes - offset, 0));
      // What is there already is kept: a window's end cuts a record, and each would be read twice.
      const kept = offset < this.#from ? 0 : Math.max(0, this.#from + this.#length - offset);
      let done = Math.min(kept, want);
      this.#bytes.copyWithin(0, offset - this.#from, offset - this.#from + done);
      this.#from = offset;
      this.#length = want;
      while (done < want) {
        let read = 0;
        try {
          read = await this.#files.read(this.#file, offset + done, this.#bytes, done, want - done);
        } catch {
          read = await this.#readPages(offset + done, done, want - done);
        }
        if (read === 0) break;
        done += read;
      }
      this.#bytes.fill(0, done, Math.max(done, this.#filled));
      this.#filled = done;
    }
    return offset - this.#from;
  }

  /** After a failed read: page by page, as the file has them. */
  async #readPages(offset: number, into: number, length: number): Promise<number> {
    let done = 0;
    while (done < length) {
      const bytes = Math.min(PAGE_BYTES - ((offset + done) % PAGE_BYTES), length - done);
      try {
        await readPatiently(this.#files, this.#file, offset + done, this.#bytes, into + done, bytes);
      } catch {
        this.#bytes.fill(0, into + done, into + done + bytes);
        this.#unread(offset + done);
      }
      done += bytes;
    }
    return length;
  }
}
