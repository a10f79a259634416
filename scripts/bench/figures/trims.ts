import { setTimeout } from 'node:timers/promises';
import { LEAF_BLOCKS } from '../../../src/store/limits.js';
import { BARS } from '../bars.js';
import { BenchError } from '../bench-error.js';
import { atMost, type Figure, type FigureRun, showMs, told, type Verdict } from '../figure.js';
import { GalleonDaemon } from '../galleon-daemon.js';
import { trimRange } from '../libnbd-clients.js';
import { GIB } from '../measurement.js';
import { newVolume, type VolumeClient } from '../volume-client.js';
import { type FioWork, workNamed } from '../works.js';

const FOLDER = 'trims';
const FRESH_BYTES = 16 * 2 ** 40;
const BLOCK_BYTES = 4096;
const LEAF_BYTES = LEAF_BLOCKS * BLOCK_BYTES;
/** More than twice as many leaves as the daemon keeps in memory. */
const FULL = { mappedBytes: 256 * GIB, seconds: 10 };
const QUICK = { mappedBytes: 4 * GIB, seconds: 2 };
const ALLOCATED_WAIT_MS = 60_000;
const ALLOCATED_POLL_MS = 200;
/** What the neighbour has been running for when the trim begins. */
const LEAD_MS = 1000;

const NEIGHBOURS = [
  { who: 'reader', work: workNamed('rand-read-1') },
  { who: 'writer', work: workNamed('rand-write-1') },
] as const;

/** One block in every leaf of the map, in order. */
const SPARSE: FioWork = {
  ...{ kind: 'fio', name: 'sparse', title: 'one block in every leaf', unit: 'IOPS', pattern: 'write' },
  ...{ requestBytes: BLOCK_BYTES, depth: 32, jobs: 1 },
};

/** What a discard of a whole device takes: of a fresh one, as mkfs does it, and of one with a large map. */
export const trimsFigure: Figure = {
  name: 'trims',
  title: 'trims of whole volumes, and who works beside one',
  needs: ['fio', 'libnbd'],
  run: async (run) => {
    const { bed, quick, sizeBytes } = run;
    // A page of the journal for each block at most, and the map.
    const sparseBytes = ((quick ? QUICK : FULL).mappedBytes / LEAF_BYTES) * 4 * BLOCK_BYTES;
    await bed.wantSpace(sparseBytes + 2 * sizeBytes + 2 * GIB, 'trims');
    return GalleonDaemon.within(bed, FOLDER, [], async (daemon) => [
      ...(await trimFresh(run, daemon)),
      ...(await trimBeside(run, daemon)),
    ]);
  },
};

async function trimFresh({ bed, say }: FigureRun, daemon: GalleonDaemon): Promise<Verdict[]> {
  const { uri } = await newVolume(bed, daemon, 'fresh', FRESH_BYTES);
  const { requests, ms } = await trimRange(bed, uri, 0, FRESH_BYTES);
  say(`trims: a fresh volume in ${showMs(ms)} and ${requests} requests`);
  return [atMost('trim of a fresh 16 TiB volume', ms, BARS.freshTrimMs, showMs)];
}

async function trimBeside(run: FigureRun, daemon: GalleonDaemon): Promise<Verdict[]> {
  const { bed, quick, sizeBytes, say } = run;
  const { mappedBytes, seconds } = quick ? QUICK : FULL;
  const leaves = mappedBytes / LEAF_BYTES;
  const map = `${Math.round(leaves / 1000)}k leaves, ${mappedBytes / GIB} GiB`;
  const neighbour = await newVolume(bed, daemon, 'neighbour', sizeBytes);
  await neighbour.fill();
  const mapped = await newVolume(bed, daemon, 'mapped', mappedBytes);
  const verdicts: Verdict[] = [];
  for (const { who, work } of NEIGHBOURS) {
    // fio skips so much after each request.
    const more = [`--rw=write:${LEAF_BYTES - BLOCK_BYTES}`];
    await mapped.run(SPARSE, null, { bytes: leaves * BLOCK_BYTES, more });
    await untilAllocated(daemon, 'mapped', leaves * BLOCK_BYTES);
    await bed.settle();
    await bed.readThrough(FOLDER);
    const quietMs = await highestMs(neighbour, work, seconds);
    const [trim, besideMs] = await workWhile(
      neighbour,
      work,
      seconds,
      setTimeout(LEAD_MS).then(() => trimRange(bed, mapped.uri, 0, mappedBytes)),
    );
    await untilAllocated(daemon, 'mapped', 0);
    const latencies = `a ${who}'s highest latency ${showMs(besideMs)}, before it ${showMs(quietMs)}`;
    say(`trims: ${map}: ${showMs(trim.ms)}; ${latencies}`);
    verdicts.push(
      told(`trim of a volume with a map of ${map}, beside a ${who}`, trim.ms, showMs),
      atMost(`highest latency of the ${who}, at depth 1 on another volume`, besideMs, BARS.trimNeighbourMs, showMs),
      told(`the same of the ${who} without a trim`, quietMs, showMs),
    );
  }
  return verdicts;
}

/**
 * Throws BenchError when a volume does not come to hold what it was given, or what it was left with. What was trimmed
 * while its leaf was not in memory counts until the next checkpoint has read that.
 */
async function untilAllocated(daemon: GalleonDaemon, volume: string, bytes: number): Promise<void> {
  const deadlineMs = performance.now() + ALLOCATED_WAIT_MS;
  for (;;) {
    const { allocatedBytes } = await daemon.client.getVolume({ volume, retained: false });
    if (allocatedBytes === bytes) return;
    if (performance.now() > deadlineMs)
      throw new BenchError(`trims: ${volume} holds ${allocatedBytes} bytes instead of ${bytes}`);
    await setTimeout(ALLOCATED_POLL_MS);
  }
}

async function highestMs(volume: VolumeClient, work: FioWork, seconds: number): Promise<number> {
  return (await volume.run(work, seconds)).maxUs / 1000;
}

/** Works, in runs of so many seconds, until something else is done; its outcome, and the highest latency of all runs. */
async function workWhile<Outcome>(
  volume: VolumeClient,
  work: FioWork,
  seconds: number,
  other: Promise<Outcome>,
): Promise<[Outcome, number]> {
  let done = false;
  const working = async (): Promise<number> => {
    let ms = 0;
    do ms = Math.max(ms, await highestMs(volume, work, seconds));
    while (!done);
    return ms;
  };
  return Promise.all([other.finally(() => (done = true)), working()]);
}
