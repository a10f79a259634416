import { type BlockRequest, type DeviceFault, Operation } from '../device/block-device.js';
import { submitAndWait } from '../device/submit-and-wait.js';
import type { VolumeHandle } from '../volume/volume-host.js';
import { ControlError } from './control-error.js';

const NOTHING = new Uint8Array(0);

export interface HiddenWriterOptions {
  readonly inFlightBytesMax: number;
  /** What an operation ends with whose write met a fault. */
  readonly failureOf: (fault: DeviceFault) => ControlError;
}

/** One write; `data` belongs to the writer from here on. */
export interface HiddenWrite extends Omit<BlockRequest, 'done'> {
  /** What it counts as until it has ended. */
  readonly costBytes: number;
}

/** Writes ranges that do not overlap into a volume that nobody sees yet, a bounded number of bytes at a time. */
export class HiddenWriter {
  readonly #options: HiddenWriterOptions;
  readonly #handle: VolumeHandle;
  #inFlightBytes = 0;
  #failure: ControlError | null = null;
  #waiting: (() => void)[] = [];

  constructor(options: HiddenWriterOptions, handle: VolumeHandle) {
    this.#options = options;
    this.#handle = handle;
  }

  submit({ costBytes, ...request }: HiddenWrite): void {
    this.#inFlightBytes += costBytes;
    this.#handle.submit({
      ...request,
      done: (fault) => {
        this.#inFlightBytes -= costBytes;
        if (fault !== null) this.#failure ??= this.#options.failureOf(fault);
        const waiting = this.#waiting;
        this.#waiting = [];
        for (const wake of waiting) wake();
      },
    });
  }

  /** Resolves when there is room for more; throws what an earlier write met. */
  async room(): Promise<void> {
    await this.#until(() => this.#inFlightBytes <= this.#options.inFlightBytesMax);
    this.#throwFailure();
  }

  /** Resolves when everything is durable; throws what a write met. */
  async flush(): Promise<void> {
    await this.settled();
    this.#throwFailure();
    const fault = await submitAndWait(this.#handle, {
      operation: Operation.FLUSH,
      offsetBytes: 0,
      lengthBytes: 0,
      flags: 0,
      data: NOTHING,
      dataOffset: 0,
    });
    if (fault !== null) throw this.#options.failureOf(fault);
  }

  /** Resolves when nothing is under way. */
  settled(): Promise<void> {
    return this.#until(() => this.#inFlightBytes === 0);
  }

  async #until(reached: () => boolean): Promise<void> {
    while (!reached()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #throwFailure(): void {
    if (this.#failure !== null) throw this.#failure;
  }
}

/** The failure of `what` (the image, the stream) that is written by a step; nothing of it stays. */
export function writeFailure(what: string, step: string, fault: DeviceFault): ControlError {
  if (fault.code === 'FULL') {
    return new ControlError(`${what} does not fit: no space left on the node; nothing of it was kept`, {
      code: 'FULL',
    });
  }
  const detail = fault.code === 'IO' ? fault.detail : fault.code;
  return new ControlError(`${what} could not be written (${detail}); nothing of it was kept`, { code: 'FAILED', step });
}
