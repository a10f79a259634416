import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { VolumeRow } from '../model/volume-row.js';
import type { DataKey, LayerId, LayerSummary, PlainBlocks, VolumeHandle, VolumeHost } from '../volume/volume-host.js';
import { codeOf } from './control-error.js';
import type { DataKeys } from './data-keys.js';
import type { EventLog } from './event-log.js';
import type { Exports } from './exports.js';
import type { Retries } from './retries.js';
import type { SnapshotDiffs } from './snapshots/snapshot-diffs.js';
import type { VolumeRecord } from './volume-record.js';
import type { VolumeTable } from './volume-table.js';

export interface VolumeOpenerDependencies {
  readonly table: VolumeTable;
  readonly host: VolumeHost;
  readonly dataKeys: DataKeys;
  readonly exports: Exports;
  readonly diffs: SnapshotDiffs;
  readonly retries: Retries;
  readonly events: EventLog;
  readonly log: Log;
}

const LAYER_LOST =
  ': the journal has lost what made it; delete the volume and restore it from a stream (gfs volume receive), ' +
  'or put back a copy of the whole storage path';

/** Key trouble that trying again can mend: a program or a disk that did not answer. */
const PASSING_KEY_FAULTS = new Set(['COMMAND_FAILED', 'IO']);

/** Brings volumes into service and takes them out. Whatever stands in the way of one volume is that volume's state. */
export class VolumeOpener {
  readonly #dependencies: VolumeOpenerDependencies;
  #closed = false;

  constructor(dependencies: VolumeOpenerDependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Opens a live volume under the epoch of its row, which no open has used before. Never throws: the outcome is
   * `record.serving`. `keys`: already loaded, or null.
   */
  async open(record: VolumeRecord, layer: LayerSummary | undefined, keys: DataKey[] | null): Promise<void> {
    const { row } = record;
    // A store that is being reopened knows no layers for a while, and that passes.
    const isReady = this.#dependencies.host.report().state === 'ready';
    const fault =
      layer === undefined
        ? `its layer ${row.layer} is not in the store${isReady ? LAYER_LOST : ''}`
        : layer.damage !== ''
          ? layer.damage
          : layer.state === 'frozen'
            ? `its layer ${row.layer} is frozen: its record is older than the store`
            : layer.blockBytes !== row.blockBytes
              ? `its layer has blocks of ${layer.blockBytes} bytes, its record says ${row.blockBytes}`
              : '';
    if (fault !== '') {
      wipe(keys);
      this.#damaged(record, fault);
      if (layer === undefined && !isReady) {
        const subject = retrySubject(record);
        this.#dependencies.retries.failed(subject, new Error(fault), () => this.#tryAgain(record));
      }
      return;
    }
    let loaded: DataKey[];
    try {
      loaded = keys ?? (await this.#dependencies.dataKeys.load(row.dataKeyNumbers));
    } catch (thrown) {
      this.#locked(record, thrown);
      return;
    }
    let handle: VolumeHandle;
    try {
      handle = this.#openLayer(record, loaded);
    } catch (thrown) {
      // The layer itself is whole: the store may have been reopening, and that passes.
      this.#retryLater(record, messageOf(thrown), thrown);
      return;
    } finally {
      // The host wipes what it takes; this is for what it did not come to.
      wipe(loaded);
    }
    this.adopt(record, handle);
  }

  /** A handle that was opened before its volume had a row (an import) becomes its volume's. */
  adopt(record: VolumeRecord, handle: VolumeHandle): void {
    handle.setQos(record.row.qos?.settings ?? null);
    record.move({ state: 'open', handle });
    this.#dependencies.retries.settled(retrySubject(record));
    this.offer(record);
  }

  /** Offers an open volume to clients if its row says so. */
  offer(record: VolumeRecord): void {
    const { handle, row } = record;
    if (handle === null || row.export === null || row.phase !== 'live') return;
    this.#dependencies.exports.open({
      volumeId: record.id,
      name: row.name,
      device: handle,
      readOnly: row.export.readOnly,
      description: `${row.storageClass} volume ${record.id}`,
      diffs: this.#dependencies.diffs.ofExport(record, null),
    });
  }

