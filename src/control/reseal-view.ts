/**
 * queued: its turn comes. running. waiting: it goes on when its volume can be read. shared: others show its old blocks, and
 * keep them and their keys as they are. damaged: some blocks cannot be opened. failed: it is tried again by itself.
 */
export type ResealState = 'queued' | 'running' | 'waiting' | 'shared' | 'damaged' | 'failed';

/** How far the old blocks of a volume are sealed anew. */
export interface ResealView {
  readonly state: ResealState;
  /** Why it does not go on; '' when nothing is in its way. */
  readonly reason: string;
  /** Of the run that goes on, or of the last one: bytes of blocks that were looked at, of about so many. */
  readonly lookedBytes: number;
  readonly totalBytes: number;
  readonly sealedBlocks: number;
  /** Blocks that cannot be opened. */
  readonly badBlocks: number;
  /** Wall clock; 0: not tried by itself at a time that is known. */
  readonly nextTryMs: number;
}
