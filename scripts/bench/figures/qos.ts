import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { atLeast, atMost, type Figure, type FigureRun, showPercent, told, type Verdict } from '../figure.js';
import { GalleonDaemon } from '../galleon-daemon.js';
import { runSeconds } from '../process-usage.js';
import { median } from '../statistics.js';
import { newVolume, type VolumeClient } from '../volume-client.js';
import type { FioWork } from '../works.js';

const FOLDER = 'qos';
const LIMITED = 'limited';
const NEIGHBOUR = 'neighbour';
const SIZE_BYTES = 2 ** 30;
const QUICK_BYTES = 64 * 2 ** 20;
/** How long a limit has to be kept. */
const LIMIT_SECONDS = 30;
const ROUNDS = 3;
/** What a second client has been running for when the first one is measured. */
const LEAD_SECONDS = 1;

const SMALL_BYTES = 4096;
const LARGE_BYTES = 256 * 1024;

const LOW_IOPS = 100;
const GUARANTEED_IOPS = 5000;

const QOS_BARS = {
  /** Of the limit, either way. */
  limitShare: 0.05,
  /** Of the rate without a limit: the highest limit that is looked at. */
  highestShare: 0.8,
  /** Of one core. */
  throttledCpuShare: 0.02,
  /** Of what the neighbour has beside an idle volume. */
  neighbourShare: 0.95,
  guaranteeShare: 0.9,
} as const;

function reads(depth: number, requestBytes = SMALL_BYTES): FioWork {
  return {
    ...{
      kind: 'fio',
      name: `reads-${depth}`,
      title: `random reads, depth ${depth}`,
      unit: 'IOPS',
      pattern: 'randread',
    },
    ...{ requestBytes, depth, jobs: 1 },
  };
}

/** Limits and guarantees: how exactly they are kept, and what they cost. */
export const qosFigure: Figure = {
  name: 'qos',
  title: 'limits, their cost and their neighbours; a guarantee beside a flood',
  needs: ['fio'],
  run: async (run) => {
    const { bed, quick, seconds, say } = run;
    const sizeBytes = quick ? QUICK_BYTES : SIZE_BYTES;
    await bed.wantSpace(4 * sizeBytes, 'qos');
    const daemon = await GalleonDaemon.start(bed, join(bed.emptied(FOLDER), 'storage'));
    const clients: VolumeClient[] = [];
    for (const volume of [LIMITED, NEIGHBOUR]) {
      const client = await newVolume(bed, daemon, volume, sizeBytes);
      await client.fill();
      clients.push(client);
    }
    const [limited, neighbour] = clients as [VolumeClient, VolumeClient];
    const free = await limited.rate(reads(32), seconds);
    say(`qos: ${Math.round(free)} reads/s without a limit`);
    const verdicts = [
      ...(await limitVerdicts(run, daemon, limited, free)),
      ...(await neighbourVerdicts(run, daemon, limited, neighbour)),
      ...(await guaranteeVerdicts(run, daemon, limited, neighbour)),
    ];
    await daemon.stop();
    bed.removed(FOLDER);
    return verdicts;
  },
};

async function setIops(daemon: GalleonDaemon, volume: string, iops: number): Promise<void> {
  await daemon.client.qos.set({ volume, policy: '', change: { iops: Math.round(iops) } });
}

/** Each limit for its time; what the daemon takes meanwhile is told of the low one, where nearly all of it is waiting. */
async function limitVerdicts(
  { quick, seconds, say }: FigureRun,
  daemon: GalleonDaemon,
  limited: VolumeClient,
  free: number,
): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  const limitSeconds = quick ? seconds : LIMIT_SECONDS;
  for (const iops of [LOW_IOPS, Math.round(free * QOS_BARS.highestShare)]) {
    await setIops(daemon, LIMITED, iops);
    const before = runSeconds(daemon.server.pid);
    const startMs = performance.now();
    const rate = await limited.rate(reads(128), limitSeconds);
    const cpuShare = ((runSeconds(daemon.server.pid) - before) * 1000) / (performance.now() - startMs);
    say(`qos: ${rate.toFixed(1)} reads/s at a limit of ${iops}, ${showPercent(cpuShare)} of a core`);
    verdicts.push(withinLimit(`rate at a limit of ${iops} iops for ${limitSeconds} s`, rate, iops));
    if (iops !== LOW_IOPS) continue;
    const what = `processor time with 128 requests waiting at ${iops} iops, of one core`;
    verdicts.push(atMost(what, cpuShare, QOS_BARS.throttledCpuShare, showPercent));
  }
  return verdicts;
}