  /** A new writer, so a new epoch, durable first. Throws when the epoch cannot be stored. */
  async reopen(record: VolumeRecord): Promise<void> {
    await this.#dependencies.table.change(record, { ...record.row, epoch: record.row.epoch + 1 });
    await this.open(record, this.layerOf(record.row.layer), null);
  }

  /** As `reopen`, but a failure is the volume's state, as at a start, and it is tried again. */
  async reopenOrRetry(record: VolumeRecord): Promise<void> {
    try {
      await this.reopen(record);
    } catch (thrown) {
      this.#retryLater(record, `it could not be opened again: ${messageOf(thrown)}`, thrown);
    }
  }

  /** Takes it from its clients and closes it; what was in flight completes first. */
  async close(record: VolumeRecord): Promise<void> {
    await this.#dependencies.exports.close(record.id);
    const { handle } = record;
    if (handle !== null) await handle.close();
    record.move({ state: 'closed' });
  }

  layerOf(layer: number): LayerSummary | undefined {
    return this.#dependencies.host.layers().find((summary) => summary.layer === layer);
  }

  /** No retries from here on. */
  shutDown(): void {
    this.#closed = true;
  }

  #openLayer(record: VolumeRecord, keys: readonly DataKey[]): VolumeHandle {
    const { row } = record;
    return this.#dependencies.host.open({
      volumeId: row.id,
      layer: row.layer as LayerId,
      epoch: row.epoch,
      keys,
      plain: plainBlocksOf(row),
    });
  }

  #locked(record: VolumeRecord, thrown: unknown): void {
    const reason = messageOf(thrown);
    this.#note(record, 'locked', reason);
    record.move({ state: 'locked', reason });
    if (!PASSING_KEY_FAULTS.has(codeOf(thrown))) return;
    this.#dependencies.retries.failed(retrySubject(record), thrown, () => this.#tryAgain(record));
  }

  #tryAgain(record: VolumeRecord): Promise<void> {
    return record.mutex.run(async () => {
      const { state } = record.serving;
      if (this.#closed || record.row.phase !== 'live' || state === 'open') return;
      await this.reopen(record);
    });
  }

  #retryLater(record: VolumeRecord, reason: string, failure: unknown): void {
    this.#damaged(record, reason);
    this.#dependencies.retries.failed(retrySubject(record), failure, () => this.#tryAgain(record));
  }

  #damaged(record: VolumeRecord, reason: string): void {
    this.#note(record, 'damaged', reason);
    record.move({ state: 'damaged', reason });
  }

  /** Once per change of state and reason; retries that end the same way stay silent. */
  #note(record: VolumeRecord, state: 'locked' | 'damaged', reason: string): void {
    const { serving } = record;
    if (serving.state === state && serving.reason === reason) return;
    const { log, events } = this.#dependencies;
    log.error({ volume: record.row.name, volumeId: record.id, state, reason }, 'a volume cannot be served');
    events.append({
      kind: `volume.${state}`,
      volume: record.row.name,
      volumeId: record.id,
      actor: 'daemon',
      message: reason,
      level: 'error',
    });
  }
}

/** What the keyring of a volume does with blocks that are not encrypted. */
export function plainBlocksOf(row: Pick<VolumeRow, 'encrypted' | 'plainBlocks'>): PlainBlocks {
  if (!row.encrypted) return 'written';
  return row.plainBlocks ? 'read' : 'refused';
}

/** Under what Retries keeps what is tried again for a volume. */
export function retrySubject(record: VolumeRecord): string {
  return `volume ${record.id}`;
}

function wipe(keys: readonly DataKey[] | null): void {
  for (const key of keys ?? []) key.secret.fill(0);
}
