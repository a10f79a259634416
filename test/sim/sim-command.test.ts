import { describe, expect, it } from 'vitest';
import { makeScript } from './script.js';
import { shrink } from './shrink.js';
import { parseSimOptions } from './sim-options.js';
import { SABOTAGES } from './sabotages.js';
import { Simulation } from './simulation.js';

describe('npm run sim', () => {
  it('takes its flags', () => {
    expect(parseSimOptions(['--seed', '7', '--steps', '90', '--no-shrink'])).toEqual({
      seed: 7,
      steps: 90,
      minutes: 1,
      shrink: false,
      trace: false,
    });
    expect(parseSimOptions(['--minutes', '0.5'])).toMatchObject({ seed: null, minutes: 0.5, shrink: true });
    expect(parseSimOptions(['--help'])).toBe('help');
  });

  it.each([
    [['--seed', 'x'], '--seed takes a whole number from 1 to 8589934591, not "x"'],
    [['--seed', '0'], '--seed takes a whole number from 1 to 8589934591, not "0"'],
    [['--steps', '1e3'], '--steps takes a whole number from 1 to 100000, not "1e3"'],
    [['--minutes', '-1'], "'--minutes' argument is ambiguous"],
    [['--minutes=0'], '--minutes takes a number above 0 and up to 10000, not "0"'],
    [['--seed', '1', '--minutes', '2'], '--seed runs one seed; --minutes runs many: give one of the two'],
    [['--sed', '1'], "Unknown option '--sed'"],
    [['7'], "Unexpected argument '7'"],
  ])('says what is wrong with %j', (args, message) => {
    expect(parseSimOptions(args)).toContain(message);
  });

  it('finds a short trace that still fails', async () => {
    const sabotage = SABOTAGES.find((each) => each.name === 'holes are not written') ?? null;
    const script = makeScript(1, 200);
    const { failure } = await new Simulation(script, sabotage).run();
    expect(failure).not.toBe('');
    const fails = async (shorter: typeof script): Promise<string> =>
      (await new Simulation(shorter, sabotage).run()).failure;
    const found = await shrink(script, failure, fails, 120);
    expect(found.failure).not.toBe('');
    expect(found.script.steps.length).toBeLessThan(8);
    expect(await fails(found.script)).toBe(found.failure);
  });
});
