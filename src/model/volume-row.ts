/** What the MetaStore keeps of a volume. Its data is known to the store by `layer` alone. */
import type { VolumeQos } from './qos-settings.js';

export const VOLUME_TYPES = ['ephemeral', 'persistent', 'shared'] as const;
/** ephemeral: removed at daemon start. persistent: the default. shared: recorded; it will mean several writers. */
export type VolumeType = (typeof VOLUME_TYPES)[number];

export const VOLUME_PHASES = ['live', 'retained', 'deleting'] as const;
/**
 * live: has its name. retained: deleted under reclaim policy Retain, its name is free, its data is kept.
 * deleting: its layer and keys are being removed; start-up finishes that.
 */
export type VolumePhase = (typeof VOLUME_PHASES)[number];

export interface VolumeRow {
  /** UUID, lower case. */
  readonly id: string;
  /** Unique among live volumes. A retained volume carries its id here, see `retained.formerName`. */
  readonly name: string;
  /** Number of its head layer in the node's store. */
  readonly layer: number;
  readonly sizeBytes: number;
  readonly blockBytes: number;
  /** Name of the class it was born with. */
  readonly storageClass: string;
  readonly volumeType: VolumeType;
  readonly replicasDesired: number;
  /** Wall clock, milliseconds since 1970. */
  readonly createdAtMs: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Deletion is refused while true. */
  readonly protected: boolean;
  /** Grows each time the volume gets a new writer: fencing token and nonce prefix. */
  readonly epoch: number;
  /** Every data key its blocks may be sealed with. */
  readonly dataKeyNumbers: readonly number[];
  /** Whether new writes are encrypted: with the last of its data keys. */
  readonly encrypted: boolean;
  /** Whether blocks without encryption may be among its blocks; always so while new writes are not encrypted. */
  readonly plainBlocks: boolean;
  /** null: not exported. Survives a restart. */
  readonly export: { readonly readOnly: boolean } | null;
  /** null unless phase is 'retained'. */
  readonly retained: { readonly sinceMs: number; readonly formerName: string } | null;
  readonly phase: VolumePhase;
  /** What it was cloned from, as VOLUME@SNAPSHOT of that day, for people; '' when it was made empty. */
  readonly origin: string;
  /** Limits and guarantees; null: none. */
  readonly qos: VolumeQos | null;
}
