import type { DeviceFault, Operation } from '../device/block-device.js';

export interface FailedRequest {
  /** null: BLOCK_STATUS. */
  readonly operation: Operation | null;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly fault: DeviceFault;
  /** Failures since the last report that were counted and not reported. */
  readonly suppressed: number;
}

const WINDOW_MS = 1000;

/** Tells about requests that a device failed, but not faster than anybody could read. */
export class FailureReports {
  readonly #perSecondMax: number;
  readonly #report: (failed: FailedRequest) => void;
  #windowStartMs = -Infinity;
  #inWindow = 0;
  #suppressed = 0;
  #last: Omit<FailedRequest, 'suppressed'> | null = null;

  constructor(perSecondMax: number, report: (failed: FailedRequest) => void) {
    this.#perSecondMax = perSecondMax;
    this.#report = report;
  }

  report(
    nowMs: number,
    operation: Operation | null,
    offsetBytes: number,
    lengthBytes: number,
    fault: DeviceFault,
  ): void {
    if (nowMs - this.#windowStartMs >= WINDOW_MS) {
      this.#windowStartMs = nowMs;
      this.#inWindow = 0;
    }
    const failed = { operation, offsetBytes, lengthBytes, fault };
    if (this.#inWindow >= this.#perSecondMax) {
      this.#suppressed += 1;
      this.#last = failed;
      return;
    }
    this.#inWindow += 1;
    this.#send(failed);
  }

  /** Says what was suppressed last, so that no failure goes uncounted. */
  close(): void {
    if (this.#last === null) return;
    this.#suppressed -= 1;
    this.#send(this.#last);
  }

  #send(failed: Omit<FailedRequest, 'suppressed'>): void {
    const suppressed = this.#suppressed;
    this.#suppressed = 0;
    this.#last = null;
    this.#report({ ...failed, suppressed });
  }
}
