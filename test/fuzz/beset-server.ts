import { readdirSync } from 'node:fs';
import { expect } from 'vitest';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { SeededRandom } from '../base/seeded-random.js';
import { comesTrue } from '../base/waiting.js';
import { NOTHING_HELD, TestServer, type TestServerOptions } from '../nbd/test-server.js';
import type { HostilePlan } from './hostile-session.js';
import { ScatteredDevice } from './scattered-device.js';
import { WITNESS_BYTES, Witness } from './witness.js';

const VOLUME_BYTES = 256 * 1024;

/** A server with a volume `v` for those who mean no good, and one for each of two witnesses. */
export function startBeset(seed: number, options: Partial<TestServerOptions> = {}): Promise<TestServer> {
  return TestServer.start({
    exports: {
      v: { device: new ScatteredDevice(VOLUME_BYTES, new SeededRandom(seed)), description: 'a volume' },
      'witness-0': { device: new MemoryDevice({ sizeBytes: WITNESS_BYTES }) },
      'witness-1': { device: new MemoryDevice({ sizeBytes: WITNESS_BYTES }) },
    },
    ...options,
  });
}

/**
 * Plays all plans, `atOnce` of them at a time, while witnesses (one or two) are served on the same server all along; then
 * nothing of the plans may be left.
 */
export async function beset(
  server: TestServer,
  plans: Iterable<HostilePlan>,
  how: { readonly witnesses: 1 | 2; readonly atOnce: number; readonly play: (plan: HostilePlan) => Promise<unknown> },
): Promise<void> {
  const before = descriptors();
  const witnesses: Witness[] = [];
  for (let n = 0; n < how.witnesses; n += 1) witnesses.push(await Witness.start(server, `witness-${String(n)}`, n));
  const queue = plans[Symbol.iterator]();
  let played = 0;
  const worker = async (): Promise<void> => {
    for (let next = queue.next(); next.done !== true; next = queue.next()) {
      played += 1;
      await how.play(next.value);
    }
  };
  await Promise.all(Array.from({ length: how.atOnce }, worker));
  expect(played).toBeGreaterThan(0);
  // The witnesses alone are left: everything that sessions held has come back.
  await comesTrue('the hostile sessions are gone', () => {
    const { connections, negotiating } = server.server.usage();
    return connections === how.witnesses && negotiating === 0 && server.opened - server.closed === how.witnesses;
  });
  for (const witness of witnesses) {
    await witness.stop();
    expect(witness.rounds).toBeGreaterThan(0);
  }
  await comesTrue('the witnesses are gone', () => server.server.usage().connections === 0);
  expect(server.opened).toBe(server.closed);
  expect(server.server.usage()).toEqual(NOTHING_HELD);
  expect(server.statistics.inFlight).toBe(0);
  await comesTrue('the descriptors are closed', () => descriptors() <= before);
}

const descriptors = (): number => readdirSync('/proc/self/fd').length;
