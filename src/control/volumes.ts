import type { Clock } from '../base/clock.js';
import { matchesSelector } from '../model/label.js';
import type { VolumeHandle, VolumeHost } from '../volume/volume-host.js';
import type { Caller } from './caller.js';
import { ControlError, type ControlFault, stepOf } from './control-error.js';
import type { EventLog } from './event-log.js';
import type { Exports } from './exports.js';
import { findVolume } from './find-volume.js';
import { readImage, type ImagePiece } from './image-export.js';
import { ImageImport } from './image-import.js';
import type { Retries } from './retries.js';
import type { SnapshotService } from './snapshots/snapshot-service.js';
import type { CloneRequest, VolumeCloner } from './snapshots/volume-cloner.js';
import type { VolumeReverter } from './snapshots/volume-reverter.js';
import type { Transfers } from './transfers.js';
import type { UpdateRequest, VolumeChanger } from './volume-changer.js';
import type { CreateRequest, VolumeCreator } from './volume-creator.js';
import { eventOf } from './volume-event.js';
import { retrySubject, type VolumeOpener } from './volume-opener.js';
import type { VolumeRecord } from './volume-record.js';
import { openHandle, refuseConnected } from './volume-refusals.js';
import type { Removal, VolumeRemover } from './volume-remover.js';
import type { VolumeTable } from './volume-table.js';
import { type VolumeView, viewOf, type ViewSources } from './volume-view.js';

export interface VolumesDependencies {
  readonly table: VolumeTable;
  readonly host: VolumeHost;
  readonly exports: Exports;
  readonly creator: VolumeCreator;
  readonly changer: VolumeChanger;
  readonly remover: VolumeRemover;
  readonly cloner: VolumeCloner;
  readonly reverter: VolumeReverter;
  readonly snapshots: SnapshotService;
  readonly transfers: Transfers;
  readonly opener: VolumeOpener;
  readonly retries: Retries;
  readonly events: EventLog;
  readonly clock: Clock;
  readonly isZero: (bytes: Uint8Array, offset: number, length: number) => boolean;
}

/** An import as its sender sees it. */
export interface ImportSession {
  readonly sizeBytes: number;
  write(offsetBytes: number, data: Uint8Array): Promise<void>;
  complete(): Promise<VolumeView>;
  /** Nothing of it is left when this resolves, unless it was complete. */
  abort(): Promise<void>;
}

export interface ImageSource {
  readonly sizeBytes: number;
  readonly pieces: AsyncGenerator<ImagePiece, void, void>;
}

/** Answers that say something about the request, not about the node. */
const SLIPS: ReadonlySet<ControlFault['code']> = new Set([
  'NOT_FOUND',
  'AMBIGUOUS',
  'EXISTS',
  'INVALID',
  'REFUSED',
  'CANCELLED',
]);

/** The verbs of `gfs volume`. Failures are ControlError and ModelError. */
export class Volumes {
  readonly #dependencies: VolumesDependencies;
  readonly #imports = new Set<ImageImport>();
  #closed = false;

  constructor(dependencies: VolumesDependencies) {
    this.#dependencies = dependencies;
  }

