import { assert } from '../../base/assert.js';
import { Mutex } from '../../base/mutex.js';
import type { SnapshotRow } from '../../model/snapshot-row.js';
import type { LayerId, VolumeHandle, VolumeHost } from '../../volume/volume-host.js';
import { stepOf } from '../control-error.js';
import type { DataKeys } from '../data-keys.js';
import { plainBlocksOf } from '../volume-opener.js';
import type { SnapshotRecord } from './snapshot-record.js';

/** A handle that is open for as long as somebody reads. */
export interface SnapshotReader {
  readonly handle: VolumeHandle;
  /** Resolves when it is given back; idempotent. */
  release(): Promise<void>;
}

interface Shared {
  readonly mutex: Mutex;
  handle: VolumeHandle | null;
  readers: number;
}

/** Read-only handles of snapshots: one for each, shared by all that read it. */
export class SnapshotReaders {
  readonly #host: VolumeHost;
  readonly #dataKeys: DataKeys;
  readonly #shared = new Map<string, Shared>();

  constructor({ host, dataKeys }: { host: VolumeHost; dataKeys: DataKeys }) {
    this.#host = host;
    this.#dataKeys = dataKeys;
  }

  /** Throws ControlError when its keys are not to be had or its layer cannot be opened. */
  async acquire(snapshot: SnapshotRecord): Promise<SnapshotReader> {
    const shared = this.#sharedOf(snapshot);
    const handle = await shared.mutex.run(async () => {
      shared.handle ??= await stepOf('open snapshot', this.#open(snapshot));
      shared.readers += 1;
      return shared.handle;
    });
    let isHeld = true;
    return {
      handle,
      release: async () => {
        if (!isHeld) return;
        isHeld = false;
        await shared.mutex.run(() => this.#giveBack(shared));
      },
    };
  }

  /** Gives a snapshot the keys of another row, which `stored` makes durable: whoever reads it reads on. */
  async rekey(snapshot: SnapshotRecord, next: SnapshotRow, stored: () => Promise<void>): Promise<void> {
    const shared = this.#sharedOf(snapshot);
    await shared.mutex.run(async () => {
      if (shared.handle === null) {
        await stored();
        return;
      }
      const keys = await stepOf('load data keys', this.#dataKeys.load(next.dataKeyNumbers));
      await shared.handle.rekey({ keys, plain: plainBlocksOf(next) }, stored);
    });
  }

  #sharedOf(snapshot: SnapshotRecord): Shared {
    const shared = this.#shared.get(snapshot.id) ?? { mutex: new Mutex(), handle: null, readers: 0 };
    this.#shared.set(snapshot.id, shared);
    return shared;
  }

  /** Closes its handle under whoever reads it: their requests end with CLOSED. */
  async close(snapshotId: string): Promise<void> {
    const shared = this.#shared.get(snapshotId);
    await shared?.mutex.run(() => this.#closeHandle(shared));
    // Not earlier: whoever comes meanwhile waits for the end of this handle before there is another.
    this.#shared.delete(snapshotId);
  }

  async closeAll(): Promise<void> {
    await Promise.all([...this.#shared.keys()].map((id) => this.close(id)));
  }

  async #giveBack(shared: Shared): Promise<void> {
    assert(shared.readers > 0, 'only what was taken is given back');
    shared.readers -= 1;
    if (shared.readers === 0) await this.#closeHandle(shared);
  }

  async #closeHandle(shared: Shared): Promise<void> {
    const { handle } = shared;
    shared.handle = null;
    await handle?.close();
  }

  async #open({ row }: SnapshotRecord): Promise<VolumeHandle> {
    const keys = await this.#dataKeys.load(row.dataKeyNumbers);
    try {
      return this.#host.open({
        volumeId: row.volumeId,
        layer: row.layer as LayerId,
        epoch: row.epoch,
        keys,
        plain: plainBlocksOf(row),
        readOnly: true,
      });
    } finally {
      // The host wipes what it takes; this is for what it did not come to.
      for (const key of keys) key.secret.fill(0);
    }
  }
}
