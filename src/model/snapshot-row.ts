/** What the MetaStore keeps of a snapshot: a frozen layer with a name. Its data is known to the store by `layer` alone. */

export const SNAPSHOT_ORIGINS = ['manual', 'schedule', 'safety'] as const;
/**
 * manual: somebody asked for it, or it came with a stream. schedule: a schedule made it, and retention may delete it.
 * safety: what the daemon keeps before it changes a volume (a revert), or needs for a while (a clone of a head).
 */
export type SnapshotOrigin = (typeof SNAPSHOT_ORIGINS)[number];

export const SNAPSHOT_PHASES = ['live', 'deleting'] as const;
/** live: has its name. deleting: its name is free, its layer is given up; start-up finishes that. */
export type SnapshotPhase = (typeof SNAPSHOT_PHASES)[number];

export interface SnapshotRow {
  /** UUID, lower case. */
  readonly id: string;
  /** Unique among the live snapshots of its volume. */
  readonly name: string;
  readonly volumeId: string;
  /** Number of its frozen layer in the node's store. */
  readonly layer: number;
  /** Size of the volume when it was taken. */
  readonly sizeBytes: number;
  readonly blockBytes: number;
  /** Wall clock, milliseconds since 1970. */
  readonly createdAtMs: number;
  /** Epoch of the volume when it was taken: what is made from it is opened above. */
  readonly epoch: number;
  /** Every data key its blocks may be sealed with. */
  readonly dataKeyNumbers: readonly number[];
  /** Whether the volume's writes were encrypted when it was taken, or all of its blocks have been sealed since. */
  readonly encrypted: boolean;
  /** Whether blocks without encryption may be among its blocks. */
  readonly plainBlocks: boolean;
  /** Kept from retention and from deletion while true. */
  readonly held: boolean;
  readonly origin: SnapshotOrigin;
  readonly labels: Readonly<Record<string, string>>;
  /** Offered to clients, read-only always. Survives a restart. */
  readonly exported: boolean;
  /** What streams know it by: its own id, or that of the snapshot that was sent here. */
  readonly streamId: string;
  readonly phase: SnapshotPhase;
}
