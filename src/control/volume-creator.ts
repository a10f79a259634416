import { assert } from '../base/assert.js';
import type { Clock, Random } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import type { ForeignKey } from '../crypto/data-key-vault.js';
import type { Log } from '../base/log.js';
import { randomUuid } from '../base/uuid.js';
import { checkLabels } from '../model/label.js';
import type { VolumeQos } from '../model/qos-settings.js';
import type { VolumeRow } from '../model/volume-row.js';
import { checkBlockBytes, checkReplicas, checkVolumeSize, checkVolumeType } from '../model/volume-size.js';
import type { DataKey, LayerId, VolumeHandle, VolumeHost } from '../volume/volume-host.js';
import { type Caller, throwIfCancelled } from './caller.js';
import { codeOf, refused, stepOf } from './control-error.js';
import type { DataKeys } from './data-keys.js';
import { checkNewName } from './find-volume.js';
import { isKeyNeeded } from './key-needs.js';
import { DATA_KEYS_PER_VOLUME_MAX } from './limits.js';
import { makeLayer } from './make-layer.js';
import type { QosPolicies } from './qos-policies.js';
import { qosOf, type QosWish } from './quality-of-service.js';
import type { Retries } from './retries.js';
import type { RowReferences } from './row-references.js';
import type { SnapshotTable } from './snapshots/snapshot-table.js';
import type { StorageClasses } from './storage-classes.js';
import type { VolumeRecord } from './volume-record.js';
import type { Beside, VolumeTable } from './volume-table.js';

export interface CreateRequest {
  readonly name: string;
  readonly sizeBytes: number;
  /** '': the default class. */
  readonly storageClass: string;
  /** '': persistent. */
  readonly volumeType: string;
  /** 0: as the class says. */
  readonly replicas: number;
  readonly labels: Readonly<Record<string, string>>;
  /** 0: as the daemon says. */
  readonly blockBytes: number;
  /** Without it, or with an empty policy: what the class says, and then its changes. */
  readonly qos?: QosWish | undefined;
}

const NO_WISH: QosWish = { policy: '' };

export interface VolumeCreatorDependencies {
  readonly table: VolumeTable;
  readonly snapshots: SnapshotTable;
  readonly references: RowReferences;
  readonly host: VolumeHost;
  readonly dataKeys: DataKeys;
  readonly classes: StorageClasses;
  readonly policies: QosPolicies;
  readonly retries: Retries;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** What a volume is made from: a frozen layer, and the keys that its blocks may be sealed with. */
export interface CloneSource {
  readonly layer: LayerId;
  readonly blockBytes: number;
  readonly storageClass: string;
  /** Whether new writes are encrypted, as in the volume that it comes from. */
  readonly encrypted: boolean;
  readonly plainBlocks: boolean;
  readonly dataKeyNumbers: readonly number[];
  /** Of the snapshot; the clone is opened above it. */
  readonly epoch: number;
  /** For people: VOLUME@SNAPSHOT. */
  readonly origin: string;
}

/** A volume with keys and a layer that has no row yet: it can be written, and undone, but nobody can see it. */
export class VolumeInTheMaking {
  readonly row: VolumeRow;
  readonly #dependencies: VolumeCreatorDependencies;
  readonly #release: () => void;
  #keys: DataKey[];
  #handle: VolumeHandle | null = null;
  #state: 'making' | 'committed' | 'undone' = 'making';

  constructor(row: VolumeRow, keys: DataKey[], release: () => void, dependencies: VolumeCreatorDependencies) {
    this.row = row;
    this.#keys = keys;
    this.#release = release;
    this.#dependencies = dependencies;
  }

