import type { Script, Step } from './script.js';

export interface Shrunk {
  readonly script: Script;
  readonly failure: string;
  readonly attempts: number;
}

/**
 * Leaves steps out as long as a script still fails: halves first, then quarters, at last single ones. Every step brings
 * its own randomness along, so what is left mostly does what it did before. `fails` gives '' or what went wrong.
 */
export async function shrink(
  script: Script,
  failure: string,
  fails: (script: Script) => Promise<string>,
  attemptsMax: number,
): Promise<Shrunk> {
  let steps: readonly Step[] = script.steps;
  let last = failure;
  let attempts = 0;
  const without = async (from: number, count: number): Promise<boolean> => {
    attempts += 1;
    const rest = [...steps.slice(0, from), ...steps.slice(from + count)];
    const outcome = await fails({ ...script, steps: rest });
    if (outcome === '') return false;
    steps = rest;
    last = outcome;
    return true;
  };
  for (let count = Math.max(1, Math.ceil(steps.length / 2)); ; count = Math.ceil(count / 2)) {
    let from = Math.max(0, steps.length - count);
    // From the end: what comes late mostly has nothing hanging on it.
    while (attempts < attemptsMax) {
      await without(from, Math.min(count, steps.length - from));
      if (from === 0) break;
      from = Math.max(0, from - count);
    }
    if (count === 1 || attempts >= attemptsMax) break;
  }
  return { script: { ...script, steps }, failure: last, attempts };
}
