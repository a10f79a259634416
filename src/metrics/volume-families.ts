import type { VolumeMeasure } from './measures.js';
import { SampleFamily } from './sample-family.js';

export interface VolumeFamiliesOptions {
  /** Prometheus label values of the rows of OperationCounters: read, write, flush, ... */
  readonly operationNames: readonly string[];
  readonly latencyBoundsMs: readonly number[];
}

/** Per volume: what was asked of it, how long that took, and what it holds. */
export class VolumeFamilies {
  readonly #options: VolumeFamiliesOptions;
  readonly #boundsSeconds: readonly number[];
  readonly #operations = new SampleFamily(
    'galleonfs_volume_operations_total',
    'counter',
    'Completed requests, failed ones included.',
  );
  readonly #errors = new SampleFamily('galleonfs_volume_operation_errors_total', 'counter', 'Failed requests.');
  readonly #duration = new SampleFamily(
    'galleonfs_volume_operation_duration_seconds',
    'histogram',
    'Time from the arrival of a request to its reply.',
  );
  readonly #readBytes = new SampleFamily('galleonfs_volume_read_bytes_total', 'counter', 'Bytes read by clients.');
  readonly #writtenBytes = new SampleFamily(
    'galleonfs_volume_written_bytes_total',
    'counter',
    'Bytes written by clients.',
  );
  readonly #zeroedBytes = new SampleFamily(
    'galleonfs_volume_zeroed_bytes_total',
    'counter',
    'Bytes that clients trimmed or wrote as zeros without sending them.',
  );
  readonly #inFlight = new SampleFamily(
    'galleonfs_volume_in_flight_operations',
    'gauge',
    'Requests that have not been answered yet.',
  );
  readonly #connections = new SampleFamily('galleonfs_volume_connections', 'gauge', 'Connected clients.');
  readonly #snapshots = new SampleFamily('galleonfs_volume_snapshots', 'gauge', 'Snapshots of the volume.');
  readonly #size = new SampleFamily('galleonfs_volume_size_bytes', 'gauge', 'Size that clients see.');
  readonly #allocated = new SampleFamily('galleonfs_volume_allocated_bytes', 'gauge', 'Live data, without headers.');
  readonly #state = new SampleFamily('galleonfs_volume_state', 'gauge', '1 for the state that the volume is in.');

  constructor(options: VolumeFamiliesOptions) {
    this.#options = options;
    this.#boundsSeconds = options.latencyBoundsMs.map((ms) => ms / 1000);
  }

  families(): SampleFamily[] {
    return [
      this.#operations,
      this.#errors,
      this.#duration,
      this.#readBytes,
      this.#writtenBytes,
      this.#zeroedBytes,
      this.#inFlight,
      this.#connections,
      this.#snapshots,
      this.#size,
      this.#allocated,
      this.#state,
    ];
  }

  collect(volumes: readonly VolumeMeasure[]): void {
    for (const family of this.families()) family.clear();
    for (const volume of volumes) this.#collect(volume);
  }

  #collect(volume: VolumeMeasure): void {
    const labels = { volume: volume.name, volume_id: volume.id };
    this.#connections.add(labels, volume.connections);
    this.#snapshots.add(labels, volume.snapshots);
    this.#size.add(labels, volume.sizeBytes);
    this.#allocated.add(labels, volume.allocatedBytes);
    this.#state.add({ ...labels, state: volume.state }, 1);
    const { counters } = volume;
    if (counters === null) return;
    this.#inFlight.add(labels, counters.inFlight);
    const columns = this.#boundsSeconds.length + 1;
    const bytesOf = (name: string): number => counters.bytes[this.#options.operationNames.indexOf(name)] ?? 0;
    this.#readBytes.add(labels, bytesOf('read'));
    this.#writtenBytes.add(labels, bytesOf('write'));
    this.#zeroedBytes.add(labels, bytesOf('trim') + bytesOf('write_zeroes'));
    this.#options.operationNames.forEach((operation, row) => {
      const operationLabels = { ...labels, operation };
      this.#operations.add(operationLabels, counters.operations[row]);
      this.#errors.add(operationLabels, counters.errors[row]);
      // A thousand idle volumes would otherwise draw a hundred thousand lines of zeros.
      if (counters.operations[row] === 0) return;
      this.#duration.addHistogram(
        operationLabels,
        this.#boundsSeconds,
        counters.latencyBuckets.subarray(row * columns, (row + 1) * columns),
        counters.latencyMsSum[row] / 1000,
      );
    });
  }
}
