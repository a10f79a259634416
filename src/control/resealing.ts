import type { Clock, Timer } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import type { Closable } from '../base/lifecycle.js';
import { Mutex } from '../base/mutex.js';
import { pointName } from '../model/snapshot-name.js';
import type { LayerId, ResealOutcome, ResealProgress, VolumeHost } from '../volume/volume-host.js';
import { codeOf } from './control-error.js';
import type { EventLog } from './event-log.js';
import { sharersOf } from './layer-sharing.js';
import { RESEAL_DAMAGED_MS, RESEAL_LOOK_MS } from './limits.js';
import type { Problem } from './problem.js';
import type { ResealView } from './reseal-view.js';
import type { Retries } from './retries.js';
import type { SnapshotKeys } from './snapshots/snapshot-keys.js';
import type { SnapshotTable } from './snapshots/snapshot-table.js';
import type { VolumeEncryption } from './volume-encryption.js';
import { retiredNumbersOf, sealingNumberOf } from './volume-keys.js';
import type { VolumeRecord } from './volume-record.js';
import type { VolumeTable } from './volume-table.js';

export interface ResealingDependencies {
  readonly table: VolumeTable;
  readonly host: VolumeHost;
  readonly snapshots: SnapshotTable;
  readonly snapshotKeys: SnapshotKeys;
  readonly encryption: VolumeEncryption;
  readonly retries: Retries;
  readonly events: EventLog;
  readonly clock: Clock;
}

type Standing = Omit<ResealView, 'nextTryMs'> & { readonly againAtMs: number };

const NOTHING_YET: ResealProgress = { lookedBytes: 0, totalBytes: 0, sealedBlocks: 0, badBlocks: 0 };

/**
 * Has the old blocks of volumes sealed as their new writes are, until no key is left that is retired. One volume at a time.
 * Nothing of it is kept: what is to be done stands in the rows of the volumes, and a start begins anew.
 *
 * A volume that shares layers is looked through when its keys are changed, for what is its alone; after a start it waits
 * until it shares none, since nothing of it can come to an end before.
 */
export class Resealing implements Closable {
  readonly #io: ResealingDependencies;
  readonly #standings = new Map<string, Standing>();
  readonly #queued = new Set<string>();
  readonly #turns = new Mutex();
  readonly #ending = new AbortController();
  #timer: Timer | null = null;

  constructor(dependencies: ResealingDependencies) {
    this.#io = dependencies;
  }

  /** Takes up what the last run of the node left. Volumes are open by then. */
  start(): void {
    this.#look();
    this.#arm();
  }

  /** The new writes of a volume are sealed otherwise from now on. */
  changed(volumeId: string): void {
    if (!this.#ending.signal.aborted) this.#enqueue(volumeId);
  }

  /** null: all of its blocks are sealed as its new writes are. */
  viewOf(volumeId: string): ResealView | null {
    const standing = this.#standings.get(volumeId);
    if (standing === undefined) return null;
    const { againAtMs, ...view } = standing;
    return { ...view, nextTryMs: this.#io.retries.stateOf(subjectOf(volumeId))?.nextTryMs ?? againAtMs };
  }

  problems(): Problem[] {
    const problems: Problem[] = [];
    for (const [volumeId, { state, reason }] of this.#standings) {
      const record = this.#io.table.get(volumeId);
      if (record === undefined || (state !== 'failed' && state !== 'damaged')) continue;
      problems.push({
        subject: `volume ${record.displayName}`,
        reason: `its old blocks could not all be sealed anew, and their keys are kept: ${reason}`,
        remedy:
          state === 'failed'
            ? 'none needed: it is tried again'
            : `see \`gfs volume scrub start ${record.displayName}\`; restore what is damaged from a copy`,
        lastError: state === 'failed' ? reason : '',
        nextTryMs: this.viewOf(volumeId)?.nextTryMs ?? 0,
      });
    }
    return problems;
  }

  async close(): Promise<void> {
    this.#ending.abort();
    if (this.#timer !== null) this.#io.clock.clear(this.#timer);
    await this.#turns.settled();
  }

  #arm(): void {
    this.#timer = this.#io.clock.after(RESEAL_LOOK_MS, () => {
      this.#look();
      this.#arm();
    });
  }

  /** What time brings: volumes are opened, clones go. */
  #look(): void {
    const { encryption, retries, table, clock } = this.#io;
    const retired = new Set(encryption.retired().map(({ volumeId }) => volumeId));
    for (const volumeId of this.#standings.keys()) {
      if (retired.has(volumeId)) continue;
      this.#standings.delete(volumeId);
      retries.settled(subjectOf(volumeId));
    }
    for (const volumeId of retired) {
      const record = table.get(volumeId);
      const standing = this.#standings.get(volumeId);
      if (record === undefined || this.#queued.has(volumeId) || standing?.state === 'running') continue;
      if (retries.stateOf(subjectOf(volumeId)) !== null) continue;
      if (record.handle === null) {
        this.#stand(volumeId, { state: 'waiting', reason: 'its volume is not open' });
        continue;
      }
      const sharers = sharersOf(this.#io.host.layers(), this.#ownLayers(record));
      if (sharers.length > 0) this.#stand(volumeId, { state: 'shared', reason: this.#sharedWith(sharers) });
      else if (standing?.state !== 'damaged' || clock.wallMs() >= standing.againAtMs) this.#enqueue(volumeId);
    }
  }

  #stand(volumeId: string, next: Partial<Standing> & Pick<Standing, 'state' | 'reason'>): void {
    const before = this.#standings.get(volumeId) ?? { ...NOTHING_YET, againAtMs: 0 };
    this.#standings.set(volumeId, { ...before, againAtMs: 0, ...next });
  }

