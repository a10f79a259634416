import { assert } from '../base/assert.js';
import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { decodeJson, encodeJson } from '../meta/json-value.js';
import type { MetaCompare, MetaSet, MetaStore } from '../meta/meta-store.js';
import { parseVolumeRow } from '../model/row-shape.js';
import type { VolumeRow } from '../model/volume-row.js';
import { ControlError } from './control-error.js';
import { ROWS_PER_TRANSACTION, VOLUMES_MAX } from './limits.js';
import { MAKING_PREFIX, makingKey, NAME_PREFIX, nameKey, VOLUME_PREFIX, volumeKey } from './meta-keys.js';
import { VolumeRecord } from './volume-record.js';

export interface RowChange {
  readonly record: VolumeRecord;
  readonly next: VolumeRow;
}

/** What a transaction changes beside the rows of volumes. */
export interface Beside {
  readonly compare?: readonly MetaCompare[];
  readonly set?: readonly MetaSet[];
  readonly delete?: readonly string[];
}

/** A row that is there and cannot be read. What it names must not be taken for an orphan. */
export interface LostRow {
  readonly key: string;
  readonly reason: string;
}

/**
 * The rows of all volumes, in memory as they are in the MetaStore. Every change is a compare-and-set against the
 * revision that was read, and a live volume's name is a key of its own, so that two can never have one name.
 */
export class VolumeTable {
  readonly #meta: MetaStore;
  readonly #log: Log;
  readonly #records = new Map<string, VolumeRecord>();
  /** Live names to ids, and names that are being taken by a creation ('' as id). */
  readonly #names = new Map<string, string>();
  #lost: readonly LostRow[] = [];

  constructor({ meta, log }: { meta: MetaStore; log: Log }) {
    this.#meta = meta;
    this.#log = log;
  }

  get lost(): readonly LostRow[] {
    return this.#lost;
  }

  /** Reads all rows and mends the names beside them. */
  async load(): Promise<void> {
    const rows = await this.#meta.list(VOLUME_PREFIX);
    const lost: LostRow[] = rows.damaged.map((key) => ({ key, reason: 'its checksum does not match' }));
    for (const entry of rows.entries) {
      try {
        const row = parseVolumeRow(decodeJson(entry), entry.key);
        this.#records.set(row.id, new VolumeRecord(row, entry.revision));
        if (row.phase === 'live') this.#names.set(row.name, row.id);
      } catch (thrown) {
        lost.push({ key: entry.key, reason: messageOf(thrown) });
      }
    }
    this.#lost = lost;
    await this.#mendNames();
  }

