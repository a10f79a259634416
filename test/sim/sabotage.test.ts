import { describe, expect, it } from 'vitest';
import { makeScript } from './script.js';
import { SABOTAGES } from './sabotages.js';
import { Simulation } from './simulation.js';

const STEPS = 200;
/** Seeds that are tried, beginning with the one that is known to catch it. */
const SEEDS_MAX = 6;

describe('the simulation catches a store that', () => {
  it.each(SABOTAGES.map((sabotage) => [sabotage.name, sabotage] as const))('is sabotaged: %s', async (_, sabotage) => {
    const seeds = [sabotage.caughtBy, ...Array.from({ length: SEEDS_MAX - 1 }, (__, n) => n + 1)];
    const failures: string[] = [];
    for (const seed of seeds) {
      const { failure } = await new Simulation(makeScript(seed, STEPS), sabotage).run();
      if (failure === '') continue;
      failures.push(failure);
      break;
    }
    expect(failures).toHaveLength(1);
    // The mistake is out again: the same script keeps every promise.
    expect((await new Simulation(makeScript(sabotage.caughtBy, STEPS)).run()).failure).toBe('');
  });

  it('in more than a dozen ways', () => {
    expect(SABOTAGES.length).toBeGreaterThanOrEqual(12);
    expect(new Set(SABOTAGES.map((sabotage) => sabotage.name)).size).toBe(SABOTAGES.length);
  });
});
