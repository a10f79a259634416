import type { Clock } from '../base/clock.js';
import { UnderWay } from '../base/under-way.js';
import {
  type BlockRequest,
  type DeviceFault,
  type Extent,
  Operation,
  RequestFlag,
  type WaitingEnd,
} from '../device/block-device.js';
import { DeviceError } from '../device/device-error.js';
import { DeviceStatistics } from '../device/device-statistics.js';
import type { QosSettings } from '../model/qos-settings.js';
import { Admission } from '../qos/admission.js';
import type { FairQueue } from '../qos/fair-queue.js';
import type { ThrottleReading } from '../qos/throttle-statistics.js';
import type { Head } from '../store/head.js';
import { InnerRequest } from './inner-request.js';
import { CACHE_STEP_BYTES } from './limits.js';
import { RangeLock } from './range-lock.js';
import { UnalignedWrite } from './unaligned-write.js';
import type { ResealOptions, ResealOutcome, VolumeHandle, VolumeKeys } from './volume-host.js';
import type { ScrubProgress, ScrubRequest } from './volume-scrub.js';

export interface VolumeDependencies {
  readonly head: Head;
  readonly clock: Clock;
  /** The turns of the node's volumes. */
  readonly fair: FairQueue;
  /** Makes a new size durable. */
  readonly grow: (sizeBlocks: number) => Promise<void>;
  /** Reads everything; `demandOpen` throws once the volume is closed. */
  readonly scrub: (request: ScrubRequest, demandOpen: () => void) => AsyncGenerator<ScrubProgress, void, void>;
  /** Seals old blocks anew; `demandOpen` likewise. */
  readonly reseal: (options: ResealOptions, demandOpen: () => void) => Promise<ResealOutcome>;
  /** Lets go of the head and its keys, when nothing is in flight any more. */
  readonly release: () => Promise<void>;
}

/** 'open' takes requests, 'closing' completes what it has, 'closed' refuses. */
type VolumeState = 'open' | 'closing' | 'closed';

/**
 * An open volume: checks state and range, passes every change through the range lock, and serves what is not aligned
 * to blocks by read-modify-write under it. Its whole stack lives in one thread and touches no control room.
 */
export class Volume implements VolumeHandle {
  readonly volumeId: string;
  readonly statistics = new DeviceStatistics();
  readonly blockBytes: number;
  readonly readOnly: boolean;
  readonly #head: Head;
  readonly #io: VolumeDependencies;
  readonly #lock = new RangeLock();
  readonly #admission: Admission;
  #state: VolumeState = 'open';
  #closing: Promise<void> | null = null;
  /** Unaligned requests under way: closing waits for them. */
  readonly #unaligned = new UnderWay();

