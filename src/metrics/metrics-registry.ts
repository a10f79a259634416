import { collectDefaultMetrics, Registry } from 'prom-client';
import type { Measures } from './measures.js';
import { SampleFamily } from './sample-family.js';
import { ScrubFamilies } from './scrub-families.js';
import { StoreFamilies } from './store-families.js';
import { ThrottleFamilies } from './throttle-families.js';
import { VolumeFamilies } from './volume-families.js';

export interface MetricsOptions {
  /** Label values of the rows of OperationCounters: read, write, flush, trim, write_zeroes, cache. */
  readonly operationNames: readonly string[];
  /** Upper bounds of the latency buckets of volumes and of fdatasync, milliseconds. */
  readonly latencyBoundsMs: readonly number[];
  readonly version: string;
}

/** The library's own default, 10 ms, wakes an idle daemon 100 times a second: 0.8% of a core for nothing. */
const LAG_SAMPLE_MS = 200;

/** Everything that `/metrics` shows, drawn up when it is asked for. */
export class MetricsRegistry {
  readonly #registry = new Registry();
  readonly #volumes: VolumeFamilies;
  readonly #throttles = new ThrottleFamilies();
  readonly #store: StoreFamilies;
  readonly #scrubs = new ScrubFamilies();
  #scrape: Promise<string> | undefined;

  constructor(options: MetricsOptions, measures: Measures) {
    this.#volumes = new VolumeFamilies(options);
    this.#store = new StoreFamilies(options.latencyBoundsMs);
    const build = new SampleFamily('galleonfs_build_info', 'gauge', 'Always 1; the version is a label.');
    build.add({ version: options.version }, 1);
    this.#register([build], () => undefined);
    this.#register([...this.#volumes.families(), ...this.#throttles.families()], () => {
      const volumes = measures.volumes();
      this.#volumes.collect(volumes);
      this.#throttles.collect(volumes);
    });
    this.#register(this.#store.families(), () => {
      this.#store.collect(measures.store());
    });
    this.#register(this.#scrubs.families(), () => {
      this.#scrubs.collect(measures.scrubs());
    });
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: LAG_SAMPLE_MS });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The exposition text. Scrapers that come at the same time share one. */
  text(): Promise<string> {
    this.#scrape ??= this.#registry.metrics().finally(() => {
      this.#scrape = undefined;
    });
    return this.#scrape;
  }

  /** The first family of a group draws up the values of all, so that they are of one instant. */
  #register(families: readonly SampleFamily[], collect: () => void): void {
    families.forEach((family, index) => {
      this.#registry.registerMetric(family.asMetric(index === 0 ? collect : () => undefined));
    });
  }
}
