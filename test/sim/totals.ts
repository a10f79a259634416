import type { Outcome } from './simulation.js';

/** What many runs did together. */
export class Totals {
  seeds = 0;
  steps = 0;
  requests = 0;
  failures = 0;
  /** (key, nonce) pairs sealed, none twice in any one run. */
  pairs = 0;
  readonly #counts = new Map<string, number>();
  readonly #faults = new Map<string, number>();

  add(outcome: Outcome): void {
    this.seeds += 1;
    this.steps += outcome.steps;
    this.requests += outcome.requests;
    this.pairs += outcome.pairs;
    if (outcome.failure !== '') this.failures += 1;
    for (const [from, to] of [
      [outcome.counts, this.#counts],
      [outcome.faults, this.#faults],
    ] as const) {
      for (const [name, count] of from) to.set(name, (to.get(name) ?? 0) + count);
    }
  }

  get crashes(): number {
    return ['kill', 'power cut'].reduce((sum, name) => sum + (this.#counts.get(name) ?? 0), 0);
  }

  line(seconds: number): string {
    const rate = Math.round(this.steps / Math.max(seconds, 0.001));
    return (
      `${seconds.toFixed(0)} s: ${this.seeds} seeds, ${this.steps} steps (${rate}/s), ${this.requests} requests, ` +
      `${this.crashes} crashes, ${this.pairs} nonces, ${this.failures} failures`
    );
  }

  /** The same, with what was done and injected by kind. */
  report(seconds: number): string {
    const rows = (map: ReadonlyMap<string, number>): string =>
      [...map.entries()]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, count]) => `  ${name.padEnd(28)} ${count}`)
        .join('\n');
    return `${this.line(seconds)}\ndone:\n${rows(this.#counts)}\nfaults that happened:\n${rows(this.#faults)}`;
  }
}
