import type { BlockRequest, WaitingEnd } from '../device/block-device.js';
import { QUANTUM_BYTES, REQUEST_COST_BYTES, WEIGHT_BYTES, WEIGHT_IOPS } from './limits.js';
import { NO_BURST, RateLimit } from './rate-limit.js';
import { bytesOf, operationsOf } from './request-cost.js';
import type { RequestSink } from './request-sink.js';
import type { Rates } from './throttle.js';
import { WaitingRequests } from './waiting-requests.js';
import { Way } from './way.js';

/** What a flow asks of the queue that it is in. */
export interface FlowTurns {
  /** By which way a request of a flow in which none waits may go on now; null: it has to wait. */
  wayFor(flow: Flow, request: BlockRequest): Way | null;
  /** The first request waits in it. */
  began(flow: Flow): void;
  /** None waits in it any more. */
  ended(flow: Flow): void;
  send(request: BlockRequest, way: Way, next: RequestSink): void;
}

/** The requests of one volume on their way through the fair queue: its guarantee, its weight and what waits. */
export class Flow implements RequestSink {
  readonly #queue: FlowTurns;
  readonly #next: RequestSink;
  readonly #waiting = new WaitingRequests();
  readonly #operations: RateLimit | null;
  readonly #bytes: RateLimit | null;
  readonly #quantum: number;
  /** What it may still do in its turn, in cost. */
  #deficit = 0;

  /** `guarantee`: a second; 0: none. */
  constructor(
    guarantee: Rates,
    nowMs: number,
    { queue, next }: { readonly queue: FlowTurns; readonly next: RequestSink },
  ) {
    this.#queue = queue;
    this.#next = next;
    this.#operations = guarantee.operations > 0 ? new RateLimit(guarantee.operations, NO_BURST, nowMs) : null;
    this.#bytes = guarantee.bytes > 0 ? new RateLimit(guarantee.bytes, NO_BURST, nowMs) : null;
    this.#quantum = QUANTUM_BYTES * weightOf(guarantee);
  }

  get hasGuarantee(): boolean {
    return this.#operations !== null || this.#bytes !== null;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Bytes of the first that waits. */
  get firstBytes(): number {
    const first = this.#waiting.first();
    return first === undefined ? 0 : bytesOf(first);
  }

  submit(request: BlockRequest): void {
    const way = this.waiting === 0 ? this.#queue.wayFor(this, request) : null;
    if (way !== null) {
      this.#queue.send(request, way, this.#next);
      return;
    }
    this.#waiting.push(request, 0);
    if (this.waiting === 1) this.#queue.began(this);
  }

  /** Charges a request to what is left of the guarantee; false when that is not enough, or there is none. */
  useGuarantee(nowMs: number, request: BlockRequest): boolean {
    const operations = operationsOf(request);
    const bytes = bytesOf(request);
    if (this.#operations !== null && this.#operations.waitMs(nowMs, operations) > 0) return false;
    if (this.#bytes !== null && this.#bytes.waitMs(nowMs, bytes) > 0) return false;
    this.#operations?.take(operations);
    this.#bytes?.take(bytes);
    return true;
  }

  /** The same for the first that waits. */
  useGuaranteeForFirst(nowMs: number): boolean {
    const first = this.#waiting.first();
    return first !== undefined && this.useGuarantee(nowMs, first);
  }

  /** Whether its turn covers its first request. If not, the turn is over and the next one will cover more. */
  spend(): boolean {
    const cost = REQUEST_COST_BYTES + this.firstBytes;
    if (this.#deficit < cost) {
      this.#deficit += this.#quantum;
      return false;
    }
    this.#deficit -= cost;
    return true;
  }

  sendFirst(way: Way): void {
    const request = this.#waiting.shift();
    if (this.waiting === 0) this.#rest();
    this.#queue.send(request, way, this.#next);
  }

  /** Ends the waiting of those that `of` picks. */
  endWaiting(how: WaitingEnd, of: (request: BlockRequest) => boolean): void {
    const had = this.waiting > 0;
    const ended = this.#waiting.remove(of);
    if (had && this.waiting === 0) this.#rest();
    for (const request of ended) {
      if (how === 'serve') this.#queue.send(request, Way.TURN, this.#next);
      else request.done({ code: 'CLOSED' });
    }
  }

  /** Hands what waits to `sink`, in order: this flow is replaced. */
  moveTo(sink: RequestSink): void {
    const moved = this.#waiting.remove(() => true);
    if (moved.length > 0) this.#rest();
    for (const request of moved) sink.submit(request);
  }

  /** A volume that asks for nothing saves no turns. */
  #rest(): void {
    this.#deficit = 0;
    this.#queue.ended(this);
  }
}

/** 1, and 1 more for each WEIGHT_IOPS or WEIGHT_BYTES that are guaranteed, whichever is more. */
function weightOf({ operations, bytes }: Rates): number {
  return 1 + Math.max(operations / WEIGHT_IOPS, bytes / WEIGHT_BYTES);
}
