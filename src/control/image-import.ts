import { Operation } from '../device/block-device.js';
import type { VolumeHandle } from '../volume/volume-host.js';
import { cancelled, invalid } from './control-error.js';
import { HiddenWriter, writeFailure } from './hidden-writer.js';
import { IMAGE_CHUNK_BYTES_MAX, IMPORT_IN_FLIGHT_BYTES_MAX } from './limits.js';
import type { VolumeInTheMaking } from './volume-creator.js';
import type { VolumeRecord } from './volume-record.js';

export interface ImageImportOptions {
  readonly inFlightBytesMax?: number;
}

export interface ImageImportDependencies {
  /** Whether bytes [offset, offset + length) are all zero. */
  readonly isZero: (bytes: Uint8Array, offset: number, length: number) => boolean;
  /** Called once, when it has ended either way. */
  readonly ended: () => void;
}

/**
 * An image on its way into a volume that nobody sees until it is complete.
 *
 *     writing --> completing --> done
 *        |------------|--------> undone     (abort, a failed write, a failed commit)
 */
export class ImageImport {
  readonly #making: VolumeInTheMaking;
  readonly #handle: VolumeHandle;
  readonly #dependencies: ImageImportDependencies;
  readonly #writer: HiddenWriter;
  #state: 'writing' | 'completing' | 'done' | 'undone' = 'writing';
  /** Everything before it has been taken. Ranges may not overlap: writes under way have no order among them. */
  #takenBytes = 0;

  constructor(
    options: ImageImportOptions,
    making: VolumeInTheMaking,
    handle: VolumeHandle,
    dependencies: ImageImportDependencies,
  ) {
    this.#making = making;
    this.#handle = handle;
    this.#dependencies = dependencies;
    this.#writer = new HiddenWriter(
      {
        inFlightBytesMax: options.inFlightBytesMax ?? IMPORT_IN_FLIGHT_BYTES_MAX,
        failureOf: (fault) => writeFailure('the image', 'import', fault),
      },
      handle,
    );
  }

  get sizeBytes(): number {
    return this.#making.row.sizeBytes;
  }

  /**
   * Takes the next range; blocks of zeros are skipped, as the volume reads as zeros anyway. `data` belongs to the
   * import from here on. Resolves when there is room for more; throws what an earlier write ended with.
   */
  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    // The client may have gone while its last messages were still on the way.
    if (this.#state !== 'writing') throw cancelled();
    this.#check(offsetBytes, data.length);
    this.#takenBytes = offsetBytes + data.length;
    const { blockBytes } = this.#handle;
    // Runs of blocks that hold something, block borders being those of the volume.
    let runStart = -1;
    let at = 0;
    while (at < data.length) {
      const end = Math.min(data.length, at + blockBytes - ((offsetBytes + at) % blockBytes));
      if (this.#dependencies.isZero(data, at, end - at)) {
        if (runStart >= 0) this.#submit(offsetBytes, data, runStart, at);
        runStart = -1;
      } else if (runStart < 0) {
        runStart = at;
      }
      at = end;
    }
    if (runStart >= 0) this.#submit(offsetBytes, data, runStart, at);
    await this.#writer.room();
  }

  /** Makes everything durable and the volume visible. On failure nothing of it is left. */
  async complete(): Promise<VolumeRecord> {
    if (this.#state !== 'writing') throw cancelled();
    this.#state = 'completing';
    try {
      await this.#writer.flush();
      const record = await this.#making.commit();
      this.#state = 'done';
      return record;
    } catch (thrown) {
      await this.#undo();
      throw thrown;
    } finally {
      this.#dependencies.ended();
    }
  }

  /** Removes what there is. Fine when it has ended already. */
  async abort(): Promise<void> {
    if (this.#state !== 'writing') return;
    this.#state = 'completing';
    try {
      await this.#writer.settled();
      await this.#undo();
    } finally {
      this.#dependencies.ended();
    }
  }

  /** The volume's handle, for who takes it over after `complete`. */
  get handle(): VolumeHandle {
    return this.#handle;
  }

  async #undo(): Promise<void> {
    await this.#making.undo();
    this.#state = 'undone';
  }

  #check(offsetBytes: number, lengthBytes: number): void {
    if (lengthBytes > IMAGE_CHUNK_BYTES_MAX) {
      throw invalid(
        'data',
        `a message of an image carries at most ${IMAGE_CHUNK_BYTES_MAX} bytes, this one has ${lengthBytes}`,
      );
    }
    if (!Number.isSafeInteger(offsetBytes) || offsetBytes < this.#takenBytes) {
      throw invalid('offset_bytes', `an image is sent in order: offset ${offsetBytes} lies before ${this.#takenBytes}`);
    }
    if (offsetBytes + lengthBytes > this.sizeBytes) {
      throw invalid(
        'offset_bytes',
        `the image is larger than the volume: it goes on to ${offsetBytes + lengthBytes}, the volume has ${this.sizeBytes} bytes`,
      );
    }
  }

  #submit(offsetBytes: number, data: Uint8Array, start: number, end: number): void {
    const lengthBytes = end - start;
    this.#writer.submit({
      operation: Operation.WRITE,
      offsetBytes: offsetBytes + start,
      lengthBytes,
      flags: 0,
      data,
      dataOffset: start,
      costBytes: lengthBytes,
    });
  }
}
