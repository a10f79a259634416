import type { Bed } from './bed.js';

/** A server that runs now, and the export that is measured. */
export interface RunningPeer {
  readonly uri: string;
  readonly pid: number;
  /** Processor time so far, children included; seconds. */
  cpuSeconds(): number;
  /** Ends it in order. */
  stop(): Promise<void>;
}

/** One who is measured. */
export interface Peer {
  /** What `--peers` takes. */
  readonly name: string;
  readonly title: string;
  /** Keeps bytes: has files, wants a fill, and is held to what it wrote. */
  readonly keepsData: boolean;
  /** Makes an empty working set; an older one is gone. */
  create(bed: Bed, sizeBytes: number): Promise<void>;
  /** Starts the server on the working set and waits until it serves. */
  start(bed: Bed, sizeBytes: number): Promise<RunningPeer>;
}
