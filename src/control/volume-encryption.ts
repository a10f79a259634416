import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { VolumeRow } from '../model/volume-row.js';
import type { DataKey, LayerId, VolumeHost } from '../volume/volume-host.js';
import type { Caller } from './caller.js';
import { refused, stepOf } from './control-error.js';
import type { DataKeys } from './data-keys.js';
import type { EventLog } from './event-log.js';
import { findVolume, refuseOther } from './find-volume.js';
import { isKeyNeeded } from './key-needs.js';
import { sharersOf } from './layer-sharing.js';
import { DATA_KEYS_PER_VOLUME_MAX } from './limits.js';
import type { Retries } from './retries.js';
import type { SnapshotKeys } from './snapshots/snapshot-keys.js';
import type { SnapshotTable } from './snapshots/snapshot-table.js';
import { eventOf } from './volume-event.js';
import { retiredNumbersOf, sealingNumberOf, WITHOUT_ENCRYPTION } from './volume-keys.js';
import { plainBlocksOf } from './volume-opener.js';
import type { VolumeRecord } from './volume-record.js';
import { openHandle } from './volume-refusals.js';
import type { VolumeTable } from './volume-table.js';

export interface VolumeEncryptionDependencies {
  readonly table: VolumeTable;
  readonly host: VolumeHost;
  readonly snapshots: SnapshotTable;
  readonly snapshotKeys: SnapshotKeys;
  readonly dataKeys: DataKeys;
  readonly retries: Retries;
  readonly events: EventLog;
  readonly log: Log;
  /** Told of a volume whose new writes are sealed otherwise: its old blocks are to follow. */
  readonly changed: (volumeId: string) => void;
}

/** What became of a request to seal a volume's new writes otherwise. */
export interface EncryptionChange {
  readonly id: string;
  readonly name: string;
  /** Seals new writes; 0: they are not encrypted. */
  readonly keyNumber: number;
  /** Under which blocks that were written before may still be, ascending; 0 among them: without encryption. */
  readonly retired: readonly number[];
}

/** Key numbers under which a volume has blocks, or may have, though no new write is sealed so. */
export interface RetiredKeys {
  readonly volumeId: string;
  /** The head of the volume: the blocks may lie in any layer that it reads through. */
  readonly layer: LayerId;
  /** Ascending; WITHOUT_ENCRYPTION where blocks that are not encrypted are to become so. Not empty. */
  readonly numbers: readonly number[];
}

/**
 * Changes how the new writes of a volume are sealed, while it is in use, and keeps what opens the old ones. What seals those
 * anew (resealing.ts) asks `retired` for work and tells `unneeded` what it has proven.
 */
export class VolumeEncryption {
  readonly #dependencies: VolumeEncryptionDependencies;
  /** Volumes whose row is ahead of their writes: a key that it calls old may still seal one that is under way. */
  readonly #changing = new Set<string>();

  constructor(dependencies: VolumeEncryptionDependencies) {
    this.#dependencies = dependencies;
  }