  all(): VolumeRecord[] {
    return [...this.#records.values()];
  }

  get(id: string): VolumeRecord | undefined {
    return this.#records.get(id);
  }

  /** The live volume of that name. */
  named(name: string): VolumeRecord | undefined {
    const id = this.#names.get(name);
    return id === undefined || id === '' ? undefined : this.#records.get(id);
  }

  /** Holds a name for a volume in the making. Throws EXISTS when it is taken. Returns how to let go of it. */
  reserve(name: string): () => void {
    if (this.#names.has(name)) throw this.#nameTaken(name);
    if (this.#records.size >= VOLUMES_MAX) {
      throw new ControlError(`this node has ${VOLUMES_MAX} volumes, more than that it does not keep`, { code: 'FULL' });
    }
    this.#names.set(name, '');
    return () => {
      if (this.#names.get(name) === '') this.#names.delete(name);
    };
  }

  /**
   * Notes that a volume is being made, before anything of it is. A start takes a layer without a row for the remains of
   * a creation only as far as such notes explain it: otherwise lost or set back rows would cost their data.
   */
  async announce(id: string): Promise<void> {
    await this.#meta.transaction({ set: [{ key: makingKey(id), value: encodeJson({}) }] });
  }

  /** Ids of the volumes that were being made when the last run ended. */
  async announced(): Promise<string[]> {
    const { entries, damaged } = await this.#meta.list(MAKING_PREFIX);
    return [...entries.map((entry) => entry.key), ...damaged].map((key) => key.slice(MAKING_PREFIX.length));
  }

  /** Nothing is left of these creations. */
  async withdraw(ids: readonly string[]): Promise<void> {
    for (let at = 0; at < ids.length; at += ROWS_PER_TRANSACTION) {
      await this.#meta.transaction({ delete: ids.slice(at, at + ROWS_PER_TRANSACTION).map(makingKey) });
    }
  }

  /** Makes the row of a live volume durable; its name was reserved. From then on the volume exists, and what is beside it. */
  async insert(row: VolumeRow, beside: Beside = {}): Promise<VolumeRecord> {
    assert(row.phase === 'live' && this.#names.get(row.name) === '', 'a new row is live and its name reserved');
    const outcome = await this.#meta.transaction({
      compare: [
        { key: volumeKey(row.id), revision: 0 },
        { key: nameKey(row.name), revision: 0 },
        ...(beside.compare ?? []),
      ],
      set: [
        { key: volumeKey(row.id), value: encodeJson(row) },
        { key: nameKey(row.name), value: encodeJson({ id: row.id }) },
        ...(beside.set ?? []),
      ],
      delete: [makingKey(row.id), ...(beside.delete ?? [])],
    });
    if (!outcome.committed) throw this.#nameTaken(row.name);
    const record = new VolumeRecord(row, outcome.revision);
    this.#records.set(row.id, record);
    this.#names.set(row.name, row.id);
    return record;
  }

  /** Makes a new version of a row durable, names included. Throws EXISTS when its new name is taken. */
  async change(record: VolumeRecord, next: VolumeRow): Promise<void> {
    const newName = liveName(next);
    const takes = newName !== null && newName !== liveName(record.row) ? newName : null;
    const release = takes === null ? null : this.reserve(takes);
    try {
      await this.#commit([{ record, next }]);
    } finally {
      release?.();
    }
  }

  /** Rows and what is beside them in one transaction; none of them takes a new name. */
  changeTogether(changes: readonly RowChange[], beside: Beside): Promise<void> {
    return this.#commit(changes, beside);
  }

  /**
   * Many rows in few transactions, all under way at once so that the store can commit them together; none of them
   * takes a new name. When one fails, others may have changed.
   */
  async changeMany(changes: readonly RowChange[]): Promise<void> {
    const batches: Promise<void>[] = [];
    for (let at = 0; at < changes.length; at += ROWS_PER_TRANSACTION) {
      batches.push(this.#commit(changes.slice(at, at + ROWS_PER_TRANSACTION)));
    }
    await Promise.all(batches);
  }

  /** Removes the row of a volume whose data and keys are gone; `beside`: keys that go with it. */
  async remove(record: VolumeRecord, beside: readonly string[] = []): Promise<void> {
    assert(record.row.phase === 'deleting', 'only what is deleted loses its row');
    await this.#meta.transaction({ delete: [volumeKey(record.id), ...beside] });
    this.#records.delete(record.id);
  }

  async #commit(changes: readonly RowChange[], beside: Beside = {}): Promise<void> {
    const compare: MetaCompare[] = [...(beside.compare ?? [])];
    const set: MetaSet[] = [...(beside.set ?? [])];
    const deleted: string[] = [...(beside.delete ?? [])];
    for (const { record, next } of changes) {
      const [before, after] = [liveName(record.row), liveName(next)];
      compare.push({ key: volumeKey(record.id), revision: record.revision });
      set.push({ key: volumeKey(record.id), value: encodeJson(next) });
      if (before === after) continue;
      if (before !== null) deleted.push(nameKey(before));
      if (after !== null) {
        compare.push({ key: nameKey(after), revision: 0 });
        set.push({ key: nameKey(after), value: encodeJson({ id: record.id }) });
      }
    }
    const outcome = await this.#meta.transaction({ compare, set, delete: deleted });
    if (!outcome.committed) {
      throw new ControlError(
        `the rows of volumes were changed by someone else (${outcome.conflicts.join(', ')}); try again`,
        {
          code: 'FAILED',
          step: 'change volume',
        },
      );
    }
    for (const { record, next } of changes) {
      const before = liveName(record.row);
      if (before !== null) this.#names.delete(before);
      const after = liveName(next);
      if (after !== null) this.#names.set(after, record.id);
      record.stored(next, outcome.revision);
    }
  }

  /**
   * Names follow from rows, so they can always be made right; but the name of a row that cannot be read stays taken.
   */
  async #mendNames(): Promise<void> {
    const listing = await this.#meta.list(NAME_PREFIX);
    const lostIds = new Set(this.#lost.map(({ key }) => key.slice(VOLUME_PREFIX.length)));
    const present = new Map<string, string>();
    for (const entry of listing.entries) {
      const name = entry.key.slice(NAME_PREFIX.length);
      const id = idOf(decodeJson(entry));
      if (lostIds.has(id)) this.#names.set(name, '');
      else present.set(name, id);
    }
    const dangling = [...present.keys(), ...listing.damaged.map((key) => key.slice(NAME_PREFIX.length))].filter(
      (name) => this.#names.get(name) !== present.get(name) || present.get(name) === undefined,
    );
    const missing = [...this.#names].filter(([name, id]) => id !== '' && present.get(name) !== id);
    if (dangling.length + missing.length === 0) return;
    this.#log.warn({ dangling, missing: missing.map(([name]) => name) }, 'names of volumes were mended');
    const replaced = new Set(missing.map(([name]) => name));
    const removed = dangling.filter((name) => !replaced.has(name));
    for (let at = 0; at < removed.length; at += ROWS_PER_TRANSACTION) {
      await this.#meta.transaction({ delete: removed.slice(at, at + ROWS_PER_TRANSACTION).map(nameKey) });
    }
    for (let at = 0; at < missing.length; at += ROWS_PER_TRANSACTION) {
      const batch = missing.slice(at, at + ROWS_PER_TRANSACTION);
      await this.#meta.transaction({
        set: batch.map(([name, id]) => ({ key: nameKey(name), value: encodeJson({ id }) })),
      });
    }
  }

  #nameTaken(name: string): ControlError {
    const id = this.#names.get(name);
    const owner = id === undefined || id === '' ? undefined : this.#records.get(id);
    const text =
      owner === undefined
        ? `a volume named "${name}" is being created right now, or its record is damaged (see \`gfs status\`)`
        : `a volume named "${name}" exists already (id ${owner.id}); choose another name`;
    return new ControlError(text, { code: 'EXISTS', what: 'volume', name });
  }
}

function liveName(row: VolumeRow): string | null {
  return row.phase === 'live' ? row.name : null;
}

function idOf(value: unknown): string {
  const { id } = (value ?? {}) as { id?: unknown };
  return typeof id === 'string' ? id : '';
}
