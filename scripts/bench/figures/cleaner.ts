import { setTimeout } from 'node:timers/promises';
import { storedBytesOf } from '../../../src/io/record-layout.js';
import { BARS } from '../bars.js';
import type { Bed } from '../bed.js';
import { BenchError } from '../bench-error.js';
import {
  atLeast,
  atMost,
  type Figure,
  type FigureRun,
  showMs,
  showPercent,
  showTimes,
  told,
  type Verdict,
} from '../figure.js';
import type { FioFigures } from '../fio.js';
import { GalleonDaemon } from '../galleon-daemon.js';
import { trimRange } from '../libnbd-clients.js';
import { GIB } from '../measurement.js';
import { formatRate } from '../rounds.js';
import { ratio } from '../statistics.js';
import { newVolume, type VolumeClient } from '../volume-client.js';
import { workNamed } from '../works.js';

const FOLDER = 'cleaner';
const JOURNAL = `${FOLDER}/storage/journal`;
const VOLUME = 'overwritten';
const BLOCK_BYTES = 4096;
const MIB = 2 ** 20;
/** Of the journal's limit. */
const LIVE_SHARE = 0.8;
/** So many segments that what is held back of them is a small share, as on a disk that somebody bought. */
const FULL = { capacityBytes: 16 * GIB, segmentBytes: 64 * MIB, freshSeconds: 30 };
const QUICK = { capacityBytes: 192 * MIB, segmentBytes: MIB, freshSeconds: 1 };
const UNIFORM: readonly string[] = [];
/** Nine in ten requests go to the first tenth. */
const SKEWED: readonly string[] = ['--random_distribution=zoned:90/10:10/90'];
const LOOK_MS = 250;
/** The cleaner has nothing left to do when the journal has not changed for so long. */
const SETTLED_MS = 5000;
/** So long it is looked whether space comes back, also after the bar. */
const SPACE_MS_MAX = 2 * BARS.spaceBackMs;

type Extent = typeof FULL;

/** What one workload cost. */
interface Cost {
  readonly client: FioFigures;
  /** Bytes appended for each byte that the client wrote. */
  readonly amplification: number;
}

/** Overwriting a store that is 80% live: what the cleaner takes, and whether it gives space back. */
export const cleanerFigure: Figure = {
  name: 'cleaner',
  title: 'random overwrites at 80% live, 20 minutes; space after a deletion',
  needs: ['fio', 'libnbd'],
  run: async (run) => {
    const extent = run.quick ? QUICK : FULL;
    // A fresh store keeps all that it is given meanwhile.
    await run.bed.wantSpace(2.5 * extent.capacityBytes, 'cleaner');
    const segments = ['--segment-size', String(extent.segmentBytes)];
    const limit = [...segments, '--capacity', String(extent.capacityBytes)];
    const fresh = await GalleonDaemon.within(run.bed, FOLDER, segments, (daemon) => freshStore(run, extent, daemon));
    await run.bed.settle();
    return GalleonDaemon.within(run.bed, FOLDER, limit, async (daemon) => {
      const volume = await newVolume(run.bed, daemon, VOLUME, liveBytesOf(extent.capacityBytes));
      await volume.fill();
      return [
        ...(await overwriteVerdicts(run, daemon, volume, fresh)),
        ...(await spaceVerdicts(run, daemon, volume, extent)),
      ];
    });
  },
};

/** So large a volume makes the wanted share of a journal live, with the headers of its blocks. */
export function liveBytesOf(capacityBytes: number): number {
  const share = (LIVE_SHARE * BLOCK_BYTES) / storedBytesOf(BLOCK_BYTES);
  return Math.floor((capacityBytes * share) / MIB) * MIB;
}

/** The same writes on a store of the same size without a limit, before anything of it can be cleaned. */
async function freshStore(
  { bed, say }: FigureRun,
  { capacityBytes, freshSeconds }: Extent,
  daemon: GalleonDaemon,
): Promise<FioFigures> {
  const volume = await newVolume(bed, daemon, VOLUME, liveBytesOf(capacityBytes));
  await volume.fill();
  await bed.settle();
  const figures = await volume.run(workNamed('rand-write-32'), freshSeconds);
  say(`cleaner: a fresh store takes ${formatRate(figures.operationsPerSecond)} random writes a second`);
  return figures;
}

