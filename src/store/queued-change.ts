import { Operation, type BlockRequest } from '../device/block-device.js';
import type { Layer } from './map/layer.js';
import type { SealingKey } from './sealing-keys.js';

/** What a write must know of the head that it goes through; rebound when the store reopens. */
export interface WriteSource {
  readonly layer: Layer;
  readonly epoch: number;
  readonly sealing: SealingKey;
}

/** A WRITE, TRIM or WRITE_ZEROES on its way into the journal. */
export interface QueuedChange {
  readonly kind: 'request';
  readonly request: BlockRequest;
  readonly source: WriteSource;
  /** Made from what this engine held, or of use only with other parts that it got: another engine must not take it. */
  readonly bound: boolean;
  progressBlocks: number;
}

/** Somebody who waits until what was accepted before has been published. */
export interface QueuedFence {
  readonly kind: 'fence';
  /** Whose changes; null: everybody's. */
  readonly source: WriteSource | null;
  readonly done: () => void;
}

/** A WRITE: data, which a full disk refuses. */
export interface QueuedData extends QueuedChange {
  readonly request: BlockRequest & { readonly operation: typeof Operation.WRITE };
}

export function isData(item: QueuedChange | { readonly kind: 'fence' | 'verb' }): item is QueuedData {
  return item.kind === 'request' && item.request.operation === Operation.WRITE;
}
