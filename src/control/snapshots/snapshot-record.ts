import { assert } from '../../base/assert.js';
import type { SnapshotRow } from '../../model/snapshot-row.js';

/** Whether an exported snapshot can be served, and why not. */
export type SnapshotServing =
  | { readonly state: 'ready' }
  /** Its key is not to be had. */
  | { readonly state: 'locked'; readonly reason: string }
  /** Its data is refused, or could not be opened. */
  | { readonly state: 'damaged'; readonly reason: string };

/** One snapshot of this node: the row that is durable. What happens to it happens under the mutex of its volume. */
export class SnapshotRecord {
  #row: SnapshotRow;
  #revision: number;
  serving: SnapshotServing = { state: 'ready' };

  constructor(row: SnapshotRow, revision: number) {
    this.#row = row;
    this.#revision = revision;
  }

  get row(): SnapshotRow {
    return this.#row;
  }

  /** Revision of the row in the MetaStore. */
  get revision(): number {
    return this.#revision;
  }

  get id(): string {
    return this.#row.id;
  }

  /** The table calls this when a new row is durable. */
  stored(row: SnapshotRow, revision: number): void {
    assert(row.id === this.#row.id && row.layer === this.#row.layer, 'a snapshot keeps its layer');
    this.#row = row;
    this.#revision = revision;
  }
}
