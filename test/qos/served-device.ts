import { type BlockRequest, type DeviceFault, Operation } from '../../src/device/block-device.js';
import type { RequestSink } from '../../src/qos/request-sink.js';
import type { ManualClock } from '../base/manual-clock.js';

const NOTHING = new Uint8Array(0);

/** A request that counts its ends; what comes after it is said by whoever issues it. */
export class TestRequest implements BlockRequest {
  readonly offsetBytes = 0;
  readonly flags = 0;
  readonly data = NOTHING;
  readonly dataOffset = 0;
  readonly ends: (string | null)[] = [];
  after: () => void = () => undefined;

  constructor(
    readonly operation: Operation = Operation.READ,
    readonly lengthBytes = 4096,
  ) {}

  done(fault: DeviceFault | null): void {
    this.ends.push(fault?.code ?? null);
    this.after();
  }
}

/** Serves so many requests each turn of a simulated event loop, in the order in which they came. */
export class ServedDevice implements RequestSink {
  readonly taken: BlockRequest[] = [];
  /** Requests that it has, and the most that it ever had. */
  inside = 0;
  insideMost = 0;
  #queue: BlockRequest[] = [];
  #isBusy = false;

  constructor(
    private readonly clock: ManualClock,
    private readonly turn: { readonly ms: number; readonly requests: number },
  ) {}

  submit(request: BlockRequest): void {
    this.inside += 1;
    this.insideMost = Math.max(this.insideMost, this.inside);
    this.#queue.push(request);
    this.#begin();
  }

  #begin(): void {
    if (this.#isBusy || this.#queue.length === 0) return;
    this.#isBusy = true;
    this.clock.after(this.turn.ms, () => {
      this.#isBusy = false;
      const served = this.#queue.splice(0, this.turn.requests);
      this.inside -= served.length;
      for (const request of served) request.done(null);
      this.#begin();
    });
  }
}

/** Keeps `depth` requests under way, for ever. Counts what was completed. */
export class FloodingClient {
  completed = 0;

  constructor(to: RequestSink, depth: number, make: () => TestRequest = () => new TestRequest()) {
    for (let n = 0; n < depth; n += 1) {
      const request = make();
      request.after = () => {
        this.completed += 1;
        to.submit(request);
      };
      to.submit(request);
    }
  }

  /** What it has completed since it was asked the last time. */
  take(): number {
    const { completed } = this;
    this.completed = 0;
    return completed;
  }
}