  #enqueue(volumeId: string): void {
    if (this.#queued.has(volumeId)) return;
    const attempt = (): Promise<void> => {
      this.#queued.add(volumeId);
      return this.#turns.run(async () => {
        this.#queued.delete(volumeId);
        if (!this.#ending.signal.aborted) await this.#try(volumeId);
      });
    };
    this.#io.retries.settled(subjectOf(volumeId));
    this.#stand(volumeId, { ...NOTHING_YET, state: 'queued', reason: '' });
    void attempt().catch((thrown: unknown) => {
      this.#io.retries.failed(subjectOf(volumeId), thrown, attempt);
    });
  }

  async #try(volumeId: string): Promise<void> {
    try {
      await this.#run(volumeId);
    } catch (thrown) {
      // Its volume, or the store, was closed: it goes on when both are back.
      if (codeOf(thrown) === 'CLOSED') {
        this.#stand(volumeId, { state: 'waiting', reason: 'its volume was closed' });
        return;
      }
      this.#stand(volumeId, { state: 'failed', reason: messageOf(thrown) });
      throw thrown;
    }
  }

  async #run(volumeId: string): Promise<void> {
    const { table, encryption, snapshotKeys } = this.#io;
    const record = table.get(volumeId);
    const isRetired = (): boolean => encryption.retired().some((each) => each.volumeId === volumeId);
    if (record === undefined || !isRetired()) {
      this.#standings.delete(volumeId);
      return;
    }
    const { handle } = record;
    if (handle === null) {
      this.#stand(volumeId, { state: 'waiting', reason: 'its volume is not open' });
      return;
    }
    this.#stand(volumeId, { ...NOTHING_YET, state: 'running', reason: '' });
    // 1. Whoever reads its snapshots can open what is sealed anew, before anything is.
    const { numbers, under } = await record.mutex.run(async () => {
      await snapshotKeys.add(record);
      return { numbers: retiredNumbersOf(record.row), under: sealingNumberOf(record.row) };
    });
    if (this.#ending.signal.aborted) return;
    const outcome = await handle.reseal({
      numbers,
      under,
      own: () => [...this.#ownLayers(record)],
      signal: this.#ending.signal,
      told: (progress) => {
        this.#stand(volumeId, { ...progress, state: 'running', reason: '' });
      },
    });
    // 2. What no block names any more is taken from the rows, and destroyed when nobody else needs it.
    for (const number of outcome.gone) await encryption.unneeded(volumeId, number, under);
    this.#ended(record, outcome, isRetired());
  }

  #ended(record: VolumeRecord, outcome: ResealOutcome, isLeft: boolean): void {
    const { clock, events } = this.#io;
    const { sharedWith, badBlocks, heldSegments, sealedBlocks, lookedBytes, totalBytes } = outcome;
    const name = record.displayName;
    const note = (kind: string, message: string, level: 'info' | 'error'): void => {
      events.append({ kind, volume: name, volumeId: record.id, actor: 'daemon', message, level });
    };
    if (!isLeft) {
      this.#standings.delete(record.id);
      note('volume.resealed', `all blocks of volume ${name} are sealed as its new writes are`, 'info');
      return;
    }
    const progress = { lookedBytes, totalBytes, sealedBlocks, badBlocks };
    if (sharedWith.length > 0) {
      const reason = this.#sharedWith(sharedWith as LayerId[]);
      this.#stand(record.id, { ...progress, state: 'shared', reason });
      note('volume.reseal-shared', `old blocks of volume ${name} stay as they are: ${reason}`, 'info');
    } else if (badBlocks > 0 || heldSegments > 0) {
      const reason =
        badBlocks > 0
          ? `${badBlocks} ${badBlocks === 1 ? 'block' : 'blocks'} cannot be opened`
          : `${heldSegments} ${heldSegments === 1 ? 'segment' : 'segments'} of the journal cannot be read to the end`;
      const againAtMs = Math.trunc(clock.wallMs()) + RESEAL_DAMAGED_MS;
      this.#stand(record.id, { ...progress, state: 'damaged', reason, againAtMs });
      note('volume.reseal-damaged', `old blocks of volume ${name} could not all be sealed anew: ${reason}`, 'error');
    } else if (!this.#queued.has(record.id)) {
      this.#stand(record.id, { ...progress, state: 'waiting', reason: 'its keys were changed meanwhile' });
    }
  }

  /** Its head's and its snapshots', those included that are being deleted. */
  #ownLayers({ id, row }: VolumeRecord): Set<number> {
    return new Set([row.layer, ...this.#io.snapshots.ofVolume(id).map((snapshot) => snapshot.row.layer)]);
  }

  /** Who they are, in words. */
  #sharedWith(layers: readonly LayerId[]): string {
    const { table, snapshots } = this.#io;
    const names = new Set<string>();
    for (const layer of layers) {
      const volume = table.all().find(({ row }) => row.layer === layer);
      const snapshot = snapshots.all().find(({ row }) => row.layer === layer);
      const owner = snapshot === undefined ? undefined : table.get(snapshot.row.volumeId);
      if (volume !== undefined) names.add(`clone ${volume.displayName}`);
      else if (snapshot !== undefined) names.add(pointName(owner?.displayName ?? '', snapshot.row.name));
      else names.add('a volume that is being made');
    }
    const shown = [...names].slice(0, 5).join(', ');
    return `shared with ${shown}${names.size > 5 ? ` and ${names.size - 5} more` : ''}`;
  }
}

function subjectOf(volumeId: string): string {
  return `re-sealing of volume ${volumeId}`;
}
