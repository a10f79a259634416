import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../base/temporary-folder.js';
import { makeCertificates } from '../nbd/certificates.js';
import { RECEIVE_PATHS, type TestServer } from '../nbd/test-server.js';
import { needs } from '../system/needs.js';
import { beset, startBeset } from './beset-server.js';
import { corpusOf, keepInCorpus } from './corpus.js';
import { FUZZ_TIMEOUT_MS, SEED, replayedWith, runs } from './fuzzing.js';
import { describePlan, hostilePlan, play, signatureOf, type HostilePlan } from './hostile-session.js';
import { WITNESS_MARK } from './witness.js';

/** Hostile sessions at once. */
const AT_ONCE = 12;
const KEEPS = process.env['FUZZ_KEEP'] === '1';

const sessions = (): Uint8Array[] => corpusOf('sessions').map(({ bytes }) => bytes);

/** Plays all plans beside two witnesses; then nothing may be left of them. Answers what each was told. */
async function survives(server: TestServer, plans: Iterable<HostilePlan>): Promise<Map<string, HostilePlan>> {
  const kinds = new Map<string, HostilePlan>();
  await beset(server, plans, {
    witnesses: 2,
    atOnce: AT_ONCE,
    play: async (plan) => kinds.set(signatureOf(await attempt(server, plan)), plan),
  });
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
    const server = await startBeset(SEED, { copying });
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
      const server = await startBeset(SEED, { copying });
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
      const server = await startBeset(SEED, { copying, limits });
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
      const certificates = await makeCertificates(await temporaryFolder());
      const server = await startBeset(SEED, { tls: { mode: 'optional', options: certificates.server } });
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
