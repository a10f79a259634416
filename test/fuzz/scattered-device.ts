import { Operation, type BlockDevice, type BlockRequest, type Extent } from '../../src/device/block-device.js';
import { MemoryDevice } from '../../src/device/memory-device.js';
import type { SeededRandom } from '../base/seeded-random.js';

/**
 * A device in memory that takes its time: requests complete turns later, in another order, and now and then with an
 * error. So a session can end while the device still owns its buffers.
 */
export class ScatteredDevice implements BlockDevice {
  readonly #inner: MemoryDevice;
  readonly #dice: SeededRandom;
  readonly #waiting: BlockRequest[] = [];
  #scheduled = false;
  /** Requests that were ever submitted. */
  submitted = 0;

  constructor(sizeBytes: number, dice: SeededRandom) {
    this.#inner = new MemoryDevice({ sizeBytes });
    this.#dice = dice;
  }

  get blockBytes(): number {
    return this.#inner.blockBytes;
  }

  get sizeBytes(): number {
    return this.#inner.sizeBytes;
  }

  get readOnly(): boolean {
    return false;
  }

  submit(request: BlockRequest): void {
    this.submitted += 1;
    this.#waiting.push(request);
    this.#schedule();
  }

  async extents(offsetBytes: number, lengthBytes: number, extentsMax: number): Promise<Extent[]> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    return this.#inner.extents(offsetBytes, lengthBytes, extentsMax);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      for (let some = 1 + this.#dice.below(8); some > 0 && this.#waiting.length > 0; some -= 1) {
        const [request] = this.#waiting.splice(this.#dice.below(this.#waiting.length), 1);
        if (request !== undefined) this.#complete(request);
      }
      if (this.#waiting.length > 0) this.#schedule();
    });
  }

  #complete(request: BlockRequest): void {
    if (this.#dice.below(40) > 0) {
      this.#inner.submit(request);
      return;
    }
    // A failed read has written into its buffer before it failed.
    if (request.operation === Operation.READ) request.data[request.dataOffset] = 0xee;
    request.done({ code: 'IO', detail: 'the dice said so' });
  }
}
