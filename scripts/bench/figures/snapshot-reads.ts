import { join } from 'node:path';
import { BARS } from '../bars.js';
import type { Bed } from '../bed.js';
import { atMost, type Figure, type FigureRun, showTimes, told, type Verdict } from '../figure.js';
import { GalleonDaemon } from '../galleon-daemon.js';
import { scatterWrites } from '../libnbd-clients.js';
import { GIB } from '../measurement.js';
import { Qcow2Image } from '../qcow2.js';
import { formatRate } from '../rounds.js';
import { median, ratio } from '../statistics.js';
import { newVolume, VolumeClient } from '../volume-client.js';
import { workNamed } from '../works.js';

const FOLDER = 'snapshot-reads';
const QCOW2_FOLDER = 'snapshot-reads-qcow2';
const ROUNDS = 5;
/** qcow2 opens every overlay at once: a chain of hundreds is nothing that anybody serves. */
const FULL = { snapshots: 500, overlays: 50, writes: 131_072 };
const QUICK = { snapshots: 10, overlays: 3, writes: 500 };

/** One of two that are compared: the same data, in few layers or in many. */
interface Side {
  readonly client: VolumeClient;
  /** Processor time of its server so far, seconds. */
  readonly cpuSeconds: () => number;
}

/** What one side did in one round. */
interface Turn {
  readonly cpuUsPerRead: number;
  readonly rate: number;
}

/** What a random read costs when what it reads lies in one layer of many, and in a chain of overlays. */
export const snapshotReadsFigure: Figure = {
  name: 'snapshot-reads',
  title: 'processor time of reads with one snapshot and with 500',
  needs: ['fio', 'qemu', 'libnbd'],
  run: async (run) => {
    const { bed, sizeBytes } = run;
    await bed.wantSpace(5 * sizeBytes + GIB, 'snapshot-reads');
    const ours = await GalleonDaemon.within(bed, FOLDER, [], (daemon) => measureOurs(run, daemon));
    try {
      return [...ours, ...(await measureQcow2(run))];
    } finally {
      bed.removed(QCOW2_FOLDER);
    }
  },
};

async function measureOurs(run: FigureRun, daemon: GalleonDaemon): Promise<Verdict[]> {
  const { bed, quick, sizeBytes, say } = run;
  const { snapshots, writes } = quick ? QUICK : FULL;
  const sides: Side[] = [];
  for (const count of [1, snapshots]) {
    const volume = `snapshots-${count}`;
    const client = await newVolume(bed, daemon, volume, sizeBytes);
    await client.fill();
    for (let n = 0; n < count; n += 1) {
      await daemon.client.snapshots.create({ volumes: [volume], name: `s-${n}`, labels: {} });
      await scatterWrites(bed, { uri: client.uri, sizeBytes, writes: Math.floor(writes / count), seed: n });
    }
    say(`snapshot-reads: written between its snapshots, ${count} in all`);
    sides.push({ client, cpuSeconds: () => daemon.server.cpuSeconds() });
  }
  await bed.settle();
  await bed.readThrough(FOLDER);
  const turns = await compare(run, sides as [Side, Side]);
  const what = `reads with ${snapshots} snapshots`;
  return [
    atMost(
      `${what}: processor time, of that with one`,
      factorOf(turns, 'cpuUsPerRead'),
      BARS.manySnapshotsFactor,
      showTimes,
    ),
    told(`${what}: rate, of that with one`, factorOf(turns, 'rate'), showTimes),
    told('reads with one snapshot: processor time', median(turns.map(([one]) => one.cpuUsPerRead)), showUs),
  ];
}

async function measureQcow2(run: FigureRun): Promise<Verdict[]> {
  const { bed, quick, sizeBytes } = run;
  const { overlays, writes } = quick ? QUICK : FULL;
  bed.emptied(QCOW2_FOLDER);
  const base = await Qcow2Image.create(bed, QCOW2_FOLDER, 'base', sizeBytes);
  await base.served('qcow2', ({ uri }) => new VolumeClient(bed, 'qcow2', { uri, sizeBytes }).fill());
  const short = await chain(bed, base, { length: 1, writes, sizeBytes });
  const long = await chain(bed, base, { length: overlays, writes, sizeBytes });
  await bed.settle();
  await bed.readThrough(QCOW2_FOLDER);
  const turns = await short.served('short', (one) =>
    long.served('long', (other) => {
      const sides = [one, other].map(({ uri, cpuSeconds }, at): Side => {
        return { client: new VolumeClient(bed, `chain-${at}`, { uri, sizeBytes }), cpuSeconds };
      });
      return compare(run, sides as [Side, Side]);
    }),
  );
  const what = `qcow2: reads through ${overlays} overlays`;
  return [
    told(`${what}: processor time, of that with one`, factorOf(turns, 'cpuUsPerRead'), showTimes),
    told(`${what}: rate, of that with one`, factorOf(turns, 'rate'), showTimes),
    told('qcow2: reads through one overlay: processor time', median(turns.map(([one]) => one.cpuUsPerRead)), showUs),
  ];
}

/** So many overlays on top of an image, and in all of them together so many writes. */
async function chain(
  bed: Bed,
  base: Qcow2Image,
  { length, writes, sizeBytes }: { length: number; writes: number; sizeBytes: number },
): Promise<Qcow2Image> {
  let top = base;
  for (let n = 0; n < length; n += 1) {
    top = await top.overlay(join(bed.folder, QCOW2_FOLDER, `overlay-${n}-of-${length}`));
    const scatter = { sizeBytes, writes: Math.floor(writes / length), seed: n };
    await top.served('qcow2', ({ uri }) => scatterWrites(bed, { uri, ...scatter }));
  }
  return top;
}

/** Rounds of both in turn, each first in every other one: pairs of what they did. */
async function compare({ quick, seconds, say }: FigureRun, sides: readonly [Side, Side]): Promise<[Turn, Turn][]> {
  const turns: [Turn, Turn][] = [];
  // What is merged or cached on first touch is no part of the rate.
  for (const side of sides) await turn(side, seconds);
  for (let round = 0; round < (quick ? 1 : ROUNDS); round += 1) {
    let [one, other] = [sides[0], sides[1]];
    if (round % 2 === 1) [one, other] = [other, one];
    const first = await turn(one, seconds);
    const second = await turn(other, seconds);
    const pair: [Turn, Turn] = round % 2 === 1 ? [second, first] : [first, second];
    const shown = pair.map(({ cpuUsPerRead, rate }) => `${showUs(cpuUsPerRead)} (${formatRate(rate)} IOPS)`);
    say(`snapshot-reads: one layer ${shown[0] ?? ''}, many ${shown[1] ?? ''}`);
    turns.push(pair);
  }
  return turns;
}

async function turn({ client, cpuSeconds }: Side, seconds: number): Promise<Turn> {
  const before = cpuSeconds();
  const { operationsPerSecond, bytes } = await client.run(workNamed('rand-read-32'), seconds);
  const reads = bytes / workNamed('rand-read-32').requestBytes;
  return { cpuUsPerRead: ((cpuSeconds() - before) * 1e6) / reads, rate: operationsPerSecond };
}

function factorOf(turns: readonly [Turn, Turn][], figure: keyof Turn): number {
  return median(turns.map(([one, many]) => ratio(many[figure], one[figure])));
}

const showUs = (us: number): string => `${us.toFixed(2)} us`;
