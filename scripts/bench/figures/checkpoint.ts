import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { BARS } from '../bars.js';
import { BenchError } from '../bench-error.js';
import { atMost, type Figure, showMs, told } from '../figure.js';
import { runFio } from '../fio.js';
import { GalleonDaemon, type LogLine } from '../galleon-daemon.js';
import { quantile } from '../statistics.js';
import type { FioWork } from '../works.js';

const FOLDER = 'checkpoint';
const VOLUME = 'steady';
/** More leaves than may be dirty before a checkpoint starts by itself. */
const SIZE_BYTES = 32 * 2 ** 30;
const SECONDS = 40;
const QUICK_SECONDS = 2;
/** Far from saturation: there latency would be the length of the queue and nothing else. */
const WRITES_PER_SECOND = 8000;
const SAMPLES_LEAST = 2000;
const QUICK_SAMPLES_LEAST = 10;
const DISK_BYTES = 6 * 2 ** 30;
const LOG_LEVEL = ['--log-level', 'debug'];

const STEADY: FioWork = {
  ...{ kind: 'fio', name: 'steady', title: 'random writes at a steady rate', unit: 'IOPS', pattern: 'randwrite' },
  ...{ requestBytes: 4096, depth: 16, jobs: 1 },
};

/** Wall-clock milliseconds. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Latency of writes while a checkpoint runs, against those while none does. */
export const checkpointFigure: Figure = {
  name: 'checkpoint',
  title: 'write latency while a checkpoint runs',
  needs: ['fio'],
  run: async ({ bed, quick, say }) => {
    await bed.wantSpace(quick ? 2 ** 30 : DISK_BYTES, 'checkpoint');
    // Short spans in a row make as many samples inside as outside.
    const flags = ['--checkpoint-interval', quick ? '200ms' : '4s', ...LOG_LEVEL];
    const daemon = await GalleonDaemon.start(bed, join(bed.emptied(FOLDER), 'storage'), flags);
    await daemon.createVolume(VOLUME, SIZE_BYTES, 'encrypted-storage');
    await daemon.exportVolume(VOLUME);
    const prefix = join(bed.scratch, 'steady');
    await runFio(bed.children, bed.scratch, STEADY, {
      ...{ uri: daemon.uri(VOLUME), sizeBytes: SIZE_BYTES, seed: 1, seconds: quick ? QUICK_SECONDS : SECONDS },
      more: [`--rate_iops=${WRITES_PER_SECOND}`, `--write_lat_log=${prefix}`, '--log_unix_epoch=1'],
    });
    const log = await readFile(`${prefix}_clat.1.log`, 'utf8');
    for (const kind of ['clat', 'lat', 'slat']) await rm(`${prefix}_${kind}.1.log`, { force: true });
    await daemon.kill9();
    bed.removed(FOLDER);

    const spans = checkpointSpans(daemon.log);
    const { inside, outside } = splitLatencies(log, spans);
    say(`checkpoint: ${spans.length} checkpoints, ${inside.length} writes during them, ${outside.length} outside`);
    const least = quick ? QUICK_SAMPLES_LEAST : SAMPLES_LEAST;
    if (Math.min(inside.length, outside.length) < least) {
      throw new BenchError(`checkpoint: ${inside.length} and ${outside.length} writes are too few to tell of`);
    }
    const quiet = quantile(outside, 0.999);
    const bar = Math.max(BARS.checkpointMs, BARS.checkpointFactor * quiet);
    return [
      atMost('99.9% write latency during checkpoints', quantile(inside, 0.999), bar, showMs),
      told('99.9% write latency outside of them', quiet, showMs),
    ];
  },
};

/** From the daemon's debug log. */
export function checkpointSpans(log: readonly LogLine[]): Span[] {
  return log
    .filter(({ msg }) => msg === 'store: checkpoint written')
    .map((line) => {
      const toMs = Date.parse(String(line['time']));
      return { fromMs: toMs - Number(line['ms']), toMs };
    });
}

/** Lines of fio's latency log (completed at, ms; latency, ns; ...), in milliseconds of latency. */
export function splitLatencies(log: string, spans: readonly Span[]): { inside: number[]; outside: number[] } {
  const inside: number[] = [];
  const outside: number[] = [];
  for (const line of log.split('\n')) {
    const [at, ns] = line.split(',').map(Number);
    if (at === undefined || ns === undefined || !Number.isFinite(at + ns)) continue;
    const ms = ns / 1e6;
    const overlaps = spans.some(({ fromMs, toMs }) => at >= fromMs && at - ms <= toMs);
    (overlaps ? inside : outside).push(ms);
  }
  return { inside, outside };
}
