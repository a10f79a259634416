import { setTimeout } from 'node:timers/promises';
import { SCRUB_RATE_MAX } from '../../../src/control/limits.js';
import type { ScrubResult } from '../../../src/ipc/generated/scrub.js';
import { BenchError } from '../bench-error.js';
import { type Figure, type FigureRun, showMib, showPercent, told } from '../figure.js';
import { GalleonDaemon } from '../galleon-daemon.js';
import { GIB } from '../measurement.js';
import { formatRate } from '../rounds.js';
import { median, ratio } from '../statistics.js';
import { newVolume, type VolumeClient } from '../volume-client.js';
import { workNamed } from '../works.js';

const FOLDER = 'scrub';
const VOLUME = 'scrubbed';
const ROUNDS = 3;
const LOOK_MS = 20;
const SCRUB_MS_MAX = 300_000;
/** As `--scrub-rate` says. */
const DEFAULT_RATE = 0;

/** How fast a scrub is when nothing holds it back, and what one at its default rate takes from a reader. */
export const scrubFigure: Figure = {
  name: 'scrub',
  title: 'speed of a scrub, and reads beside one',
  needs: ['fio'],
  run: async (run) => {
    const { bed, sizeBytes } = run;
    await bed.wantSpace(2 * sizeBytes + GIB, 'scrub');
    return GalleonDaemon.within(bed, FOLDER, [], async (daemon) => {
      const client = await newVolume(bed, daemon, VOLUME, sizeBytes);
      await client.fill();
      await bed.settle();
      await bed.readThrough(FOLDER);
      const bytesPerSecond = await fullSpeed(run, daemon);
      const { share, scrubbed } = await readsBeside(run, daemon, client);
      return [
        told('a scrub without a limit, a second', bytesPerSecond, showMib),
        told('random reads beside a scrub at its default rate, of those without', share, showPercent),
        told('what that scrub read meanwhile, a second', scrubbed, showMib),
      ];
    });
  },
};

async function fullSpeed({ quick, sizeBytes, say }: FigureRun, daemon: GalleonDaemon): Promise<number> {
  const rates: number[] = [];
  for (let round = 0; round < (quick ? 1 : ROUNDS); round += 1) {
    const { bytes, activeMs } = await scrubOnce(daemon, SCRUB_RATE_MAX);
    if (bytes < sizeBytes) throw new BenchError(`scrub: it read ${bytes} bytes of a volume of ${sizeBytes}`);
    rates.push((bytes * 1000) / activeMs);
    say(`scrub: ${showMib(bytes)} in ${Math.round(activeMs)} ms`);
  }
  return median(rates);
}

/** Pairs: reads with and without a scrub, which begins anew whenever it has ended. Bytes a second of the scrub. */
async function readsBeside(
  { quick, seconds, say }: FigureRun,
  daemon: GalleonDaemon,
  client: VolumeClient,
): Promise<{ share: number; scrubbed: number }> {
  const shares: number[] = [];
  const scrubbed: number[] = [];
  const work = workNamed('rand-read-32');
  for (let round = 0; round < (quick ? 1 : ROUNDS); round += 1) {
    const alone = await client.rate(work, seconds);
    let reading = true;
    const bytesBefore = await scrubReadBytes(daemon);
    const startMs = performance.now();
    const measured = async (): Promise<{ rate: number; bytesPerSecond: number }> => {
      try {
        const rate = await client.rate(work, seconds);
        const bytes = (await scrubReadBytes(daemon)) - bytesBefore;
        return { rate, bytesPerSecond: (bytes * 1000) / (performance.now() - startMs) };
      } finally {
        reading = false;
        await daemon.client.scrubs.cancel(VOLUME);
      }
    };
    const scrubbing = async (): Promise<void> => {
      while (reading) await scrubOnce(daemon, DEFAULT_RATE);
    };
    const [beside] = await Promise.all([measured(), scrubbing()]);
    shares.push(ratio(beside.rate, alone));
    scrubbed.push(beside.bytesPerSecond);
    const meanwhile = `${showMib(beside.bytesPerSecond)} a second scrubbed meanwhile`;
    say(`scrub: ${formatRate(alone)} reads a second alone, ${formatRate(beside.rate)} beside it, ${meanwhile}`);
  }
  return { share: median(shares), scrubbed: median(scrubbed) };
}

/** Begins one, and waits until it has ended, cancelled or not. Throws BenchError when it found damage or failed. */
async function scrubOnce(daemon: GalleonDaemon, bytesPerSecond: number): Promise<ScrubResult> {
  const { scrubs } = daemon.client;
  const [begun] = await scrubs.begin(VOLUME, bytesPerSecond);
  // A small volume may be done before the answer is written.
  const startedAtMs = (begun?.run ?? begun?.last)?.startedAtMs;
  const deadlineMs = performance.now() + SCRUB_MS_MAX;
  while (performance.now() < deadlineMs) {
    const [scrub] = await scrubs.status(VOLUME);
    const last = scrub?.last;
    if (last !== undefined && last.startedAtMs === startedAtMs) {
      if (last.outcome === 'clean' || last.outcome === 'cancelled') return last;
      throw new BenchError(`scrub: it ended ${last.outcome}: ${last.reason}`);
    }
    await setTimeout(LOOK_MS);
  }
  throw new BenchError(`scrub: not done in ${SCRUB_MS_MAX / 1000} s`);
}

async function scrubReadBytes(daemon: GalleonDaemon): Promise<number> {
  return (await daemon.metrics()).value('galleonfs_scrub_read_bytes_total');
}
