import type { Outcome } from './contents.js';

/** The whole sweep in place of a sample: minutes, not seconds. */
export const FULL = process.env['DAMAGE_FULL'] === '1';

/** A new one each day would hide what yesterday's found: the same one unless another is asked for. */
export const SEED = Number(process.env['DAMAGE_SEED'] ?? 20);

const FAILURES_SHOWN = 20;
/** A whole sweep says so often how far it is. */
const CASES_BETWEEN_WORDS = 1000;

/** Counts cases by kind of damage and outcome, and keeps what went wrong. */
export class Tally {
  readonly #name: string;
  readonly #counts = new Map<string, number>();
  #failures: string[] = [];
  #cases = 0;

  constructor(name: string) {
    this.#name = name;
  }

  count(kind: string, outcome: Outcome | string): void {
    this.#next();
    const word = typeof outcome === 'string' ? outcome : wordOf(outcome);
    const name = `${kind}: ${word}`;
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  #next(): void {
    this.#cases += 1;
    if (FULL && this.#cases % CASES_BETWEEN_WORDS === 0) this.print();
  }

  fail(what: string, thrown: unknown, log: string): void {
    this.#next();
    const reason = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    this.#counts.set('FAILED', (this.#counts.get('FAILED') ?? 0) + 1);
    if (this.#failures.length < FAILURES_SHOWN) this.#failures.push(`${what}: ${reason}\n${log}`);
  }

  /** The failures so far; the next test starts without them. */
  takeFailures(): string[] {
    const failures = this.#failures;
    this.#failures = [];
    return failures;
  }

  print(): void {
    const lines = [...this.#counts].sort().map(([name, count]) => `  ${name}: ${String(count)}`);
    console.log([`damage in ${this.#name}: ${String(this.#cases)} cases, seed ${String(SEED)}`, ...lines].join('\n'));
  }
}

function wordOf({ refused, bad }: Outcome): string {
  const volumes = Object.keys(refused).length;
  if (volumes > 0) return bad.length > 0 ? 'volumes refused, blocks EIO' : 'volumes refused';
  return bad.length > 0 ? 'blocks EIO' : 'all right';
}
