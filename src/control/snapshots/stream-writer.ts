import type { Crc32c } from '../../backup/stream-format.js';
import { type DeviceFault, Operation, RequestFlag } from '../../device/block-device.js';
import { submitAndWait } from '../../device/submit-and-wait.js';
import { renumberSealed } from '../../volume/sealed-blocks.js';
import type { VolumeHandle } from '../../volume/volume-host.js';
import { ControlError } from '../control-error.js';
import { IMPORT_IN_FLIGHT_BYTES_MAX } from '../limits.js';

const NOTHING = new Uint8Array(0);
/** What a request of zeros counts as beside its bytes, which it has not. */
const ZEROES_COST_BYTES = 4096;

/** The data keys of a sealed stream, as its sender and as this node numbers them. */
export type KeyNumbers = ReadonlyMap<number, number>;

/** Writes ranges that do not overlap into a volume that nobody sees yet, a bounded number of bytes at a time. */
export class StreamWriter {
  readonly #handle: VolumeHandle;
  readonly #numbers: KeyNumbers;
  readonly #crc32c: Crc32c;
  #inFlightBytes = 0;
  #failure: ControlError | null = null;
  #waiting: (() => void)[] = [];

  /** `numbers`: of a plain stream there are none. */
  constructor(handle: VolumeHandle, { numbers, crc32c }: { numbers: KeyNumbers; crc32c: Crc32c }) {
    this.#handle = handle;
    this.#numbers = numbers;
    this.#crc32c = crc32c;
  }

  /** `data` belongs to the writer from here on. Resolves when there is room for more; throws what an earlier write met. */
  data(offsetBytes: number, data: Uint8Array): Promise<void> {
    return this.#submit(Operation.WRITE, offsetBytes, data.length, data, data.length);
  }

  /** The same of whole blocks as they are sealed. What does not authenticate is not written, and is damage of the stream. */
  sealed(offsetBytes: number, lengthBytes: number, blocks: Uint8Array): Promise<void> {
    const { blockBytes } = this.#handle;
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
  async flush(): Promise<void> {
    await this.settled();
    this.#throwFailure();
    const request = {
      operation: Operation.FLUSH,
      offsetBytes: 0,
      lengthBytes: 0,
      flags: 0,
      data: NOTHING,
      dataOffset: 0,
    };
    const fault = await submitAndWait(this.#handle, request);
    if (fault !== null) throw writeFailure(fault);
  }

  /** Resolves when nothing is under way. */
  settled(): Promise<void> {
    return this.#until(() => this.#inFlightBytes === 0);
  }

  async #submit(
    operation: Operation,
    offsetBytes: number,
    lengthBytes: number,
    data: Uint8Array,
    costBytes: number,
    flags = 0,
  ): Promise<void> {
    this.#inFlightBytes += costBytes;
    this.#handle.submit({
      ...{ operation, offsetBytes, lengthBytes, flags, data, dataOffset: 0 },
      done: (fault) => {
        this.#inFlightBytes -= costBytes;
        if (fault !== null) this.#failure ??= writeFailure(fault);
        const waiting = this.#waiting;
        this.#waiting = [];
        for (const wake of waiting) wake();
      },
    });
    await this.#until(() => this.#inFlightBytes <= IMPORT_IN_FLIGHT_BYTES_MAX);
    this.#throwFailure();
  }

  async #until(reached: () => boolean): Promise<void> {
    while (!reached()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #throwFailure(): void {
    if (this.#failure !== null) throw this.#failure;
  }
}

function forged(detail: string): ControlError {
  const message = `the stream is damaged, or not what its sender sealed: ${detail}; nothing of it was kept`;
  return new ControlError(message, { code: 'DAMAGED', subject: 'stream' });
}

function writeFailure(fault: DeviceFault): ControlError {
  if (fault.code === 'FULL') {
    return new ControlError('the stream does not fit: no space left on the node; nothing of it was kept', {
      code: 'FULL',
    });
  }
  if (fault.code === 'UNAUTHENTIC') return forged(fault.detail);
  const detail = fault.code === 'IO' ? fault.detail : fault.code;
  return new ControlError(`the stream could not be written (${detail}); nothing of it was kept`, {
    code: 'FAILED',
    step: 'receive',
  });
}
