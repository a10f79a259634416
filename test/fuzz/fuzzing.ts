import { randomInt } from 'node:crypto';
import fc from 'fast-check';

/** Runs of each property, from FUZZ_RUNS; null: it was not given, and every property takes its own small number. */
const RUNS_WANTED = numberFrom('FUZZ_RUNS');
const SEED_GIVEN = numberFrom('FUZZ_SEED');

/** The seed of this run. A short run always does the same; a long one draws its own, which names it. */
export const SEED = SEED_GIVEN ?? (RUNS_WANTED === null ? 20_261_121 : randomInt(2 ** 31));

/** A test ends by itself; this is how long one may take before it counts as hanging, in milliseconds. */
export const FUZZ_TIMEOUT_MS = RUNS_WANTED === null ? 60_000 : 3_600_000;

/** How often a property is tried: `usual` times in `npm test`, FUZZ_RUNS times when that is given. */
export function runs(usual: number): number {
  return RUNS_WANTED ?? usual;
}

/** For the name of a test, so that every report carries it. */
export const replayedWith = `seed ${String(SEED)}`;

/** Checks a property with the seed of this run; a failure is shrunk, and says how to see it again. */
export function check<T>(property: fc.IProperty<T>, usualRuns = 300): void {
  fc.assert(property, { seed: SEED, numRuns: runs(usualRuns) });
}

export async function checkAsync<T>(property: fc.IAsyncProperty<T>, usualRuns = 100): Promise<void> {
  await fc.assert(property, { seed: SEED, numRuns: runs(usualRuns) });
}

function numberFrom(variable: string): number | null {
  const text = process.env[variable] ?? '';
  if (text === '') return null;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`${variable}=${text} is not a positive whole number`);
  return value;
}
