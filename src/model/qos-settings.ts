/**
 * Quality of service of a volume: what it may do at most, and what it gets at least when the node is saturated.
 * Operations and bytes a second, all of them; 0: none.
 */
import { formatDuration } from '../base/duration.js';
import { formatSize } from '../base/size.js';
import {
  QOS_BURST_MS_MAX,
  QOS_BURST_MS_MIN,
  QOS_BURST_MULTIPLIER_MAX,
  QOS_IOPS_MAX,
  QOS_IOPS_MIN,
  QOS_THROUGHPUT_MAX,
  QOS_THROUGHPUT_MIN,
} from './limits.js';
import { ModelError } from './model-error.js';

export interface QosSettings {
  /** Limits of reads and changes together. */
  readonly iops: number;
  readonly throughput: number;
  /** Limits of one kind alone, beside those above. */
  readonly readIops: number;
  readonly writeIops: number;
  readonly readThroughput: number;
  readonly writeThroughput: number;
  /** A rested volume may do so many times its limits; 1: it may not. */
  readonly burstMultiplier: number;
  /** ... for so long, milliseconds; 0 without burst. */
  readonly burstDurationMs: number;
  readonly guaranteedIops: number;
  readonly guaranteedThroughput: number;
}

/** What a volume has, and the policy that it came from; '' when it was set by hand. */
export interface VolumeQos {
  readonly policy: string;
  readonly settings: QosSettings;
}

/** A named set of settings. */
export interface QosPolicy {
  readonly name: string;
  readonly settings: QosSettings;
  /** Milliseconds since 1970. */
  readonly createdAtMs: number;
}

/** What is to become of settings: what is not named stays, 0 takes away. */
export type QosChange = { readonly [Field in keyof QosSettings]?: number | undefined };

export const NO_QOS: QosSettings = {
  iops: 0,
  throughput: 0,
  readIops: 0,
  writeIops: 0,
  readThroughput: 0,
  writeThroughput: 0,
  burstMultiplier: 1,
  burstDurationMs: 0,
  guaranteedIops: 0,
  guaranteedThroughput: 0,
};

/** Names of the fields in documents and messages; the options of `gfs` are the same with dashes. */
export const QOS_FIELDS = {
  iops: 'iops',
  throughput: 'throughput',
  readIops: 'read_iops',
  writeIops: 'write_iops',
  readThroughput: 'read_throughput',
  writeThroughput: 'write_throughput',
  burstMultiplier: 'burst_multiplier',
  burstDurationMs: 'burst_duration',
  guaranteedIops: 'guaranteed_iops',
  guaranteedThroughput: 'guaranteed_throughput',
} as const satisfies Record<keyof QosSettings, string>;

type Field = keyof QosSettings;

const RATES = ['iops', 'readIops', 'writeIops', 'guaranteedIops'] as const;
const THROUGHPUTS = ['throughput', 'readThroughput', 'writeThroughput', 'guaranteedThroughput'] as const;
const LIMITS = ['iops', 'throughput', 'readIops', 'writeIops', 'readThroughput', 'writeThroughput'] as const;

/** Settings with a change; unchecked. A burst that is taken away takes its duration along. */
export function changedQos(settings: QosSettings, change: QosChange): QosSettings {
  const given = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
  const next: QosSettings = { ...settings, ...given };
  return next.burstMultiplier === 0 ? { ...next, burstMultiplier: 1, burstDurationMs: 0 } : next;
}

/** Whether nothing is limited and nothing guaranteed. */
export function isNoQos(settings: QosSettings): boolean {
  return [...LIMITS, 'guaranteedIops' as const, 'guaranteedThroughput' as const].every(
    (field) => settings[field] === 0,
  );
}

/** Everything that is wrong with settings: the field, and what to do. Empty: nothing is. */
export function qosProblems(settings: QosSettings): { readonly field: Field; readonly text: string }[] {
  const problems: { field: Field; text: string }[] = [];
  const say = (field: Field, text: string): void => {
    problems.push({ field, text });
  };
  for (const field of RATES) {
    const value = settings[field];
    if (value !== 0 && !(Number.isInteger(value) && value >= QOS_IOPS_MIN && value <= QOS_IOPS_MAX)) {
      say(field, `${value} is not allowed; give a whole number from ${QOS_IOPS_MIN} to ${QOS_IOPS_MAX}`);
    }
  }
  for (const field of THROUGHPUTS) {
    const value = settings[field];
    if (value !== 0 && !(Number.isInteger(value) && value >= QOS_THROUGHPUT_MIN && value <= QOS_THROUGHPUT_MAX)) {
      const range = `${formatSize(QOS_THROUGHPUT_MIN)} to ${formatSize(QOS_THROUGHPUT_MAX)}`;
      say(field, `${value} bytes a second are not allowed; give ${range}`);
    }
  }
  problems.push(...burstProblems(settings));
  for (const [part, whole] of [
    ['readIops', 'iops'],
    ['writeIops', 'iops'],
    ['guaranteedIops', 'iops'],
    ['readThroughput', 'throughput'],
    ['writeThroughput', 'throughput'],
    ['guaranteedThroughput', 'throughput'],
  ] as const) {
    if (settings[part] === 0 || settings[whole] <= 0 || settings[part] <= settings[whole]) continue;
    say(
      part,
      `${settings[part]} is above ${QOS_FIELDS[whole]} ${settings[whole]}, which holds it down; lower it or raise ${QOS_FIELDS[whole]}`,
    );
  }
  return problems;
}

/** Returns settings, or throws ModelError QOS that lists what is wrong with them. */
export function checkQos(settings: QosSettings): QosSettings {
  const problems = qosProblems(settings);
  if (problems.length === 0) return settings;
  const text = problems.map((problem) => `${QOS_FIELDS[problem.field]}: ${problem.text}`).join('\n');
  throw new ModelError(text, { code: 'QOS', fields: problems.map(({ field }) => QOS_FIELDS[field]) });
}

function burstProblems(settings: QosSettings): { field: Field; text: string }[] {
  const { burstMultiplier, burstDurationMs } = settings;
  const limited = LIMITS.some((field) => settings[field] > 0);
  const field: Field = 'burstMultiplier';
  if (!(burstMultiplier >= 1 && burstMultiplier <= QOS_BURST_MULTIPLIER_MAX)) {
    return [{ field, text: `${burstMultiplier} is not allowed; give 1 (no burst) to ${QOS_BURST_MULTIPLIER_MAX}` }];
  }
  if (burstMultiplier === 1) {
    if (burstDurationMs === 0) return [];
    return [{ field: 'burstDurationMs', text: 'there is no burst; give burst_multiplier too, above 1' }];
  }
  if (!limited) return [{ field, text: 'there is no limit to multiply; give iops or throughput too' }];
  const fits = burstDurationMs >= QOS_BURST_MS_MIN && burstDurationMs <= QOS_BURST_MS_MAX;
  if (fits && Number.isInteger(burstDurationMs)) return [];
  const range = `${formatDuration(QOS_BURST_MS_MIN)} to ${formatDuration(QOS_BURST_MS_MAX)}`;
  const found = burstDurationMs === 0 ? 'a burst needs one' : `${burstDurationMs} ms is not allowed`;
  return [{ field: 'burstDurationMs', text: `${found}; give ${range}` }];
}