  list(labels: Readonly<Record<string, string>>, retained: boolean): VolumeView[] {
    const sources = this.#viewSources();
    return this.#dependencies.table
      .all()
      .filter(({ row }) => (row.phase === 'retained') === retained && matchesSelector(row.labels, labels))
      .map((record) => viewOf(record, sources))
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.createdAtMs - b.createdAtMs));
  }

  get(reference: string, retained: boolean): VolumeView {
    return this.#view(findVolume(this.#dependencies.table, reference, retained ? 'any' : 'live'));
  }

  create(request: CreateRequest, caller: Caller): Promise<VolumeView> {
    return this.#reporting('create', request.name, caller, () => this.#create(request, caller));
  }

  async #create(request: CreateRequest, caller: Caller): Promise<VolumeView> {
    this.#throwIfClosed();
    const making = await this.#dependencies.creator.prepare(request, caller);
    let record: VolumeRecord;
    try {
      // The layer opens before the row is written: what cannot be opened is no volume.
      const handle = making.open();
      record = await stepOf('store volume', making.commit());
      this.#dependencies.opener.adopt(record, handle);
    } catch (thrown) {
      await making.undo();
      throw thrown;
    }
    this.#note(record, caller, 'volume.created', `volume ${record.row.name} created`);
    return this.#view(record);
  }

  delete(reference: string, force: boolean, caller: Caller, withSnapshots = false): Promise<Removal> {
    return this.#reporting('delete', reference, caller, () =>
      this.#dependencies.remover.delete(reference, { force, withSnapshots }, caller),
    );
  }

  purge(reference: string, caller: Caller): Promise<Removal> {
    return this.#reporting('purge', reference, caller, () => this.#dependencies.remover.purge(reference, caller));
  }

  restore(reference: string, name: string, caller: Caller): Promise<VolumeView> {
    return this.#reporting('restore', reference, caller, async () => {
      const record = await this.#dependencies.changer.restore(reference, name, caller);
      await record.mutex.run(() => this.#dependencies.snapshots.serve(record));
      return this.#view(record);
    });
  }

  expand(reference: string, sizeBytes: number, relative: boolean, caller: Caller): Promise<VolumeView> {
    return this.#reporting('expand', reference, caller, async () =>
      this.#view(await this.#dependencies.changer.expand(reference, sizeBytes, relative, caller)),
    );
  }

  rename(reference: string, name: string, caller: Caller): Promise<VolumeView> {
    return this.#reporting('rename', reference, caller, async () => {
      const record = await this.#dependencies.changer.rename(reference, name, caller);
      this.#dependencies.snapshots.offerAgain(record);
      return this.#view(record);
    });
  }

  /** A volume that begins as VOLUME@SNAPSHOT, or as VOLUME is now. */
  clone(reference: string, request: CloneRequest, caller: Caller): Promise<VolumeView> {
    this.#throwIfClosed();
    return this.#reporting('clone', reference, caller, async () =>
      this.#view(await this.#dependencies.cloner.clone(reference, request, caller)),
    );
  }

  /** A volume is what VOLUME@SNAPSHOT shows; `safety` names the snapshot of what it was before. */
  revert(reference: string, force: boolean, caller: Caller): Promise<{ volume: VolumeView; safety: string }> {
    this.#throwIfClosed();
    return this.#reporting('revert', reference, caller, async () => {
      const { record, safety } = await this.#dependencies.reverter.revert(reference, force, caller);
      return { volume: this.#view(record), safety: safety.row.name };
    });
  }

  update(reference: string, request: UpdateRequest, caller: Caller): Promise<VolumeView> {
    return this.#reporting('update', reference, caller, async () =>
      this.#view(await this.#dependencies.changer.update(reference, request, caller)),
    );
  }

  export(reference: string, readOnly: boolean, caller: Caller): Promise<VolumeView> {
    return this.#reporting('export', reference, caller, async () =>
      this.#view(await this.#dependencies.changer.export(reference, readOnly, caller)),
    );
  }

  unexport(reference: string, force: boolean, caller: Caller): Promise<VolumeView> {
    return this.#reporting('unexport', reference, caller, async () =>
      this.#view(await this.#dependencies.changer.unexport(reference, force, caller)),
    );
  }

  kick(reference: string, address: string, caller: Caller): Promise<readonly string[]> {
    return this.#dependencies.changer.kick(reference, address, caller);
  }

  /** A volume to be filled with an image. It is one only when the session is completed. */
  beginImport(request: CreateRequest, caller: Caller): Promise<ImportSession> {
    return this.#reporting('import', request.name, caller, () => this.#beginImport(request, caller));
  }

  async #beginImport(request: CreateRequest, caller: Caller): Promise<ImportSession> {
    this.#throwIfClosed();
    const ended = this.#dependencies.transfers.begin();
    try {
      const making = await this.#dependencies.creator.prepare(request, caller);
      try {
        return this.#importSession(making, ended, caller);
      } catch (thrown) {
        await making.undo();
        throw thrown;
      }
    } catch (thrown) {
      ended();
      throw thrown;
    }
  }

  /** What a volume holds. Refused while clients write to it: the image would be of no one moment. */
  readImage(reference: string, caller: Caller): ImageSource {
    const record = findVolume(this.#dependencies.table, reference, 'live');
    const handle = openHandle(record, 'copied');
    if (record.row.export?.readOnly !== true) {
      refuseConnected(
        record,
        this.#dependencies.exports,
        'export it read-only: an image of a volume that changes is of no use',
      );
    }
    return { sizeBytes: handle.sizeBytes, pieces: this.#pieces(record, handle, caller) };
  }

  /** Counts as a transfer from the first piece that is asked for: a generator that never runs never ends either. */
  async *#pieces(record: VolumeRecord, handle: VolumeHandle, caller: Caller): AsyncGenerator<ImagePiece, void, void> {
    const ended = this.#dependencies.transfers.begin();
    try {
      this.#note(record, caller, 'image.exported', `volume ${record.row.name} is copied into an image`);
      yield* readImage(handle, record.row.name);
    } finally {
      ended();
    }
  }

  /** Refuses new work, undoes imports and closes the volumes. Rows stay as they are: the next start opens them. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#dependencies.opener.shutDown();
    await Promise.all([...this.#imports].map((one) => one.abort()));
    await this.#dependencies.snapshots.close();
    const records = this.#dependencies.table.all();
    await Promise.all(records.map((record) => record.mutex.run(() => this.#dependencies.opener.close(record))));
  }

  #importSession(
    making: Awaited<ReturnType<VolumeCreator['prepare']>>,
    ended: () => void,
    caller: Caller,
  ): ImportSession {
    const running = new ImageImport({}, making, making.open(), {
      isZero: this.#dependencies.isZero,
      ended: () => {
        this.#imports.delete(running);
        ended();
      },
    });
    this.#imports.add(running);
    return {
      sizeBytes: running.sizeBytes,
      write: (offsetBytes, data) => running.write(offsetBytes, data),
      abort: () => running.abort(),
      complete: () =>
        this.#reporting('import', making.row.name, caller, async () => {
          const record = await stepOf('import image', running.complete());
          this.#dependencies.opener.adopt(record, running.handle);
          this.#note(record, caller, 'volume.created', `volume ${record.row.name} created from an image`);
          return this.#view(record);
        }),
    };
  }

  /** What failed, and not by a slip of the caller's, becomes an event: it may be the first sign of a sick node. */
  async #reporting<T>(verb: string, reference: string, caller: Caller, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      if (thrown instanceof ControlError && !SLIPS.has(thrown.code)) {
        this.#dependencies.events.append({
          kind: 'operation.failed',
          volume: this.#dependencies.table.get(reference)?.displayName ?? reference,
          volumeId: this.#dependencies.table.named(reference)?.id ?? this.#dependencies.table.get(reference)?.id ?? '',
          actor: caller.actor,
          message: `${verb} failed: ${thrown.message}`,
          level: 'error',
        });
      }
      throw thrown;
    }
  }

  #throwIfClosed(): void {
    if (this.#closed) throw new ControlError('the node is stopping', { code: 'UNAVAILABLE' });
  }

  #view(record: VolumeRecord): VolumeView {
    return viewOf(record, this.#viewSources());
  }

  #viewSources(): ViewSources {
    const { host, exports, remover, retries, snapshots, clock } = this.#dependencies;
    let allocated: Map<number, number> | undefined;
    return {
      exports,
      allocatedOf: (layer) => {
        allocated ??= new Map(host.layers().map((summary) => [summary.layer, summary.allocatedBytes]));
        return allocated.get(layer) ?? 0;
      },
      snapshotsOf: (record) => snapshots.countOf(record),
      reclaimPolicyOf: (record) => remover.reclaimPolicyOf(record),
      deletionTrouble: (record) => {
        const retry = retries.stateOf(retrySubject(record));
        if (retry === null) return '';
        const seconds = Math.max(0, Math.round((retry.nextTryMs - clock.wallMs()) / 1000));
        return `${retry.lastError}; tried again in ${seconds} s`;
      },
    };
  }

  #note(record: VolumeRecord, caller: Caller, kind: string, message: string): void {
    this.#dependencies.events.append({ ...eventOf(record, caller), kind, message });
  }
}
