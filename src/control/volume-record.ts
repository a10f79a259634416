import { assert } from '../base/assert.js';
import { Mutex } from '../base/mutex.js';
import type { VolumeRow } from '../model/volume-row.js';
import type { VolumeHandle } from '../volume/volume-host.js';

/** Whether this node serves a volume, and why not. */
export type Serving =
  /** Not asked for: retained, being deleted, or not opened yet. */
  | { readonly state: 'closed' }
  | { readonly state: 'open'; readonly handle: VolumeHandle }
  /** Its key is not to be had. */
  | { readonly state: 'locked'; readonly reason: string }
  /** Its data is refused, or could not be opened. */
  | { readonly state: 'damaged'; readonly reason: string };

/**
 * One volume of this node: the row that is durable, and what runs.
 *
 *     closed --> open | locked | damaged
 *     open   --> closed | damaged
 *     locked, damaged --> open | locked | damaged | closed
 */
export class VolumeRecord {
  /** Operations on one volume run one after another. */
  readonly mutex = new Mutex();
  #row: VolumeRow;
  #revision: number;
  #serving: Serving = { state: 'closed' };

  constructor(row: VolumeRow, revision: number) {
    this.#row = row;
    this.#revision = revision;
  }

  get row(): VolumeRow {
    return this.#row;
  }

  /** Revision of the row in the MetaStore. */
  get revision(): number {
    return this.#revision;
  }

  get serving(): Serving {
    return this.#serving;
  }

  get id(): string {
    return this.#row.id;
  }

  /** What people call it: its name, or the one it had before it was retained. */
  get displayName(): string {
    return this.#row.retained?.formerName ?? this.#row.name;
  }

  get handle(): VolumeHandle | null {
    return this.#serving.state === 'open' ? this.#serving.handle : null;
  }

  /** The table calls this when a new row is durable. */
  stored(row: VolumeRow, revision: number): void {
    assert(row.id === this.#row.id, 'a record keeps its volume');
    this.#row = row;
    this.#revision = revision;
  }

  move(next: Serving): void {
    if (this.#serving.state === 'open') {
      assert(next.state !== 'open' && next.state !== 'locked', 'an open volume is closed before it is opened anew');
    }
    this.#serving = next;
  }
}
