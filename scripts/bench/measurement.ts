import { BenchError } from './bench-error.js';

/** What one peer did in one work of one round. */
export interface Measurement {
  /** In the unit of the work. */
  readonly rate: number;
  /** Bytes that crossed the socket. */
  readonly bytes: number;
  /** Processor time of the server and its children, seconds. */
  readonly cpuSeconds: number;
  /** 99th and 99.9th percentile of latency in microseconds. */
  readonly p99Us: number;
  readonly p999Us: number;
  /** Processors that programs other than the bench and the server kept busy meanwhile: above a few tenths it is noise. */
  readonly othersCores: number;
}

export const GIB = 2 ** 30;

/** A zero from anyone is a failure of the run: as a ratio it would read like a triumph. Throws BenchError. */
export function assertMeasured(measurement: Measurement, who: string, what: string): void {
  const { rate, bytes, cpuSeconds, p99Us } = measurement;
  for (const [name, figure] of Object.entries({ rate, bytes, 'processor time': cpuSeconds, latency: p99Us })) {
    if (!Number.isFinite(figure) || figure <= 0) {
      throw new BenchError(`${who}: ${what}: the ${name} is ${figure}; that is no figure, so the run is void`);
    }
  }
}

export function cpuSecondsPerGib(measurement: Measurement): number {
  return (measurement.cpuSeconds * GIB) / measurement.bytes;
}
