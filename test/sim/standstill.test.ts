import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import { Head } from '../../src/store/head.js';
import { WriteQueue } from '../../src/store/write-queue.js';
import { makeScript } from './script.js';
import type { Sabotage } from './simulated-machine.js';
import { Simulation } from './simulation.js';

/** Replaces a method of a class while a simulation runs. */
function replacing<T extends object, K extends keyof T>(prototype: T, name: K, make: (real: T[K]) => T[K]): Sabotage {
  return {
    name: 'standing still',
    caughtBy: 1,
    install: () => {
      const real = prototype[name];
      prototype[name] = make(real);
      return () => {
        prototype[name] = real;
      };
    },
  };
}

async function failureOf(sabotage: Sabotage): Promise<string> {
  return (await new Simulation(makeScript(1, 200), sabotage).run()).failure;
}

describe('a world that stands still', () => {
  it('names the request that is never answered', async () => {
    const forgetful = replacing(
      Head.prototype,
      'submit',
      (real) =>
        function (this: Head, request, bound) {
          if (request.operation !== Operation.FLUSH) real.call(this, request, bound);
        },
    );
    expect(await failureOf(forgetful)).toMatch(/^nothing came of it in .*; the store is .*#\d+ flush of layer \d+/);
  });

  it('is seen when turns go on for ever and no time passes', async () => {
    const restless = replacing(
      WriteQueue.prototype,
      'wake',
      (real) =>
        function (this: WriteQueue) {
          real.call(this);
          void Promise.resolve().then(() => setImmediate(() => this.wake()));
        },
    );
    expect(await failureOf(restless)).toMatch(/^nothing came of it in 100000 turns; the store is ready/);
  });

  it('is ended from outside when a turn never ends, and says where', () => {
    const script = fileURLToPath(new URL('endless-turn.ts', import.meta.url));
    const { signal, stderr } = spawnSync(process.execPath, ['--import', 'tsx', script], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    expect(signal).toBe('SIGKILL');
    expect(stderr).toContain('HUNG: seed 4294967295, in step 3: no turn has ended');
    expect(stderr).toMatch(/\n {2}in turnForEver\n/);
    expect(stderr).toContain('npm run sim -- --seed 4294967295 --steps 9');
  });
});
