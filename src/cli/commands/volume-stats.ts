import { parseDuration } from '../../base/duration.js';
import { formatSize } from '../../base/size.js';
import type { StatsSample, VolumeStats } from '../../ipc/generated/control.js';
import { usageError } from '../cli-error.js';
import { command } from '../command.js';
import { parseCount } from '../option-values.js';
import type { Output } from '../output/output.js';
import { formatLimits, toQosView } from '../output/qos-text.js';
import type { Column } from '../output/table.js';
import { toIso } from '../output/volume-view.js';

const WATCH_SECONDS = '2';
const WATCH_MS_MIN = 100;
const WATCH_MS_MAX = 3_600_000;

export const volumeStats = command({
  verb: ['volume', 'stats'],
  summary: 'show operations, throughput, latency and clients',
  details:
    'Without --watch: averages since the daemon started. With it: one table each interval, until Ctrl-C or --count.\n' +
    'With --watch, -o json prints one object a line.\n' +
    'Example:\n  gfs volume stats data --watch 5',
  words: { volume: { summary: 'one volume (default: all)', completes: 'volume' } },
  options: {
    watch: {
      kind: 'optional-text',
      alias: 'w',
      summary: `again and again (default: ${WATCH_SECONDS})`,
      value: 'SECONDS',
    },
    count: { kind: 'text', summary: 'end after so many samples', value: 'N' },
  },
  async run(words, options, session) {
    const { output } = session;
    const { volume, watch } = takeApart(words.volume, options.watch);
    if (options.count !== undefined && watch === undefined) {
      throw usageError('--count goes with --watch: gfs volume stats --watch 2 --count 10');
    }
    const request = {
      volume: volume ?? '',
      intervalMs: watch === undefined ? 0 : watchMs(watch),
      samples: options.count === undefined ? 0 : parseCount('--count', options.count, 1),
    };
    for await (const sample of (await session.client()).stats(request)) {
      const text = (): string => statsTable(sample, output);
      if (watch === undefined) output.answer(toSampleView(sample), text);
      else output.sample(toSampleView(sample), () => `${toIso(sample.atMs)}\n${text()}\n`);
    }
  },
});

/** `--watch data`: an interval begins with a digit, so a word that does not is the volume. */
function takeApart(
  volume: string | undefined,
  watch: string | undefined,
): { volume: string | undefined; watch: string | undefined } {
  if (volume === undefined && watch !== undefined && /^[a-z]/.test(watch)) return { volume: watch, watch: '' };
  return { volume, watch };
}

function watchMs(watch: string): number {
  const text = watch === '' ? WATCH_SECONDS : watch;
  const intervalMs = parseDuration(/^\d+(\.\d+)?$/.test(text) ? `${text}s` : text);
  if (intervalMs >= WATCH_MS_MIN && intervalMs <= WATCH_MS_MAX) return intervalMs;
  throw usageError(`--watch takes 0.1 to 3600 seconds, not "${text}"`);
}

function toSampleView(sample: StatsSample): object {
  return {
    at: toIso(sample.atMs),
    seconds: sample.seconds,
    volumes: sample.volumes.map((of) => ({ ...of, qos: toQosView(of.qos) })),
  };
}

function statsTable(sample: StatsSample, output: Output): string {
  if (sample.volumes.length === 0) return 'no volumes';
  const columns: Column<VolumeStats>[] = [
    { title: 'NAME', value: (of) => of.name, widthMin: 10 },
    { title: 'USED', value: (of) => formatSize(of.allocatedBytes), align: 'right', dropOrder: 4 },
    { title: 'R/S', value: (of) => formatRate(of.readIops), align: 'right' },
    { title: 'W/S', value: (of) => formatRate(of.writeIops), align: 'right' },
    { title: 'READ/S', value: (of) => formatSize(Math.round(of.readBytesPerSecond)), align: 'right' },
    { title: 'WRITE/S', value: (of) => formatSize(Math.round(of.writeBytesPerSecond)), align: 'right' },
    { title: 'R P50', value: (of) => formatLatency(of.readLatencyMsP50), align: 'right', dropOrder: 3 },
    { title: 'R P99', value: (of) => formatLatency(of.readLatencyMsP99), align: 'right', dropOrder: 2 },
    { title: 'W P50', value: (of) => formatLatency(of.writeLatencyMsP50), align: 'right', dropOrder: 3 },
    { title: 'W P99', value: (of) => formatLatency(of.writeLatencyMsP99), align: 'right', dropOrder: 2 },
    { title: 'LIMITS', value: (of) => formatLimits(of.qos?.settings) || '-', widthMin: 8, dropOrder: 6 },
    { title: 'THROTTLED', value: (of) => formatThrottled(of, sample.seconds), align: 'right', dropOrder: 5 },
    { title: 'CLIENTS', value: (of) => String(of.clients), align: 'right', dropOrder: 1 },
    { title: 'IN FLIGHT', value: (of) => String(of.inFlight), align: 'right', dropOrder: 5 },
    { title: 'ERRORS', value: (of) => String(of.errors), align: 'right', dropOrder: 1 },
  ];
  return output.table(columns, sample.volumes);
}

/** Share of the time in which requests waited for the limits. */
function formatThrottled({ qos, throttledSeconds }: VolumeStats, seconds: number): string {
  if (qos === undefined && throttledSeconds === 0) return '-';
  return `${String(Math.round((100 * throttledSeconds) / Math.max(seconds, throttledSeconds, 0.001)))}%`;
}

function formatRate(perSecond: number): string {
  if (perSecond === 0) return '0';
  if (perSecond >= 100_000) return `${String(Math.round(perSecond / 1000))}k`;
  return perSecond < 10 ? perSecond.toFixed(1) : String(Math.round(perSecond));
}

function formatLatency(latencyMs: number): string {
  if (latencyMs === 0) return '-';
  if (latencyMs < 1) return `${String(Math.round(latencyMs * 1000))}us`;
  return latencyMs < 1000 ? `${latencyMs.toFixed(1)}ms` : `${(latencyMs / 1000).toFixed(1)}s`;
}
