import { BenchError } from './bench-error.js';

/** One answer of a metrics endpoint, in the text format of Prometheus. */
export class Metrics {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The value of a sample that has no labels. Throws BenchError when there is none. */
  value(name: string): number {
    const line = this.#text.split('\n').find((each) => each.startsWith(`${name} `));
    const value = Number(line?.slice(name.length + 1));
    if (line === undefined || !Number.isFinite(value)) throw new BenchError(`the metrics tell of no ${name}`);
    return value;
  }
}
