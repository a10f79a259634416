import type { Clock } from '../base/clock.js';
import type { BlockRequest, WaitingEnd } from '../device/block-device.js';
import type { FairQueue, FairMember } from './fair-queue.js';
import { Flow } from './flow.js';
import type { RequestSink } from './request-sink.js';
import { type Rates, Throttle, type ThrottleLimits } from './throttle.js';
import { type ThrottleReading, ThrottleStatistics } from './throttle-statistics.js';

/** Operations and bytes a second; 0: none. The control plane keeps them under the same names. */
export interface AdmissionSettings {
  readonly iops: number;
  readonly throughput: number;
  readonly readIops: number;
  readonly writeIops: number;
  readonly readThroughput: number;
  readonly writeThroughput: number;
  /** Times every limit; 1: no burst. */
  readonly burstMultiplier: number;
  readonly burstDurationMs: number;
  readonly guaranteedIops: number;
  readonly guaranteedThroughput: number;
}

const NO_RATES: Rates = { operations: 0, bytes: 0 };

/**
 * The way into one volume: its limits, then its turn among the node's volumes. What is not asked for is not there, and
 * `entry` is null while nothing is, so that such a volume pays for one comparison.
 *
 *     submit -> [throttle, if it has limits] -> [flow, if any volume of the node has a guarantee] -> volume
 */
export class Admission implements FairMember {
  readonly #volume: RequestSink;
  readonly #clock: Clock;
  readonly #fair: FairQueue;
  readonly #statistics: ThrottleStatistics;
  #throttle: Throttle | null = null;
  #flow: Flow | null = null;
  #guarantee: Rates = NO_RATES;
  /** Where requests enter; null: the volume itself. */
  entry: RequestSink | null = null;
  /** What the throttle sends on to: the flow that there is, or the volume. */
  readonly #behindThrottle: RequestSink = {
    submit: (request) => {
      (this.#flow ?? this.#volume).submit(request);
    },
  };

  constructor(dependencies: { readonly volume: RequestSink; readonly clock: Clock; readonly fair: FairQueue }) {
    this.#volume = dependencies.volume;
    this.#clock = dependencies.clock;
    this.#fair = dependencies.fair;
    this.#statistics = new ThrottleStatistics(dependencies.clock.monotonicMs());
    this.#fair.join(this);
    if (this.#fair.isActive) this.takeTurns(true);
  }

  get reading(): ThrottleReading {
    return this.#statistics.read(this.#clock.monotonicMs());
  }

  /** Takes effect at once, also for what waits; null: neither limits nor a guarantee. */
  configure(settings: AdmissionSettings | null): void {
    this.#limit(settings === null ? null : limitsOf(settings));
    this.#guarantees(
      settings === null ? NO_RATES : { operations: settings.guaranteedIops, bytes: settings.guaranteedThroughput },
    );
  }

  takeTurns(fair: boolean): void {
    const before = this.#flow;
    this.#flow = fair ? this.#newFlow() : null;
    this.#wire();
    before?.moveTo(this.#flow ?? this.#volume);
  }

  /** Ends the waiting of those that `of` picks, wherever they wait. */
  endWaiting(how: WaitingEnd, of: (request: BlockRequest) => boolean): void {
    this.#throttle?.endWaiting(how, of);
    this.#flow?.endWaiting(how, of);
  }

  /** Serves what waits and lets go of everything; afterwards there is no way in here. */
  close(): void {
    this.#fair.leave(this);
    this.configure(null);
    this.takeTurns(false);
  }

  #limit(limits: ThrottleLimits | null): void {
    if (limits !== null && this.#throttle !== null) {
      this.#throttle.configure(limits);
      return;
    }
    const before = this.#throttle;
    const next = this.#behindThrottle;
    const dependencies = { next, clock: this.#clock, statistics: this.#statistics };
    this.#throttle = limits === null ? null : new Throttle(limits, dependencies);
    this.#wire();
    before?.endWaiting('serve', () => true);
  }

  #guarantees(guarantee: Rates): void {
    const had = isGiven(this.#guarantee);
    const has = isGiven(guarantee);
    this.#guarantee = guarantee;
    // With the first guarantee of the node, and without the last, all flows are made anew; with others only this one.
    const wasActive = this.#fair.isActive;
    if (had !== has) this.#fair.countGuarantee(has ? 1 : -1);
    if (wasActive && this.#fair.isActive && (had || has)) this.takeTurns(true);
  }

  #newFlow(): Flow {
    return new Flow(this.#guarantee, this.#clock.monotonicMs(), { queue: this.#fair, next: this.#volume });
  }

  #wire(): void {
    this.entry = this.#throttle ?? this.#flow;
  }
}

function isGiven({ operations, bytes }: Rates): boolean {
  return operations > 0 || bytes > 0;
}

/** null: nothing is limited. */
function limitsOf(settings: AdmissionSettings): ThrottleLimits | null {
  const total = { operations: settings.iops, bytes: settings.throughput };
  const read = { operations: settings.readIops, bytes: settings.readThroughput };
  const write = { operations: settings.writeIops, bytes: settings.writeThroughput };
  if (![total, read, write].some(isGiven)) return null;
  return { total, read, write, burst: { multiplier: settings.burstMultiplier, durationMs: settings.burstDurationMs } };
}
