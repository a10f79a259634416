import type { ThrottleMeasure, VolumeMeasure } from './measures.js';
import { SampleFamily } from './sample-family.js';

/** Per volume: its limits and guarantees, and what they make its requests wait. */
export class ThrottleFamilies {
  readonly #limit = new SampleFamily(
    'galleonfs_volume_qos_limit',
    'gauge',
    'Operations or bytes a second that a volume may do, or is guaranteed, by name of the limit.',
  );
  readonly #throttled = new SampleFamily(
    'galleonfs_volume_throttled_seconds_total',
    'counter',
    'Time in which requests waited for the limits of their volume: its rate is the share of time at the limit.',
  );
  readonly #waited = new SampleFamily(
    'galleonfs_volume_throttle_wait_seconds_total',
    'counter',
    'Sum of the times that requests waited for the limits of their volume.',
  );
  readonly #operations = new SampleFamily(
    'galleonfs_volume_throttled_operations_total',
    'counter',
    'Requests that had to wait for the limits of their volume.',
  );
  readonly #waiting = new SampleFamily(
    'galleonfs_volume_throttled_in_flight_operations',
    'gauge',
    'Requests that wait for the limits of their volume now.',
  );

  families(): SampleFamily[] {
    return [this.#limit, this.#throttled, this.#waited, this.#operations, this.#waiting];
  }

  collect(volumes: readonly VolumeMeasure[]): void {
    for (const family of this.families()) family.clear();
    for (const { name, id, throttle } of volumes) {
      if (throttle !== null) this.#collect({ volume: name, volume_id: id }, throttle);
    }
  }

  #collect(labels: Readonly<Record<string, string>>, throttle: ThrottleMeasure): void {
    for (const { name, perSecond } of throttle.limits) this.#limit.add({ ...labels, limit: name }, perSecond);
    // A thousand volumes that were never limited would otherwise draw four thousand lines of zeros.
    if (throttle.limits.length === 0 && throttle.throttledRequests === 0) return;
    this.#throttled.add(labels, throttle.throttledMs / 1000);
    this.#waited.add(labels, throttle.waitedMs / 1000);
    this.#operations.add(labels, throttle.throttledRequests);
    this.#waiting.add(labels, throttle.waiting);
  }
}
