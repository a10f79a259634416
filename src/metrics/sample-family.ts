import { assert } from '../base/assert.js';
import type { Metric, MetricObjectWithValues, MetricType, MetricValue, MetricValueWithName } from 'prom-client';

type Kind = 'counter' | 'gauge' | 'histogram';

/**
 * One metric name whose values are drawn up anew for each scrape. prom-client's own counters want one call per event;
 * ours are typed arrays that the hot path fills, so a family only copies numbers out of them.
 */
export class SampleFamily {
  readonly name: string;
  readonly help: string;
  readonly kind: Kind;
  #values: MetricValueWithName<string>[] = [];

  constructor(name: string, kind: Kind, help: string) {
    // https://prometheus.io/docs/practices/naming/: counters end in _total, everything else does not.
    assert(name.endsWith('_total') === (kind === 'counter'), `${name} is named as its kind asks`);
    this.name = name;
    this.kind = kind;
    this.help = help;
  }

  clear(): void {
    this.#values = [];
  }

  add(labels: Readonly<Record<string, string>>, value: number): void {
    this.#values.push({ labels: { ...labels }, value });
  }

  /**
   * A histogram from counts per bucket: `counts` has one more entry than `boundsSeconds`, for what is slower. The
   * exposition format wants cumulative counts and an +Inf bucket.
   */
  addHistogram(
    labels: Readonly<Record<string, string>>,
    boundsSeconds: readonly number[],
    counts: ArrayLike<number>,
    sumSeconds: number,
  ): void {
    assert(this.kind === 'histogram', 'only a histogram has buckets');
    assert(counts.length === boundsSeconds.length + 1, 'one bucket more than bounds');
    let total = 0;
    for (let index = 0; index < counts.length; index += 1) {
      total += counts[index];
      const le = index < boundsSeconds.length ? String(boundsSeconds[index]) : '+Inf';
      this.#values.push({ metricName: `${this.name}_bucket`, labels: { ...labels, le }, value: total });
    }
    this.#values.push({ metricName: `${this.name}_sum`, labels: { ...labels }, value: sumSeconds });
    this.#values.push({ metricName: `${this.name}_count`, labels: { ...labels }, value: total });
  }

  /**
   * The shape that a prom-client registry collects; `before` runs ahead of this family's turn. The registry only calls
   * `get` and reads `name`, which its types do not say.
   */
  asMetric(before: () => void): Metric {
    const get = (): Promise<MetricObjectWithValues<MetricValue<string>>> => {
      before();
      return Promise.resolve({
        name: this.name,
        help: this.help,
        type: this.kind as unknown as MetricType,
        aggregator: 'sum',
        values: this.#values,
      } as unknown as MetricObjectWithValues<MetricValue<string>>);
    };
    return { name: this.name, get, reset: () => undefined } as unknown as Metric;
  }
}