async function overwriteVerdicts(
  run: FigureRun,
  daemon: GalleonDaemon,
  volume: VolumeClient,
  fresh: FioFigures,
): Promise<Verdict[]> {
  const uniform = await overwrite(run, daemon, volume, { what: 'uniform', more: UNIFORM });
  const skewed = await overwrite(run, daemon, volume, { what: '90/10', more: SKEWED });
  const share = ratio(uniform.client.operationsPerSecond, fresh.operationsPerSecond);
  const forSeconds = `${run.cleanerSeconds} s at ${showPercent(LIVE_SHARE)} live`;
  return [
    atMost(
      `write amplification, uniform writes for ${forSeconds}`,
      uniform.amplification,
      BARS.amplification,
      showTimes,
    ),
    atMost('the same with 90% to a tenth', skewed.amplification, BARS.skewedAmplification, showTimes),
    atLeast('rate of the uniform writes, of that of a fresh store', share, BARS.cleaningShare, showPercent),
    told('99.9% latency of the uniform writes', uniform.client.p999Us / 1000, showMs),
    told('99.9% latency of the writes to a fresh store', fresh.p999Us / 1000, showMs),
    told('99.9% latency with 90% to a tenth', skewed.client.p999Us / 1000, showMs),
  ];
}

/** Writes the volume once over in the same pattern, so that cleaning is what it will stay, and then for the time. */
async function overwrite(
  { say, cleanerSeconds }: FigureRun,
  daemon: GalleonDaemon,
  volume: VolumeClient,
  { what, more }: { what: string; more: readonly string[] },
): Promise<Cost> {
  const work = workNamed('rand-write-32');
  await volume.run(work, null, { bytes: volume.sizeBytes, seed: 1, more });
  const before = await daemon.metrics();
  const client = await volume.run(work, cleanerSeconds, { seed: 2, more });
  const after = await daemon.metrics();
  const grown = (name: string): number => after.value(name) - before.value(name);
  const appended = grown('galleonfs_store_appended_bytes_total');
  const moved = grown('galleonfs_store_moved_bytes_total');
  if (moved <= 0) throw new BenchError(`cleaner: nothing was moved during the ${what} writes: that measures nothing`);
  const amplification = ratio(appended + moved, client.bytes);
  const rate = `${formatRate(client.operationsPerSecond)} writes a second`;
  say(`cleaner: ${what} for ${cleanerSeconds} s: ${rate}, ${showTimes(amplification)} as many bytes appended`);
  return { client, amplification };
}

/** Half of the volume is trimmed: when its space is back, and what the journal takes once nobody writes. */
async function spaceVerdicts(
  { bed, say }: FigureRun,
  daemon: GalleonDaemon,
  volume: VolumeClient,
  { segmentBytes }: Extent,
): Promise<Verdict[]> {
  const halfBytes = Math.floor(volume.sizeBytes / 2 / MIB) * MIB;
  const usedBytes = bed.usedBytes(JOURNAL);
  await trimRange(bed, volume.uri, 0, halfBytes);
  const back = await fallsTo(bed, usedBytes - (halfBytes / BLOCK_BYTES) * storedBytesOf(BLOCK_BYTES));
  say(`cleaner: ${Math.round((usedBytes - back.bytes) / MIB)} MiB are back after ${showMs(back.ms)}`);
  const { liveBytes } = await daemon.client.status();
  const heldBytes = BARS.idleSegments * segmentBytes;
  const idleBytes = await settlesAt(bed);
  const beyond = `bytes on disk while nobody writes, less ${BARS.idleSegments} segments, of live ones`;
  return [
    atMost('space of half of the data is back on the file system after', back.ms, BARS.spaceBackMs, showMs),
    atMost(beyond, ratio(idleBytes - heldBytes, liveBytes), BARS.idleGarbage, showTimes),
  ];
}

/** Waits until the journal takes no more than so many bytes of the disk, as long as makes sense. */
async function fallsTo(bed: Bed, limitBytes: number): Promise<{ ms: number; bytes: number }> {
  const startMs = performance.now();
  for (;;) {
    const bytes = bed.usedBytes(JOURNAL);
    const ms = performance.now() - startMs;
    if (bytes <= limitBytes || ms > SPACE_MS_MAX) return { ms, bytes };
    await setTimeout(LOOK_MS);
  }
}

/** Bytes of the disk that the journal takes once that stays the same. */
async function settlesAt(bed: Bed): Promise<number> {
  const startMs = performance.now();
  let bytes = bed.usedBytes(JOURNAL);
  let sinceMs = startMs;
  const isLate = (): boolean => performance.now() - startMs > SPACE_MS_MAX;
  while (performance.now() - sinceMs < SETTLED_MS && !isLate()) {
    await setTimeout(LOOK_MS);
    const now = bed.usedBytes(JOURNAL);
    if (now === bytes) continue;
    bytes = now;
    sinceMs = performance.now();
  }
  return bytes;
}
