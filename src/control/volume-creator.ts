import { assert } from '../base/assert.js';
import type { Clock, Random } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { randomUuid } from '../base/uuid.js';
import { checkLabels } from '../model/label.js';
import type { VolumeQos } from '../model/qos-settings.js';
import type { StorageClass } from '../model/storage-class.js';
import type { VolumeRow } from '../model/volume-row.js';
import { checkBlockBytes, checkReplicas, checkVolumeSize, checkVolumeType } from '../model/volume-size.js';
import type { DataKey, LayerId, VolumeHandle, VolumeHost } from '../volume/volume-host.js';
import { type Caller, throwIfCancelled } from './caller.js';
import { codeOf, stepOf } from './control-error.js';
import type { DataKeys } from './data-keys.js';
import { checkNewName } from './find-volume.js';
import type { QosPolicies } from './qos-policies.js';
import { qosOf, type QosWish } from './quality-of-service.js';
import type { Retries } from './retries.js';
import type { StorageClasses } from './storage-classes.js';
import type { VolumeRecord } from './volume-record.js';
import type { VolumeTable } from './volume-table.js';

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
  readonly host: VolumeHost;
  readonly dataKeys: DataKeys;
  readonly classes: StorageClasses;
  readonly policies: QosPolicies;
  readonly retries: Retries;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
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

  /** The row makes it a volume. A failure leaves it in the making, to be undone. */
  async commit(): Promise<VolumeRecord> {
    assert(this.#state === 'making', 'a volume is committed once');
    const record = await this.#dependencies.table.insert(this.row);
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
    await this.#dependencies.host.dropLayer(this.row.layer as LayerId);
    await this.#dependencies.dataKeys.erase(this.row.dataKeyNumbers);
    await this.#dependencies.table.withdraw([this.row.id]);
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
   * When this throws, or the caller has gone, nothing of it is left.
   */
  async prepare(request: CreateRequest, caller: Caller): Promise<VolumeInTheMaking> {
    const { table, dataKeys, classes } = this.#dependencies;
    const draft = this.#draft(request);
    const storageClass = classes.get(request.storageClass);
    const releases = [table.reserve(draft.name), classes.hold(storageClass.name)];
    const release = (): void => {
      for (const one of releases) one();
    };
    const keys: DataKey[] = [];
    let mayHaveLayer = false;
    try {
      throwIfCancelled(caller);
      await stepOf('note creation', table.announce(draft.id));
      if (draft.encrypted) {
        const made = await stepOf('make data key', dataKeys.make());
        keys.push({ number: made.number, secret: made.secret });
      }
      throwIfCancelled(caller);
      mayHaveLayer = true;
      const layer = await stepOf('make layer', this.#makeLayer(draft));
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
      await this.#clear(draft.id, keys, mayHaveLayer);
      throw thrown;
    }
  }

  #draft(request: CreateRequest): VolumeRow {
    const name = checkNewName(request.name);
    const storageClass = this.#dependencies.classes.get(request.storageClass);
    const blockBytes = checkBlockBytes(request.blockBytes === 0 ? this.#blockBytesDefault : request.blockBytes);
    checkLabels(request.labels);
    return {
      id: randomUuid(this.#dependencies.random),
      name,
      layer: 0,
      sizeBytes: checkVolumeSize(request.sizeBytes, blockBytes),
      blockBytes,
      storageClass: storageClass.name,
      volumeType: checkVolumeType(request.volumeType === '' ? 'persistent' : request.volumeType),
      replicasDesired: checkReplicas(request.replicas === 0 ? storageClass.parameters.replication : request.replicas),
      createdAtMs: this.#dependencies.clock.wallMs(),
      labels: { ...request.labels },
      protected: false,
      epoch: 1,
      dataKeyNumbers: [],
      encrypted: storageClass.parameters.encryption,
      plainBlocks: !storageClass.parameters.encryption,
      export: null,
      retained: null,
      phase: 'live',
      origin: '',
      qos: this.#qosOf(request, storageClass),
    };
  }

  #qosOf({ qos = NO_WISH }: CreateRequest, { parameters }: StorageClass): VolumeQos | null {
    return qosOf({ ...qos, policy: qos.policy || parameters.qosPolicy }, null, this.#dependencies.policies);
  }

  /** A store that was lost or set back counts from before: what old rows name must never become new data. */
  async #makeLayer({ blockBytes, sizeBytes }: VolumeRow): Promise<LayerId> {
    const { host, table } = this.#dependencies;
    for (;;) {
      const layer = await host.createLayer(blockBytes, sizeBytes);
      if (!table.namesLayer(layer)) return layer;
      await host.dropLayer(layer);
    }
  }

  async #clear(id: string, keys: readonly DataKey[], mayHaveLayer: boolean): Promise<void> {
    for (const key of keys) key.secret.fill(0);
    const { dataKeys, table, retries } = this.#dependencies;
    const numbers = keys.map((key) => key.number);
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
