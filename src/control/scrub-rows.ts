import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { Mutex } from '../base/mutex.js';
import { decodeJson, encodeJson } from '../meta/json-value.js';
import type { MetaStore } from '../meta/meta-store.js';
import { emptyScrubRow, parseScrubRow, type ScrubRow } from '../model/scrub-row.js';
import { SCRUB_PREFIX, scrubKey } from './meta-keys.js';

/**
 * The rows of scrubs, in memory and, a little later, in the MetaStore. A row that is lost costs a run its position and the
 * marks of what it found, which the next run finds again: a failure to store one is a line in the log.
 */
export class ScrubRows {
  readonly #meta: MetaStore;
  readonly #log: Log;
  readonly #rows = new Map<string, ScrubRow>();
  readonly #writing = new Mutex();
  /** Volumes whose row is to be stored and is not on its way yet. */
  readonly #waiting = new Set<string>();

  constructor({ meta, log }: { meta: MetaStore; log: Log }) {
    this.#meta = meta;
    this.#log = log;
  }

  async load(): Promise<void> {
    const { entries, damaged } = await this.#meta.list(SCRUB_PREFIX);
    for (const entry of entries) {
      try {
        const row = parseScrubRow(decodeJson(entry), entry.key);
        this.#rows.set(row.volumeId, row);
      } catch (thrown) {
        this.#log.warn({ key: entry.key, error: messageOf(thrown) }, 'what is known of the scrubs of a volume is lost');
      }
    }
    for (const key of damaged) this.#log.warn({ key }, 'what is known of the scrubs of a volume is lost');
  }

  all(): ScrubRow[] {
    return [...this.#rows.values()];
  }

  get(volumeId: string): ScrubRow {
    return this.#rows.get(volumeId) ?? emptyScrubRow(volumeId);
  }

  /** Takes effect at once; stored when it resolves. */
  put(row: ScrubRow): Promise<void> {
    this.#rows.set(row.volumeId, row);
    return this.#store(row.volumeId);
  }

  /** As `put`, without storing it. */
  note(row: ScrubRow): void {
    this.#rows.set(row.volumeId, row);
  }

  remove(volumeId: string): Promise<void> {
    this.#rows.delete(volumeId);
    return this.#store(volumeId);
  }

  #store(volumeId: string): Promise<void> {
    if (this.#waiting.has(volumeId)) return this.#writing.settled();
    this.#waiting.add(volumeId);
    return this.#writing.run(async () => {
      this.#waiting.delete(volumeId);
      const row = this.#rows.get(volumeId);
      const key = scrubKey(volumeId);
      try {
        await this.#meta.transaction(
          row === undefined ? { delete: [key] } : { set: [{ key, value: encodeJson(row) }] },
        );
      } catch (thrown) {
        this.#log.warn({ volumeId, error: messageOf(thrown) }, 'how far a scrub has come could not be stored');
      }
    });
  }
}
