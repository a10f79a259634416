import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Bed } from '../bed.js';
import { type Figure, type FigureRun, showMs, told, type Verdict } from '../figure.js';
import { GalleonDaemon } from '../galleon-daemon.js';
import { GIB } from '../measurement.js';
import { Qcow2Image, qemuImg } from '../qcow2.js';
import { formatRate } from '../rounds.js';
import { median, quantile } from '../statistics.js';
import { newVolume, VolumeClient } from '../volume-client.js';
import { workNamed } from '../works.js';

const FOLDER = 'snapshots';
const QCOW2_FOLDER = 'snapshots-qcow2';
const VOLUME = 'base';
const COUNT = 50;
const QUICK_COUNT = 3;
/** How long the volume is written to at random meanwhile: time for all of them, and what comes before the first. */
const LOAD_SECONDS = 15;
const QUICK_LOAD_SECONDS = 3;
const LEAD_MS = 1000;
/** Between one snapshot and the next, so that the volume is written to in between. */
const PAUSE_MS = 50;
/** Beyond the volume and the image: what is written for so long. */
const DISK_BYTES = 10 * GIB;

interface Latencies {
  readonly snapshotMs: readonly number[];
  readonly cloneMs: readonly number[];
}

/** How long a snapshot and a clone take, on a volume at rest and under load; and what the same takes of qcow2. */
export const snapshotsFigure: Figure = {
  name: 'snapshots',
  title: 'latency of snapshots and clones, and those of qcow2',
  needs: ['fio', 'qemu'],
  run: async (run) => {
    const { bed, quick, sizeBytes } = run;
    await bed.wantSpace(4 * sizeBytes + (quick ? GIB : DISK_BYTES), 'snapshots');
    const ours = await GalleonDaemon.within(bed, FOLDER, [], (daemon) => measureOurs(run, daemon));
    try {
      return [...ours, ...(await measureQcow2(run))];
    } finally {
      bed.removed(QCOW2_FOLDER);
    }
  },
};

async function measureOurs({ bed, quick, sizeBytes, say }: FigureRun, daemon: GalleonDaemon): Promise<Verdict[]> {
  const client = await newVolume(bed, daemon, VOLUME, sizeBytes);
  await client.fill();
  await bed.settle();
  const count = quick ? QUICK_COUNT : COUNT;
  const idle = await takeTurns(daemon, 'idle', { count, goesOn: () => true });
  let loaded = true;
  const [load, busy] = await Promise.all([
    client.run(workNamed('rand-write-32'), quick ? QUICK_LOAD_SECONDS : LOAD_SECONDS).finally(() => (loaded = false)),
    setTimeout(LEAD_MS).then(() => takeTurns(daemon, 'busy', { count, goesOn: () => loaded })),
  ]);
  const writes = `${formatRate(load.operationsPerSecond)} random writes a second`;
  say(`snapshots: ${idle.snapshotMs.length} at rest, ${busy.snapshotMs.length} during ${writes}`);
  return [
    ...latencyVerdicts('create a snapshot at rest', idle.snapshotMs),
    ...latencyVerdicts('create a snapshot under random writes', busy.snapshotMs),
    ...latencyVerdicts('clone a snapshot at rest', idle.cloneMs),
    ...latencyVerdicts('clone a snapshot under random writes', busy.cloneMs),
  ];
}

/** A snapshot and its clone in turn, so often, or until it shall not go on. */
async function takeTurns(
  { client }: GalleonDaemon,
  prefix: string,
  { count, goesOn }: { count: number; goesOn: () => boolean },
): Promise<Latencies> {
  const snapshotMs: number[] = [];
  const cloneMs: number[] = [];
  for (let n = 0; n < count && goesOn(); n += 1) {
    const name = `${prefix}-${n}`;
    snapshotMs.push(await timed(() => client.snapshots.create({ volumes: [VOLUME], name, labels: {} })));
    const clone = { source: `${VOLUME}@${name}`, name: `clone-${name}`, sizeBytes: 0, labels: {} };
    cloneMs.push(await timed(() => client.snapshots.clone(clone)));
    await setTimeout(PAUSE_MS);
  }
  return { snapshotMs, cloneMs };
}

/** Each call of qemu-img is a process: what one takes that does nothing is told beside them. */
async function measureQcow2({ bed, quick, sizeBytes }: FigureRun): Promise<Verdict[]> {
  bed.emptied(QCOW2_FOLDER);
  const image = await Qcow2Image.create(bed, QCOW2_FOLDER, 'image', sizeBytes);
  await image.served('qcow2', ({ uri }) => new VolumeClient(bed, 'qcow2', { uri, sizeBytes }).fill());
  await bed.settle();
  const nothingMs: number[] = [];
  const overlayMs: number[] = [];
  const snapshotMs: number[] = [];
  for (let n = 0; n < (quick ? QUICK_COUNT : COUNT); n += 1) {
    nothingMs.push(await timed(() => qemuImg(bed, ['--version'])));
    overlayMs.push(await timed(() => image.overlay(overlayPath(bed, n))));
    snapshotMs.push(await timed(() => image.snapshot(`snapshot-${n}`)));
  }
  return [
    ...latencyVerdicts('qcow2: qemu-img snapshot -c, offline', snapshotMs),
    ...latencyVerdicts('qcow2: qemu-img create -b', overlayMs),
    told('qcow2: of that, a process that does nothing', median(nothingMs), showMs),
  ];
}

function overlayPath(bed: Bed, n: number): string {
  return join(bed.folder, QCOW2_FOLDER, `overlay-${n}`);
}

function latencyVerdicts(what: string, ms: readonly number[]): Verdict[] {
  return [told(`${what}, median`, median(ms), showMs), told(`${what}, 95%`, quantile(ms, 0.95), showMs)];
}

async function timed(does: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await does();
  return performance.now() - startMs;
}