  /** Draws a new data key for an encrypted volume. */
  rotate(reference: string, caller: Caller): Promise<EncryptionChange> {
    return this.#onLive(reference, async (record) => {
      if (!record.row.encrypted) {
        const name = record.displayName;
        throw refused('state', `volume ${name} is not encrypted; \`gfs volume encrypt ${name}\` turns that on`);
      }
      const number = await this.#sealWithNewKey(record, 'given a new data key');
      this.#note(
        record,
        caller,
        'volume.key-rotated',
        `new writes of volume ${record.row.name} use data key ${number}`,
      );
    });
  }

  /** Encrypts new writes, under a new data key. */
  encrypt(reference: string, caller: Caller): Promise<EncryptionChange> {
    return this.#onLive(reference, async (record) => {
      if (record.row.encrypted) throw refused('state', `volume ${record.displayName} is encrypted already`);
      const number = await this.#sealWithNewKey(record, 'encrypted');
      this.#note(record, caller, 'volume.encrypted', `new writes of volume ${record.row.name} use data key ${number}`);
    });
  }

  /** Encrypts new writes no more. */
  decrypt(reference: string, caller: Caller): Promise<EncryptionChange> {
    return this.#onLive(reference, async (record) => {
      if (!record.row.encrypted) throw refused('state', `volume ${record.displayName} is not encrypted`);
      openHandle(record, 'decrypted');
      await this.#change(record, { ...record.row, encrypted: false, plainBlocks: true }, []);
      this.#note(
        record,
        caller,
        'volume.decrypted',
        `new writes of volume ${record.row.name} are not encrypted any more`,
      );
    });
  }

  /** Every volume with blocks that may have to be sealed anew. Its writes under these keys have all been published. */
  retired(): RetiredKeys[] {
    return this.#dependencies.table
      .all()
      .filter(({ id, row }) => row.phase !== 'deleting' && !this.#changing.has(id))
      .map(({ id, row }) => ({ volumeId: id, layer: row.layer as LayerId, numbers: retiredNumbersOf(row) }))
      .filter(({ numbers }) => numbers.length > 0);
  }

  /**
   * Takes a retired key number from a volume and its snapshots: its caller has proven that no block that they read, in any
   * layer, names it. When nobody else needs the key, both wrapped copies are erased and the MetaStore is scrubbed. Nothing
   * happens if the volume has it no more, if its new writes are not sealed `under` the key any more that they were under when
   * that was proven, or if somebody shares its layers by now: who does may still write under what it was given with them.
   * Throws REFUSED for a key that seals new writes, and what loading the other keys throws.
   */
  async unneeded(volumeId: string, number: number, under: number): Promise<void> {
    const { table, host, snapshots, snapshotKeys } = this.#dependencies;
    const record = table.get(volumeId);
    if (record === undefined) return;
    await record.mutex.run(async () => {
      const { row } = record;
      if (sealingNumberOf(row) !== under) return;
      const has = number === WITHOUT_ENCRYPTION ? row.plainBlocks : row.dataKeyNumbers.includes(number);
      if (!has || row.phase === 'deleting') return;
      if (!retiredNumbersOf(row).includes(number)) {
        throw refused('state', `data key ${number} seals the new writes of volume ${record.displayName}`);
      }
      const own = new Set([row.layer, ...snapshots.ofVolume(volumeId).map((snapshot) => snapshot.row.layer)]);
      if (sharersOf(host.layers(), own).length > 0) return;
      const next =
        number === WITHOUT_ENCRYPTION
          ? { ...row, plainBlocks: false }
          : { ...row, dataKeyNumbers: row.dataKeyNumbers.filter((one) => one !== number) };
      // Snapshots before the volume: a crash in between leaves a volume that is looked through once more. Rows before the key:
      // one leaves a key that nobody names, and the next start erases it.
      await snapshotKeys.remove(record, number);
      await this.#change(record, next, []);
      if (number !== WITHOUT_ENCRYPTION) await this.#eraseUnneeded(number);
    });
  }

  async #onLive(reference: string, change: (record: VolumeRecord) => Promise<void>): Promise<EncryptionChange> {
    const { table } = this.#dependencies;
    const record = findVolume(table, reference, 'live');
    return record.mutex.run(async () => {
      refuseOther(table, reference, 'live', record);
      await change(record);
      this.#dependencies.changed(record.id);
      const { row } = record;
      const keyNumber = sealingNumberOf(row);
      return { id: row.id, name: row.name, keyNumber, retired: retiredNumbersOf(row) };
    });
  }

  /** Keys, then row, then writes: a crash leaves a key that nobody names, or a volume that the next start opens with it. */
  async #sealWithNewKey(record: VolumeRecord, verb: string): Promise<number> {
    openHandle(record, verb);
    const { row } = record;
    if (row.dataKeyNumbers.length >= DATA_KEYS_PER_VOLUME_MAX) {
      const count = String(row.dataKeyNumbers.length);
      throw refused(
        'state',
        `volume ${record.displayName} has ${count} data keys, and needs all of them for its old blocks`,
      );
    }
    const made = await stepOf('make data key', this.#dependencies.dataKeys.make());
    const { number } = made;
    const next = { ...row, encrypted: true, dataKeyNumbers: [...row.dataKeyNumbers, number] };
    try {
      await this.#change(record, next, [made]);
    } catch (thrown) {
      made.secret.fill(0);
      if (!record.row.dataKeyNumbers.includes(number)) await this.#eraseUnneeded(number);
      throw thrown;
    }
    return number;
  }

  /** Makes a new row durable and changes the keys of the open volume with it. `made`: keys that need not be loaded. */
  async #change(record: VolumeRecord, next: VolumeRow, made: readonly DataKey[]): Promise<void> {
    const { table, dataKeys } = this.#dependencies;
    const { handle } = record;
    const stored = (): Promise<void> => table.change(record, next);
    if (handle === null) {
      await stepOf('change keys', stored());
      return;
    }
    const known = new Set(made.map(({ number }) => number));
    const loaded = await stepOf('load data keys', dataKeys.load(next.dataKeyNumbers.filter((one) => !known.has(one))));
    this.#changing.add(record.id);
    try {
      await stepOf('change keys', handle.rekey({ keys: [...loaded, ...made], plain: plainBlocksOf(next) }, stored));
    } catch (thrown) {
      // A row that writes did not follow stays marked: they do when the volume is opened anew.
      if (record.row !== next) this.#changing.delete(record.id);
      throw thrown;
    }
    this.#changing.delete(record.id);
  }

  async #eraseUnneeded(number: number): Promise<void> {
    const { dataKeys, retries, log } = this.#dependencies;
    const erase = async (): Promise<void> => {
      if (!isKeyNeeded(this.#dependencies, number)) await dataKeys.erase([number]);
    };
    try {
      await erase();
    } catch (thrown) {
      log.warn({ keyNumber: number, error: messageOf(thrown) }, 'a data key that nobody needs could not be erased yet');
      retries.failed(`erasing data key ${number}`, thrown, erase);
    }
  }

  #note(record: VolumeRecord, caller: Caller, kind: string, message: string): void {
    this.#dependencies.events.append({ ...eventOf(record, caller), kind, message });
  }
}