  constructor(options: { volumeId: string; readOnly: boolean }, dependencies: VolumeDependencies) {
    this.volumeId = options.volumeId;
    this.readOnly = options.readOnly;
    this.#io = dependencies;
    this.#head = dependencies.head;
    this.blockBytes = this.#head.blockBytes;
    const { clock, fair } = dependencies;
    this.#admission = new Admission({
      volume: {
        submit: (request) => {
          this.#serve(request);
        },
      },
      clock,
      fair,
    });
  }

  get sizeBytes(): number {
    return this.#head.sizeBytes;
  }

  get allocatedBytes(): number {
    return this.#head.allocatedBytes;
  }

  submit(request: BlockRequest): void {
    const refusal = this.#refusal(request);
    if (refusal !== null) {
      request.done(refusal);
      return;
    }
    const { entry } = this.#admission;
    // A flush is no data, and covers what was acknowledged: it waits for nothing that has not been let in.
    if (entry === null || request.operation === Operation.FLUSH) this.#serve(request);
    else entry.submit(request);
  }

  endWaiting(how: WaitingEnd, of: (request: BlockRequest) => boolean): void {
    this.#admission.endWaiting(how, of);
  }

  setQos(settings: QosSettings | null): void {
    if (this.#state === 'open') this.#admission.configure(settings);
  }

  get throttling(): ThrottleReading {
    return this.#admission.reading;
  }

  /** Serves a request that was let in. */
  #serve(request: BlockRequest): void {
    const { operation, offsetBytes, lengthBytes } = request;
    if (operation === Operation.FLUSH) {
      this.#head.submit(request);
      return;
    }
    if (lengthBytes === 0) {
      request.done(null);
      return;
    }
    const aligned = offsetBytes % this.blockBytes === 0 && lengthBytes % this.blockBytes === 0;
    if (!aligned && (request.flags & RequestFlag.SEALED) !== 0) {
      request.done({ code: 'RANGE' });
      return;
    }
    if (operation === Operation.READ) {
      if (aligned) this.#head.submit(request);
      else this.#readUnaligned(request);
    } else if (operation === Operation.CACHE) {
      this.#cache(request);
    } else if (aligned) {
      this.#change(request);
    } else if (operation === Operation.TRIM) {
      this.#trimUnaligned(request);
    } else {
      this.#writeUnaligned(request);
    }
  }

  #refusal(request: BlockRequest): DeviceFault | null {
    if (this.#state !== 'open') return { code: 'CLOSED' };
    const { offsetBytes, lengthBytes, operation } = request;
    if (offsetBytes < 0 || lengthBytes < 0 || offsetBytes + lengthBytes > this.sizeBytes) return { code: 'RANGE' };
    const changes =
      operation === Operation.WRITE || operation === Operation.TRIM || operation === Operation.WRITE_ZEROES;
    if (this.readOnly && changes) return { code: 'READ_ONLY' };
    return null;
  }

  /** An aligned change: through the lock, without holding it. */
  #change(request: BlockRequest): void {
    if (this.#lock.idle) {
      this.#head.submit(request);
      return;
    }
    const { offsetBytes, lengthBytes } = request;
    this.#lock.acquire(offsetBytes, offsetBytes + lengthBytes, false, () => {
      this.#head.submit(request);
    });
  }

  /** Reads the blocks around the range into a buffer of our own and copies the part that was asked for. */
  #readUnaligned(request: BlockRequest): void {
    const from = this.#down(request.offsetBytes);
    const end = this.#up(request.offsetBytes + request.lengthBytes);
    const bounce = new Uint8Array(end - from);
    this.#unaligned.begin();
    const inner = new InnerRequest(
      Operation.READ,
      from,
      end - from,
      (fault) => {
        if (fault === null) {
          const at = request.offsetBytes - from;
          request.data.set(bounce.subarray(at, at + request.lengthBytes), request.dataOffset);
        }
        this.#finishUnaligned(request, fault);
      },
      { data: bounce },
    );
    this.#head.submit(inner);
  }

  /** Reads the range once, so that it is in the page cache; a block that cannot be read is no failure of the advice. */
  #cache(request: BlockRequest): void {
    const end = this.#up(request.offsetBytes + request.lengthBytes);
    const scratch = new Uint8Array(Math.min(CACHE_STEP_BYTES, end - this.#down(request.offsetBytes)));
    this.#unaligned.begin();
    const step = (from: number): void => {
      if (from >= end) {
        this.#finishUnaligned(request, null);
        return;
      }
      const length = Math.min(scratch.length, end - from);
      const inner = new InnerRequest(Operation.READ, from, length, () => step(from + length), { data: scratch });
      this.#head.submit(inner);
    };
    step(this.#down(request.offsetBytes));
  }

  /** A trim is advice: the partial blocks at its ends stay as they are. */
  #trimUnaligned(request: BlockRequest): void {
    const from = this.#up(request.offsetBytes);
    const end = this.#down(request.offsetBytes + request.lengthBytes);
    if (end <= from) {
      // With FUA too: there is nothing to make durable, and a flush would take the news of a loss that are for the client's.
      request.done(null);
      return;
    }
    this.#unaligned.begin();
    this.#change(
      new InnerRequest(Operation.TRIM, from, end - from, (fault) => this.#finishUnaligned(request, fault), {
        flags: request.flags,
      }),
    );
  }

  #writeUnaligned(request: BlockRequest): void {
    this.#unaligned.begin();
    new UnalignedWrite(request, this.#head, this.#lock, (fault) => {
      this.#finishUnaligned(request, fault);
    }).start();
  }

  #finishUnaligned(request: BlockRequest, fault: DeviceFault | null): void {
    request.done(fault);
    this.#unaligned.end();
  }

  #down(bytes: number): number {
    return bytes - (bytes % this.blockBytes);
  }

  #up(bytes: number): number {
    return this.#down(bytes + this.blockBytes - 1);
  }

  async extents(offsetBytes: number, lengthBytes: number, extentsMax: number): Promise<Extent[]> {
    if (this.#state !== 'open') throw new DeviceError('the volume is closed', { code: 'CLOSED' });
    if (offsetBytes < 0 || lengthBytes <= 0 || offsetBytes + lengthBytes > this.sizeBytes) {
      throw new DeviceError('the range is outside the volume', { code: 'RANGE' });
    }
    const from = this.#down(offsetBytes);
    const count = (this.#up(offsetBytes + lengthBytes) - from) / this.blockBytes;
    const runs = await this.#head.extents(from / this.blockBytes, count, extentsMax);
    // Cut to the range that was asked for.
    const found: Extent[] = [];
    let at = from;
    for (const run of runs) {
      const begin = Math.max(at, offsetBytes);
      const end = Math.min(at + run.lengthBytes, offsetBytes + lengthBytes);
      if (end > begin) found.push({ lengthBytes: end - begin, allocated: run.allocated });
      at += run.lengthBytes;
    }
    return found;
  }

  async expand(sizeBytes: number): Promise<void> {
    if (this.#state !== 'open') throw new DeviceError('the volume is closed', { code: 'CLOSED' });
    if (sizeBytes % this.blockBytes !== 0 || sizeBytes < this.sizeBytes) {
      throw new DeviceError('a volume grows by whole blocks', { code: 'RANGE' });
    }
    await this.#io.grow(sizeBytes / this.blockBytes);
  }

  async rekey(next: VolumeKeys, decided: () => Promise<void>): Promise<void> {
    try {
      if (this.#state !== 'open') throw new DeviceError('the volume is closed', { code: 'CLOSED' });
      await this.#head.rekey(next, decided);
    } finally {
      for (const key of next.keys) key.secret.fill(0);
    }
  }

  scrub(request: ScrubRequest): AsyncGenerator<ScrubProgress, void, void> {
    return this.#io.scrub(request, () => {
      if (this.#state !== 'open') throw new DeviceError('the volume is closed', { code: 'CLOSED' });
    });
  }

  reseal(options: ResealOptions): Promise<ResealOutcome> {
    return this.#io.reseal(options, () => {
      if (this.#state !== 'open') throw new DeviceError('the volume is closed', { code: 'CLOSED' });
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // What waits was accepted, and its number is bounded by who submitted it: it is served, not refused.
    this.#admission.close();
    this.#state = 'closing';
    await this.#unaligned.ended();
    await this.#io.release();
    this.#state = 'closed';
  }
}
