/** The options of quality of service, wherever they stand: `volume create`, `volume import`, `volume qos set`. */
import { parseDuration } from '../base/duration.js';
import { parseThroughput } from '../base/size.js';
import type { QosChange } from '../ipc/generated/qos.js';
import { usageError } from './cli-error.js';
import type { OptionSpec, OptionValues } from './option-spec.js';
import { parseCount } from './option-values.js';

const rate = (summary: string): OptionSpec & { kind: 'text' } => ({ kind: 'text', summary, value: 'N' });
const throughput = (summary: string): OptionSpec & { kind: 'text' } => ({ kind: 'text', summary, value: 'SIZE' });

export const QOS_OPTIONS = {
  iops: rate('operations a second at most'),
  throughput: throughput('bytes a second at most, such as 100M'),
  'read-iops': rate('the same for reads alone'),
  'write-iops': rate('the same for writes alone'),
  'read-throughput': throughput('the same for reads alone'),
  'write-throughput': throughput('the same for writes alone'),
  'burst-multiplier': { kind: 'text', summary: 'a rested volume may do so many times its limits', value: 'N' },
  'burst-duration': { kind: 'text', summary: '... for so long, such as 300s', value: 'TIME' },
  'guaranteed-iops': rate('what it gets at least while the node is saturated'),
  'guaranteed-throughput': throughput('the same in bytes a second'),
} as const satisfies Record<string, OptionSpec>;

/** Takes away what there was. */
const NONE = 'none';

/** What the options change; an option that is not given changes nothing. Throws USAGE, UnitError. */
export function qosChangeOf(options: OptionValues<typeof QOS_OPTIONS>): QosChange {
  const read = (
    name: keyof typeof QOS_OPTIONS,
    parse: (text: string, option: string) => number,
  ): number | undefined => {
    const text = options[name];
    if (text === undefined) return undefined;
    return text === NONE ? 0 : parse(text, `--${name}`);
  };
  return {
    iops: read('iops', count),
    throughput: read('throughput', bytesPerSecond),
    readIops: read('read-iops', count),
    writeIops: read('write-iops', count),
    readThroughput: read('read-throughput', bytesPerSecond),
    writeThroughput: read('write-throughput', bytesPerSecond),
    burstMultiplier: read('burst-multiplier', factor),
    burstDurationMs: read('burst-duration', parseDuration),
    guaranteedIops: read('guaranteed-iops', count),
    guaranteedThroughput: read('guaranteed-throughput', bytesPerSecond),
  };
}

export function changesQos(change: QosChange): boolean {
  return Object.values(change).some((value) => value !== undefined);
}

function count(text: string, option: string): number {
  return parseCount(option, text, 1);
}

function factor(text: string, option: string): number {
  const value = /^\d{1,6}(\.\d{1,6})?$/.test(text) ? Number(text) : NaN;
  if (value >= 1) return value;
  throw usageError(`${option} takes a number from 1, such as 2 or 1.5, not "${text}"`);
}

function bytesPerSecond(text: string, option: string): number {
  const bytes = parseThroughput(text);
  if (bytes > 0) return bytes;
  throw usageError(`${option} takes more than nothing; "${NONE}" takes the limit away`);
}