  /** Opens it under its first epoch, before there is a row: nobody else knows its keys, so that is safe. */
  open(): VolumeHandle {
    assert(this.#handle === null, 'a volume in the making is opened once');
    const { id, layer, epoch } = this.row;
    try {
      this.#handle = this.#dependencies.host.open({ volumeId: id, layer: layer as LayerId, epoch, keys: this.#keys });
      return this.#handle;
    } finally {
      this.#wipe();
    }
  }

  /**
   * The row makes it a volume. A failure leaves it in the making, to be undone. `layer`: its head, when the first one was
   * frozen; `beside`: what is stored in the same transaction.
   */
  async commit(layer = this.row.layer, beside: Beside = {}): Promise<VolumeRecord> {
    assert(this.#state === 'making', 'a volume is committed once');
    const record = await this.#dependencies.table.insert({ ...this.row, layer }, beside);
    this.#state = 'committed';
    this.#release();
    return record;
  }

  /** Takes the layer and the keys away again. What resists is tried again later, at the latest by the next start. */
  async undo(): Promise<void> {
    if (this.#state !== 'making') return;
    this.#state = 'undone';
    this.#wipe();
    const { id } = this.row;
    try {
      await this.#remove();
    } catch (thrown) {
      this.#dependencies.log.warn(
        { volumeId: id, error: messageOf(thrown) },
        'an unfinished volume could not be removed yet',
      );
      this.#dependencies.retries.failed(`remains of unfinished volume ${id}`, thrown, () => this.#remove());
    } finally {
      this.#release();
    }
  }

  async #remove(): Promise<void> {
    await this.#handle?.close();
    const { host, dataKeys, table } = this.#dependencies;
    const layer = this.row.layer as LayerId;
    // A head that was made of its first layer goes before that.
    for (const child of host.layers().filter(({ parent }) => parent === layer)) await host.dropLayer(child.layer);
    await host.dropLayer(layer);
    await dataKeys.erase(this.row.dataKeyNumbers.filter((number) => !isKeyNeeded(this.#dependencies, number)));
    await table.withdraw([this.row.id]);
  }

  #wipe(): void {
    for (const key of this.#keys) key.secret.fill(0);
    this.#keys = [];
  }
}

/**
 * Makes volumes: a note that one is being made, keys, then layer, then row. A crash between two of them leaves orphans
 * that the note explains, and that the next start removes.
 */
export class VolumeCreator {
  readonly #blockBytesDefault: number;
  readonly #dependencies: VolumeCreatorDependencies;

  constructor(options: { readonly blockBytesDefault: number }, dependencies: VolumeCreatorDependencies) {
    this.#blockBytesDefault = options.blockBytesDefault;
    this.#dependencies = dependencies;
  }

  /**
   * Checks the request and makes everything but the row. The name is held until the result is committed or undone.
   * When this throws, or the caller has gone, nothing of it is left. `source`: a clone of that layer, which nobody may drop
   * meanwhile. `foreign`: keys of another node that its blocks may be under; they come before its own, in their order.
   */
  async prepare(
    request: CreateRequest,
    caller: Caller,
    source: CloneSource | null = null,
    foreign: readonly ForeignKey[] = [],
  ): Promise<VolumeInTheMaking> {
    const { table, dataKeys, classes } = this.#dependencies;
    const draft = source === null ? this.#draft(request) : this.#cloneDraft(request, source);
    if (foreign.length > 0 && !draft.encrypted) {
      throw refused(
        'state',
        `storage class ${draft.storageClass} is without encryption, and the stream is sealed; ` +
          'name one with encryption, or send with --decrypt',
      );
    }
    const releases = [table.reserve(draft.name), classes.hold(draft.storageClass)];
    const release = (): void => {
      for (const one of releases) one();
    };
    const keys: DataKey[] = [];
    const made: number[] = [];
    let mayHaveLayer = false;
    try {
      throwIfCancelled(caller);
      await stepOf('note creation', table.announce(draft.id));
      if (source !== null) keys.push(...(await stepOf('load data keys', dataKeys.load(source.dataKeyNumbers))));
      for (const key of foreign) {
        const { number, secret } = await stepOf('keep data key', dataKeys.adopt(key));
        keys.push({ number, secret });
        made.push(number);
      }
      if (draft.encrypted) {
        const { number, secret } = await stepOf('make data key', dataKeys.make());
        keys.push({ number, secret });
        made.push(number);
      }
      throwIfCancelled(caller);
      mayHaveLayer = true;
      const layer = await stepOf('make layer', makeLayer(this.#dependencies, draft, source?.layer));
      const row = { ...draft, layer, dataKeyNumbers: keys.map((key) => key.number) };
      const making = new VolumeInTheMaking(row, keys, release, this.#dependencies);
      if (caller.signal?.aborted === true) {
        await making.undo();
        throwIfCancelled(caller);
      }
      return making;
    } catch (thrown) {
      release();
      // Of a layer that failed half way the next start finds what there is; only a full disk says that there is none.
      if (codeOf(thrown) === 'FULL') mayHaveLayer = false;
      for (const key of keys) key.secret.fill(0);
      await this.#clear(draft.id, made, mayHaveLayer);
      throw thrown;
    }
  }

  #draft(request: CreateRequest): VolumeRow {
    const { name, parameters } = this.#dependencies.classes.get(request.storageClass);
    const blockBytes = checkBlockBytes(request.blockBytes === 0 ? this.#blockBytesDefault : request.blockBytes);
    const { encryption, replication, qosPolicy } = parameters;
    return this.#row(request, { storageClass: name, blockBytes, encrypted: encryption, replication, qosPolicy });
  }

  /** It has the class, the encryption and the blocks of what it is made from; the class may be damaged or gone. */
  #cloneDraft(request: CreateRequest, source: CloneSource): VolumeRow {
    const { replication = 1, qosPolicy = '' } = this.#dependencies.classes.find(source.storageClass)?.parameters ?? {};
    if (source.dataKeyNumbers.length >= DATA_KEYS_PER_VOLUME_MAX) {
      const count = String(source.dataKeyNumbers.length);
      throw refused(
        'state',
        `${source.origin} has blocks under ${count} data keys; a clone could not have one of its own`,
      );
    }
    const row = this.#row(request, { ...source, replication, qosPolicy });
    return {
      ...row,
      epoch: source.epoch + 1,
      dataKeyNumbers: source.dataKeyNumbers,
      plainBlocks: source.plainBlocks || row.plainBlocks,
      origin: source.origin,
    };
  }

  #row(
    request: CreateRequest,
    born: Pick<CloneSource, 'storageClass' | 'blockBytes' | 'encrypted'> & { replication: number; qosPolicy: string },
  ): VolumeRow {
    checkLabels(request.labels);
    return {
      id: randomUuid(this.#dependencies.random),
      name: checkNewName(request.name),
      layer: 0,
      sizeBytes: checkVolumeSize(request.sizeBytes, born.blockBytes),
      blockBytes: born.blockBytes,
      storageClass: born.storageClass,
      volumeType: checkVolumeType(request.volumeType === '' ? 'persistent' : request.volumeType),
      replicasDesired: checkReplicas(request.replicas === 0 ? born.replication : request.replicas),
      createdAtMs: this.#dependencies.clock.wallMs(),
      labels: { ...request.labels },
      protected: false,
      epoch: 1,
      dataKeyNumbers: [],
      encrypted: born.encrypted,
      plainBlocks: !born.encrypted,
      export: null,
      retained: null,
      phase: 'live',
      origin: '',
      qos: this.#qosOf(request, born.qosPolicy),
    };
  }

  #qosOf({ qos = NO_WISH }: CreateRequest, classPolicy: string): VolumeQos | null {
    return qosOf({ ...qos, policy: qos.policy || classPolicy }, null, this.#dependencies.policies);
  }

  async #clear(id: string, numbers: readonly number[], mayHaveLayer: boolean): Promise<void> {
    const { dataKeys, table, retries } = this.#dependencies;
    const clear = async (): Promise<void> => {
      await dataKeys.erase(numbers);
      if (!mayHaveLayer) await table.withdraw([id]);
    };
    try {
      await clear();
    } catch (thrown) {
      retries.failed(`remains of unfinished volume ${id}`, thrown, clear);
    }
  }
}
