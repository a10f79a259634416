import type { Crc32c } from '../../backup/stream-format.js';
import { type DeviceFault, Operation, RequestFlag } from '../../device/block-device.js';
import { renumberSealed } from '../../volume/sealed-blocks.js';
import type { VolumeHandle } from '../../volume/volume-host.js';
import { ControlError } from '../control-error.js';
import { HiddenWriter, writeFailure } from '../hidden-writer.js';
import { IMPORT_IN_FLIGHT_BYTES_MAX } from '../limits.js';

const NOTHING = new Uint8Array(0);
/** What a request of zeros counts as beside its bytes, which it has not. */
const ZEROES_COST_BYTES = 4096;

/** The data keys of a sealed stream, as its sender and as this node numbers them. */
export type KeyNumbers = ReadonlyMap<number, number>;

/** Writes the ranges of a stream. */
export class StreamWriter {
  readonly #blockBytes: number;
  readonly #numbers: KeyNumbers;
  readonly #crc32c: Crc32c;
  readonly #writer: HiddenWriter;

  /** `numbers`: of a plain stream there are none. */
  constructor(handle: VolumeHandle, { numbers, crc32c }: { numbers: KeyNumbers; crc32c: Crc32c }) {
    this.#blockBytes = handle.blockBytes;
    this.#numbers = numbers;
    this.#crc32c = crc32c;
    this.#writer = new HiddenWriter({ inFlightBytesMax: IMPORT_IN_FLIGHT_BYTES_MAX, failureOf }, handle);
  }

  /** `data` belongs to the writer from here on. Resolves when there is room for more; throws what an earlier write met. */
  data(offsetBytes: number, data: Uint8Array): Promise<void> {
    return this.#submit(Operation.WRITE, offsetBytes, data.length, data, data.length);
  }

  /** The same of whole blocks as they are sealed. What does not authenticate is not written, and is damage of the stream. */
  sealed(offsetBytes: number, lengthBytes: number, blocks: Uint8Array): Promise<void> {
    const blockBytes = this.#blockBytes;
    const named = renumberSealed(blocks, blockBytes, this.#numbers, { crc32c: this.#crc32c });
    if (named * blockBytes < lengthBytes) {
      const at = offsetBytes + named * blockBytes;
      return Promise.reject(
        forged(`the block at offset ${at} is damaged, or under a key that the stream does not have`),
      );
    }
    return this.#submit(Operation.WRITE, offsetBytes, lengthBytes, blocks, blocks.length, RequestFlag.SEALED);
  }

  zero(offsetBytes: number, lengthBytes: number): Promise<void> {
    return this.#submit(Operation.WRITE_ZEROES, offsetBytes, lengthBytes, NOTHING, ZEROES_COST_BYTES);
  }

  /** Resolves when everything is durable; throws what a write met. */
  flush(): Promise<void> {
    return this.#writer.flush();
  }

  /** Resolves when nothing is under way. */
  settled(): Promise<void> {
    return this.#writer.settled();
  }

  #submit(
    operation: Operation,
    offsetBytes: number,
    lengthBytes: number,
    data: Uint8Array,
    costBytes: number,
    flags = 0,
  ): Promise<void> {
    this.#writer.submit({ operation, offsetBytes, lengthBytes, flags, data, dataOffset: 0, costBytes });
    return this.#writer.room();
  }
}

function forged(detail: string): ControlError {
  const message = `the stream is damaged, or not what its sender sealed: ${detail}; nothing of it was kept`;
  return new ControlError(message, { code: 'DAMAGED', subject: 'stream' });
}

function failureOf(fault: DeviceFault): ControlError {
  return fault.code === 'UNAUTHENTIC' ? forged(fault.detail) : writeFailure('the stream', 'receive', fault);
}
