import { readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { SeededRandom } from '../base/seeded-random.js';
import { makeCertificates } from '../nbd/certificates.js';
import { RECEIVE_PATHS, TestServer, type TestServerOptions } from '../nbd/test-server.js';
import { needs } from '../system/needs.js';
import { corpusOf, keepInCorpus } from './corpus.js';
import { FUZZ_TIMEOUT_MS, SEED, replayedWith, runs } from './fuzzing.js';
import { comesTrue, describePlan, hostilePlan, play, signatureOf, type HostilePlan } from './hostile-session.js';
import { ScatteredDevice } from './scattered-device.js';
import { WITNESS_BYTES, WITNESS_MARK, Witness } from './witness.js';

const VOLUME_BYTES = 256 * 1024;
/** Hostile sessions at once. */
const AT_ONCE = 12;
const KEEPS = process.env['FUZZ_KEEP'] === '1';
const NOTHING_HELD = { connections: 0, negotiating: 0, requestsInFlight: 0, bufferBytes: 0 };

const servers: TestServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop();
});

async function start(options: Partial<TestServerOptions> = {}): Promise<TestServer> {
  const server = await TestServer.start({
    exports: {
      v: { device: new ScatteredDevice(VOLUME_BYTES, new SeededRandom(SEED)), description: 'a volume' },
      'witness-0': { device: new MemoryDevice({ sizeBytes: WITNESS_BYTES }) },
      'witness-1': { device: new MemoryDevice({ sizeBytes: WITNESS_BYTES }) },
    },
    ...options,
  });
  servers.push(server);
  return server;
}

const descriptors = (): number => readdirSync('/proc/self/fd').length;
const sessions = (): Uint8Array[] => corpusOf('sessions').map(({ bytes }) => bytes);

/**
 * Plays all plans, some at once, while two witnesses work on the same server; then nothing may be left of them. Answers
 * what each was told.
 */
async function survives(server: TestServer, plans: Iterable<HostilePlan>): Promise<Map<string, HostilePlan>> {
  const before = descriptors();
  const witnesses = [await Witness.start(server, 'witness-0', 0), await Witness.start(server, 'witness-1', 1)];
  const kinds = new Map<string, HostilePlan>();
  const queue = plans[Symbol.iterator]();
  let opened = 0;
  const worker = async (): Promise<void> => {
    for (let next = queue.next(); next.done !== true; next = queue.next()) {
      opened += 1;
      const answers = await attempt(server, next.value);
      kinds.set(signatureOf(answers), next.value);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  expect(opened).toBeGreaterThan(0);
  // The witnesses alone are left: everything that sessions held has come back.
  await comesTrue('the hostile sessions are gone', () => {
    const { connections, negotiating } = server.server.usage();
    return connections === 2 && negotiating === 0 && server.opened - server.closed === 2;
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
  return kinds;
}

async function attempt(server: TestServer, plan: HostilePlan): Promise<Buffer> {
  try {
    const answers = await play(plan, server);
    if (answers.includes(WITNESS_MARK)) throw new Error(`told what another session wrote: ${describePlan(plan)}`);
    return answers;
  } catch (thrown) {
    const path = join(tmpdir(), `galleon-fuzz-${String(SEED)}.bin`);
    writeFileSync(path, plan.bytes);
    throw new Error(`${replayedWith}; what was sent is in ${path}`, { cause: thrown });
  }
}

function* mutatedPlans(count: number, salt: number): Generator<HostilePlan> {
  const corpus = sessions();
  for (let n = 0; n < count; n += 1) yield hostilePlan((SEED + salt + n * 7919) | 0, corpus);
}

describe.each(RECEIVE_PATHS)('sessions, bytes $path', ({ copying }) => {
  it('of the corpus end, and leave nothing behind', async () => {
    const server = await start({ copying });
    const plans = sessions().flatMap((bytes) =>
      (['unix', 'tcp'] as const).flatMap((transport) =>
        (['fin', 'reset'] as const).map((leaves): HostilePlan => ({
          bytes,
          pauses: [4],
          leaves,
          reads: true,
          transport,
        })),
      ),
    );
    await survives(server, plans);
    expect(server.count('connected')).toBeGreaterThan(20);
  });

  it(
    `with changed bytes end, disturb nobody and leave nothing behind (${replayedWith})`,
    async () => {
      const server = await start({ copying });
      const kinds = await survives(server, mutatedPlans(runs(400), copying ? 1 : 0));
      // The fuzzer must come past the handshake, and see many ways of being refused.
      expect(server.count('connected')).toBeGreaterThan(20);
      expect(server.count('handshake')).toBeGreaterThan(20);
      expect(server.count('failed IO')).toBeGreaterThan(0);
      expect(kinds.size).toBeGreaterThan(20);
      if (KEEPS) keepNew(kinds);
    },
    FUZZ_TIMEOUT_MS,
  );

  it(
    `with changed bytes hold no more than a small server gives (${replayedWith})`,
    async () => {
      const limits = {
        ...{ requestsInFlightMax: 4, sessionBytesMax: 1_200_000, serverBytesMax: 1_200_000, outputBytesMax: 65_536 },
        ...{ payloadBytesMax: 65_536, optionBytesMax: 8192, optionSkipBytesMax: 20_000, optionsMax: 8 },
      };
      const server = await start({ copying, limits });
      await survives(server, mutatedPlans(runs(250), 1_000_003));
      expect(server.count('connected')).toBeGreaterThan(10);
    },
    FUZZ_TIMEOUT_MS,
  );
});

describe('sessions under TLS', () => {
  it(
    `end when the bytes are not TLS, and leave nothing behind (${replayedWith})`,
    async (context) => {
      needs(context, 'openssl');
      const made = await start();
      const certificates = await makeCertificates(made.folder);
      const server = await start({ tls: { mode: 'optional', options: certificates.server } });
      const starts = corpusOf('sessions-tls').map(({ bytes }) => bytes);
      const plans = Array.from({ length: runs(150) }, (_, n) => hostilePlan((SEED + n * 104_729) | 0, starts));
      await survives(server, plans);
      expect(server.count('handshake')).toBeGreaterThan(20);
    },
    FUZZ_TIMEOUT_MS,
  );
});

/** Behaviour that nothing in the corpus shows yet is kept, the shortest input for each. */
function keepNew(kinds: ReadonlyMap<string, HostilePlan>): void {
  for (const [signature, { bytes }] of kinds) {
    if (signature.split(' ').length < 4 || bytes.length > 8192) continue;
    const name = `found-${Buffer.from(signature).toString('hex').slice(-16)}.bin`;
    keepInCorpus('sessions', name, bytes);
  }
}
