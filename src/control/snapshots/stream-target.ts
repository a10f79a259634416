import type { VolumeRecord } from '../volume-record.js';
import type { SnapshotRecord } from './snapshot-record.js';
import type { StreamProver } from './stream-prover.js';
import type { StreamWriter } from './stream-writer.js';

/** What a stream is written into: seen by nobody until it is committed. */
export interface StreamTarget {
  readonly writer: StreamWriter;
  readonly prover: StreamProver;
  /** Everything is durable: the volume and its snapshot become known. A failure leaves it to be undone. */
  commit(): Promise<Received>;
  /** Takes it away; what resists is tried again later. */
  undo(): Promise<void>;
}

export interface Received {
  readonly record: VolumeRecord;
  readonly snapshot: SnapshotRecord;
}
