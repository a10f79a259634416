import type { Retention } from './retention.js';

/** How the last run of a schedule ended. */
export interface ScheduleResult {
  /** Wall clock, milliseconds since 1970. */
  readonly atMs: number;
  readonly ok: boolean;
  /** The snapshot that it made, or why it made none. */
  readonly text: string;
  /** Snapshots that retention gave up after it. */
  readonly deleted: number;
}

/** What the MetaStore keeps of a schedule; a volume has at most one. */
export interface ScheduleRow {
  readonly volumeId: string;
  /** Five fields, or a nickname such as `@daily`. */
  readonly cron: string;
  /** IANA name; the fields of `cron` and the days of `keep` are those of this zone. */
  readonly timeZone: string;
  readonly keep: Retention;
  /** Runs that were due before this moment are none of its. Wall clock, milliseconds since 1970. */
  readonly sinceMs: number;
  readonly last: ScheduleResult | null;
}