function withinLimit(what: string, rate: number, limit: number): Verdict {
  const share = rate / limit;
  return {
    what,
    figure: share,
    value: showPercent(share),
    bar: `100% +- ${showPercent(QOS_BARS.limitShare)}`,
    met: Math.abs(share - 1) <= QOS_BARS.limitShare,
    goal: false,
  };
}

/** Rounds in turn: the neighbour beside an idle volume, and beside a throttled one with all its requests waiting. */
async function neighbourVerdicts(
  { quick, seconds, say }: FigureRun,
  daemon: GalleonDaemon,
  limited: VolumeClient,
  neighbour: VolumeClient,
): Promise<Verdict[]> {
  await setIops(daemon, LIMITED, LOW_IOPS);
  const shares: number[] = [];
  for (let round = 0; round < (quick ? 1 : ROUNDS); round += 1) {
    const alone = await neighbour.rate(reads(32), seconds);
    const [, beside] = await Promise.all([
      limited.rate(reads(128), seconds + LEAD_SECONDS),
      setTimeout(LEAD_SECONDS * 1000).then(() => neighbour.rate(reads(32), seconds)),
    ]);
    shares.push(beside / alone);
    say(`qos: the neighbour had ${Math.round(alone)} reads/s, and ${Math.round(beside)} beside a throttled volume`);
  }
  return [
    atLeast('neighbour of a throttled volume, of its rate', median(shares), QOS_BARS.neighbourShare, showPercent),
  ];
}

/** A client that wants just its guarantee, beside one that wants all there is; without the guarantee to compare. */
async function guaranteeVerdicts(
  { quick, seconds, say }: FigureRun,
  daemon: GalleonDaemon,
  limited: VolumeClient,
  neighbour: VolumeClient,
): Promise<Verdict[]> {
  await daemon.client.qos.clear(LIMITED);
  const wanted = [`--rate_iops=${GUARANTEED_IOPS}`, '--rate_process=linear'];
  /** What it gets of what it wants, while the other reads so many bytes at a time. */
  const measure = async (floodBytes: number): Promise<number> => {
    const rates: number[] = [];
    for (let round = 0; round < (quick ? 1 : ROUNDS); round += 1) {
      const [flood, rate] = await Promise.all([
        neighbour.rate(reads(128, floodBytes), seconds + LEAD_SECONDS),
        setTimeout(LEAD_SECONDS * 1000).then(() => limited.rate(reads(16), seconds, { more: wanted })),
      ]);
      const beside = `${Math.round(flood)} of ${showKib(floodBytes)}`;
      say(`qos: ${Math.round(rate)} reads/s of ${GUARANTEED_IOPS} wanted, beside ${beside}`);
      rates.push(rate);
    }
    return median(rates) / GUARANTEED_IOPS;
  };
  const sizes = [SMALL_BYTES, LARGE_BYTES];
  const without: number[] = [];
  for (const bytes of sizes) without.push(await measure(bytes));
  await daemon.client.qos.set({ volume: LIMITED, policy: '', change: { guaranteedIops: GUARANTEED_IOPS } });
  const verdicts: Verdict[] = [];
  for (const [at, bytes] of sizes.entries()) {
    const beside = `beside ${showKib(bytes)} reads at depth 128`;
    const share = await measure(bytes);
    verdicts.push(
      atLeast(`a guarantee of ${GUARANTEED_IOPS} iops ${beside}`, share, QOS_BARS.guaranteeShare, showPercent),
      told('the same without the guarantee', without[at] ?? 0, showPercent),
    );
  }
  return verdicts;
}

function showKib(bytes: number): string {
  return `${bytes / 1024} KiB`;
}
