import { randomInt } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { makeScript, SEED_WITH_KEYS } from './script.js';
import { Simulation } from './simulation.js';

const STEPS = 400;
/** Those that have found mistakes, and some neighbours. A seed's script is another one when there are new steps. */
const FIXED = [
  ...[4, 21, 27, 29, 47, 4010155917, 1472929397, 3437716745, 3191374082, 652106199, 2159777414, 3803315035],
  ...[1866773408, 2841897132, 491771799, 1487767862],
  ...[3868762286, 954706661, 2166579076, 460558872, 4157586155],
  ...[635767025, 2450385308, 1002148887, 1727273410, 3103299573, 161498717, 1820284475, 2683552434, 3671910946],
  ...[2201564345, 2540060644, 368, 708, 4285725439, 2439128135, 3440845716],
  ...[
    2902354716, 1497516262, 971174171, 2518062624, 3337163732, 2818068863, 2687278678, 3214467168, 2728701075,
    3624345493,
  ],
  ...Array.from({ length: 16 }, (_, n) => 101 + n),
];
const FIXED_WITH_KEYS = [4238065322, 2034, 1, 2, 3, 24, 3470771761, 4129902940, 3439364333, 2901732869, 108988056].map(
  (seed) => SEED_WITH_KEYS + seed,
);
const FRESH = [
  ...Array.from({ length: 2 }, () => randomInt(1, SEED_WITH_KEYS)),
  ...Array.from({ length: 2 }, () => randomInt(SEED_WITH_KEYS, 2 * SEED_WITH_KEYS)),
];

async function failureOf(seed: number): Promise<string> {
  const outcome = await new Simulation(makeScript(seed, STEPS)).run();
  if (outcome.failure === '') return '';
  const again = `npm run sim -- --seed ${seed} --steps ${STEPS}`;
  return `${outcome.failure}\n${again}\n${outcome.trace.slice(-40).join('\n')}\n${outcome.log.slice(-10).join('\n')}`;
}

describe('the simulated world keeps every promise', () => {
  it.each([...FIXED, ...FIXED_WITH_KEYS])('through the script of seed %i', async (seed) => {
    expect(await failureOf(seed)).toBe('');
  });

  it(`through fresh scripts: seeds ${FRESH.join(', ')}`, async () => {
    for (const seed of FRESH) expect(await failureOf(seed), `seed ${seed}`).toBe('');
  });

  it.each([7, 21, 108, SEED_WITH_KEYS + 1])('is the same world twice, with seed %i', async (seed) => {
    const first = await new Simulation(makeScript(seed, STEPS)).run();
    const second = await new Simulation(makeScript(seed, STEPS)).run();
    expect(second.trace).toEqual(first.trace);
    expect(second.traceHash).toBe(first.traceHash);
    expect(second.diskHash).toBe(first.diskHash);
    expect(first.requests).toBeGreaterThan(100);
  });

  it('is another world with another seed', async () => {
    const [one, other] = [
      await new Simulation(makeScript(7, STEPS)).run(),
      await new Simulation(makeScript(8, STEPS)).run(),
    ];
    expect(other.traceHash).not.toBe(one.traceHash);
  });
});
