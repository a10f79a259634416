import { BenchError } from './bench-error.js';

/** The middle of some figures; of an even number the mean of the two in the middle. Throws BenchError for none. */
export function median(figures: readonly number[]): number {
  const sorted = figures.toSorted((left, right) => left - right);
  const middle = sorted.length >> 1;
  const upper = sorted[middle];
  if (upper === undefined) throw new BenchError('the median of no figures was asked for');
  const lower = sorted.length % 2 === 0 ? sorted[middle - 1] : upper;
  return ((lower ?? upper) + upper) / 2;
}

/** The smallest figure that at least `share` of all do not exceed. Throws BenchError for none. */
export function quantile(figures: readonly number[], share: number): number {
  const sorted = figures.toSorted((left, right) => left - right);
  const found = sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
  if (found === undefined) throw new BenchError('a quantile of no figures was asked for');
  return found;
}

/** How far the rounds lie apart: (largest - smallest) / median. */
export function spread(figures: readonly number[]): number {
  return (Math.max(...figures) - Math.min(...figures)) / median(figures);
}

/** `figure` as a multiple of `base`. Throws BenchError for anything that is not above zero. */
export function ratio(figure: number, base: number): number {
  if (!(figure > 0) || !(base > 0)) throw new BenchError(`no ratio of ${figure} and ${base}: both must be above zero`);
  return figure / base;
}
