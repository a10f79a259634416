import type { Clock } from '../base/clock.js';
import type { BlockRequest, DeviceFault } from '../device/block-device.js';
import type { Flow, FlowTurns } from './flow.js';
import { FlowRequest, type FlowRequestOwner } from './flow-request.js';
import { GUARANTEES_LOOKED_AT_MAX, IN_STORE_BYTES_MAX, IN_STORE_REQUESTS_MAX } from './limits.js';
import { bytesOf } from './request-cost.js';
import type { RequestSink } from './request-sink.js';
import { Way } from './way.js';

/** What the store has, of one of the two ways to it. */
class InStore {
  requests = 0;
  bytes = 0;

  /** One alone may always go on: it may be larger than the bound. */
  hasRoom(bytes: number): boolean {
    return this.requests === 0 || (this.requests < IN_STORE_REQUESTS_MAX && this.bytes + bytes <= IN_STORE_BYTES_MAX);
  }
}

/** A volume that learns whether the node's volumes take turns. */
export interface FairMember {
  /** `fair`: requests go through a flow from now on. */
  takeTurns(fair: boolean): void;
}

/**
 * Shares one node among its volumes while any of them has a guarantee. The store gets so many requests at a time; while
 * it has fewer, everything goes on at once. Beyond that,
 *
 *   1. a volume that has used less than its guarantee goes on at once: it waits for nobody's queue, only for what the
 *      store has already;
 *   2. what is left is shared by weight among the volumes with waiting work, in turns (deficit round robin: M. Shreedhar,
 *      G. Varghese, "Efficient Fair Queuing using Deficit Round Robin", 1995), charged by size.
 *
 * Each of the two has a bound of its own on what the store may have of it, so guarantees that promise more than the node
 * can do starve nobody. Without a guarantee on the node nothing comes here.
 */
export class FairQueue implements FlowRequestOwner, FlowTurns {
  readonly #clock: Clock;
  readonly #members = new Set<FairMember>();
  #guarantees = 0;
  /** By Way. */
  readonly #inStore = [new InStore(), new InStore()] as const;
  readonly #free: FlowRequest[] = [];
  /** Flows in which requests wait, in the order of their turns. */
  readonly #turns: Flow[] = [];
  /** Those of them that have a guarantee. */
  readonly #guaranteed: Flow[] = [];
  #looked = 0;
  #isPumping = false;

  constructor(dependencies: { readonly clock: Clock }) {
    this.#clock = dependencies.clock;
  }

  /** Whether volumes take turns now. */
  get isActive(): boolean {
    return this.#guarantees > 0;
  }

  /** Requests that the store has of those that came through here. */
  get inStore(): number {
    return this.#inStore[Way.GUARANTEE].requests + this.#inStore[Way.TURN].requests;
  }

  join(member: FairMember): void {
    this.#members.add(member);
  }

  leave(member: FairMember): void {
    this.#members.delete(member);
  }

  /** One guarantee more, or less. With the first and the last one all volumes change their ways. */
  countGuarantee(change: 1 | -1): void {
    const before = this.isActive;
    this.#guarantees += change;
    if (before === this.isActive) return;
    for (const member of this.#members) member.takeTurns(this.isActive);
  }

  wayFor(flow: Flow, request: BlockRequest): Way | null {
    const bytes = bytesOf(request);
    const [guaranteed, turns] = this.#inStore;
    if (flow.hasGuarantee && guaranteed.hasRoom(bytes) && flow.useGuarantee(this.#clock.monotonicMs(), request)) {
      return Way.GUARANTEE;
    }
    return this.#turns.length === 0 && turns.hasRoom(bytes) ? Way.TURN : null;
  }

  began(flow: Flow): void {
    this.#turns.push(flow);
    if (flow.hasGuarantee) this.#guaranteed.push(flow);
  }

  ended(flow: Flow): void {
    this.#turns.splice(this.#turns.indexOf(flow), 1);
    if (flow.hasGuarantee) this.#guaranteed.splice(this.#guaranteed.indexOf(flow), 1);
  }

  send(request: BlockRequest, way: Way, next: RequestSink): void {
    const inStore = this.#inStore[way];
    inStore.requests += 1;
    inStore.bytes += bytesOf(request);
    const sent = this.#free.pop() ?? new FlowRequest(this);
    sent.fill(request, way);
    next.submit(sent);
  }

  completed(request: FlowRequest, original: BlockRequest, fault: DeviceFault | null): void {
    const inStore = this.#inStore[request.way];
    inStore.requests -= 1;
    inStore.bytes -= bytesOf(original);
    if (this.#free.length < 2 * IN_STORE_REQUESTS_MAX) this.#free.push(request);
    original.done(fault);
    this.#pump();
  }

  #pump(): void {
    // What is refused at once comes back in the same turn: the loop that is running goes on with it.
    if (this.#turns.length === 0 || this.#isPumping) return;
    this.#isPumping = true;
    this.#serveGuarantees();
    while (this.#turns.length > 0) {
      const flow = this.#turns[0];
      if (!this.#inStore[Way.TURN].hasRoom(flow.firstBytes)) break;
      if (flow.spend()) {
        flow.sendFirst(Way.TURN);
      } else {
        this.#turns.shift();
        this.#turns.push(flow);
      }
    }
    this.#isPumping = false;
  }

  /** Looks at a few flows with a guarantee, others the next time, so that each has its turn to be seen. */
  #serveGuarantees(): void {
    if (this.#guaranteed.length === 0) return;
    const nowMs = this.#clock.monotonicMs();
    const looks = Math.min(GUARANTEES_LOOKED_AT_MAX, this.#guaranteed.length);
    for (let look = 0; look < looks && this.#guaranteed.length > 0; look += 1) {
      this.#looked = (this.#looked + 1) % this.#guaranteed.length;
      const flow = this.#guaranteed[this.#looked];
      while (
        flow.waiting > 0 &&
        this.#inStore[Way.GUARANTEE].hasRoom(flow.firstBytes) &&
        flow.useGuaranteeForFirst(nowMs)
      ) {
        flow.sendFirst(Way.GUARANTEE);
      }
    }
  }
}
