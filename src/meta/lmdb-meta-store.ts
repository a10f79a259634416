import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { assert } from '../base/assert.js';
import type { Clock } from '../base/clock.js';
import { ChangeHistory } from './change-history.js';
import { copyEnvironment } from './environment-copy.js';
import { clearSwap, copyPathOf, swapIn, syncFolder } from './environment-swap.js';
import { LeaseTable } from './lease-table.js';
import { HISTORY_CHANGES_MAX, PROBE_TIMEOUT_MS } from './limits.js';
import { translateLmdbError } from './lmdb-fault.js';
import { openEnvironment, recordKey, stateKey, survey, walkRecords, type Environment } from './lmdb-environment.js';
import {
  checksumOf,
  decodeRecord,
  decodeState,
  encodeRecord,
  encodeState,
  META_FORMAT,
  type MetaState,
} from './lmdb-record.js';
import { MetaError } from './meta-error.js';
import type {
  MetaChange,
  MetaEntry,
  MetaLease,
  MetaListing,
  MetaOutcome,
  MetaStore,
  MetaTransaction,
  Watch,
  WatchListener,
} from './meta-store.js';
import { probeEnvironment } from './probe-verdict.js';
import {
  assertKey,
  assertTransaction,
  changedKey,
  damagedRecord,
  planTransaction,
  storeClosed,
  type TransactionPlan,
} from './transaction-plan.js';

export interface LmdbMetaStoreOptions {
  /** Directory of the environment; made, mode 0700, when it is not there. */
  readonly path: string;
  readonly historyChangesMax?: number;
  readonly probeTimeoutMs?: number;
  /** Address space that the environment takes at first; what is beyond it is taken as it is needed. */
  readonly mapBytes?: number;
  /** Called before each change that a scrub makes to the disk; a test ends the process there. */
  readonly onScrubStep?: () => void;
}

/** Decides inside the write transaction what it changes; `revision` is the next one. */
type Decide = (revision: number) => TransactionPlan;

interface Pending {
  readonly decide: Decide;
  readonly resolve: (outcome: MetaOutcome) => void;
  readonly reject: (reason: unknown) => void;
}

interface PendingScrub {
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

type Decision =
  { readonly outcome: MetaOutcome; readonly changes: readonly MetaChange[] } | { readonly failure: unknown };

/**
 * The MetaStore of a node alone. One commit is on its way at a time, while the transactions that arrive meanwhile gather
 * for the next: each is decided inside LMDB's write transaction, in the order of arrival, and answered after fdatasync.
 */
export class LmdbMetaStore implements MetaStore {
  readonly #path: string;
  readonly #onScrubStep: () => void;
  /** null: closed, or lost between two files of a scrub. */
  #environment: Environment | null;
  readonly #history: ChangeHistory;
  readonly #leases: LeaseTable;
  readonly #damage: readonly string[];
  #state: MetaState;
  #waiting: Pending[] = [];
  #scrubs: PendingScrub[] = [];
  /** While one environment takes another's place; reads wait for it. */
  #swapping: Promise<void> | null = null;
  #committing: Promise<void> | null = null;
  #closing: Promise<void> | null = null;

  private constructor(
    options: LmdbMetaStoreOptions,
    environment: Environment,
    state: MetaState,
    damage: readonly string[],
    clock: Clock,
  ) {
    this.#path = options.path;
    this.#onScrubStep = options.onScrubStep ?? (() => undefined);
    this.#environment = environment;
    this.#state = state;
    this.#damage = damage;
    this.#history = new ChangeHistory(options.historyChangesMax ?? HISTORY_CHANGES_MAX, state.revision);
    this.#leases = new LeaseTable(clock, (lease) => this.#deleteKeysOf(lease));
  }

  /**
   * Probes, opens, and ends the leases of the process before. Throws MetaError: DAMAGED when the environment cannot be
   * read at all (single damaged records are listed in `damage` and refused one by one), VERSION, FULL, IO.
   */
  static async open(options: LmdbMetaStoreOptions, dependencies: { readonly clock: Clock }): Promise<LmdbMetaStore> {
    const { path, probeTimeoutMs = PROBE_TIMEOUT_MS } = options;
    await endSwap(path);
    const exists = existsSync(join(path, 'data.mdb'));
    const damage: string[] = [];
    if (exists) {
      const verdict = await probeEnvironment(path, probeTimeoutMs, dependencies.clock);
      for (const key of verdict.damaged) damage.push(`the record of ${key} is damaged`);
      if (verdict.damagedCount > verdict.damaged.length) {
        damage.push(`${String(verdict.damagedCount - verdict.damaged.length)} more records are damaged`);
      }
      if (verdict.stateDamaged) damage.push('the state record was damaged and is made anew from the records');
      if (!verdict.sumMatches) damage.push('the records do not add up: some are missing, or older than they should be');
    }
    let environment: Environment;
    try {
      await mkdir(path, { recursive: true, mode: 0o700 });
      environment = openEnvironment(path, false, options.mapBytes);
    } catch (thrown) {
      throw await translateLmdbError(path, thrown);
    }
    try {
      const state = await beginHolding(path, environment);
      // The entry of a new environment, and of its folder, must survive a power cut as its content does.
      if (!exists) for (const folder of [path, dirname(path)]) await syncFolder(folder);
      return new LmdbMetaStore(options, environment, state, damage, dependencies.clock);
    } catch (thrown) {
      await environment.close();
      throw thrown;
    }
  }

  /** What the start found damaged, a sentence each; for the log and the status. */
  get damage(): readonly string[] {
    return this.#damage;
  }

  get(key: string): Promise<MetaEntry | null> {
    return this.#read(() => {
      assertKey(key);
      const entry = this.#lookUp(key);
      if (entry === 'damaged') throw damagedRecord(key);
      return entry;
    });
  }

  list(prefix: string): Promise<MetaListing> {
    return this.#read(() => {
      const entries: MetaEntry[] = [];
      const damaged: string[] = [];
      for (const { key, bytes } of walkRecords(this.#opened, prefix)) {
        const entry = decodeRecord(key, bytes);
        if (entry === null) damaged.push(key);
        else entries.push(entry);
      }
      // From the same read transaction: `#state` may be a moment behind a commit that can already be read.
      const bytes = this.#opened.get(stateKey());
      const state = bytes === undefined ? null : decodeState(bytes);
      return { entries, damaged, revision: (state ?? this.#state).revision };
    });
  }

  transaction(transaction: MetaTransaction): Promise<MetaOutcome> {
    assertTransaction(transaction);
    return this.#submit((revision) =>
      planTransaction(
        transaction,
        revision,
        (key) => this.#lookUp(key),
        (lease) => this.#leases.isAlive(lease),
      ),
    );
  }

  scrub(): Promise<void> {
    if (this.#closing !== null) return Promise.reject(storeClosed());
    return new Promise((resolve, reject) => {
      this.#scrubs.push({ resolve, reject });
      this.#committing ??= this.#drain();
    });
  }

  watch(prefix: string, afterRevision: number, listener: WatchListener): Watch {
    if (this.#closing !== null) throw storeClosed();
    return this.#history.watch(prefix, afterRevision, listener);
  }

  grantLease(ttlMs: number): Promise<MetaLease> {
    return this.#read(() => this.#leases.grant(ttlMs));
  }

  /** Commits what was accepted, then closes. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#leases.close();
      while (this.#committing !== null) await this.#committing;
      this.#history.close();
      await this.#environment?.close();
    })();
    return this.#closing;
  }

  async #read<T>(read: () => T): Promise<T> {
    await Promise.resolve();
    while (this.#swapping !== null) await this.#swapping;
    if (this.#closing !== null) throw storeClosed();
    this.#opened.resetReadTxn();
    return read();
  }

  get #opened(): Environment {
    if (this.#environment !== null) return this.#environment;
    const message = `metadata in ${this.#path} could not be opened again; restart the daemon`;
    throw new MetaError(message, { code: 'IO', errno: '' });
  }

  #lookUp(key: string): MetaEntry | null | 'damaged' {
    const bytes = this.#opened.get(recordKey(key));
    return bytes === undefined ? null : (decodeRecord(key, bytes) ?? 'damaged');
  }

  #deleteKeysOf(lease: number): Promise<void> {
    return this.#submit((revision) => {
      const changes: MetaChange[] = [];
      for (const { key, bytes } of walkRecords(this.#opened, '')) {
        if (decodeRecord(key, bytes)?.lease === lease) changes.push({ kind: 'delete', key, revision });
      }
      return { conflicts: [], changes };
    }).then(() => undefined);
  }

  #submit(decide: Decide): Promise<MetaOutcome> {
    if (this.#closing !== null) return Promise.reject(storeClosed());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ decide, resolve, reject });
      this.#committing ??= this.#drain();
    });
  }

  async #drain(): Promise<void> {
    // Let the rest of this turn arrive: it shares the fdatasync.
    await Promise.resolve();
    while (this.#waiting.length > 0 || this.#scrubs.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      if (batch.length > 0) await this.#commitBatch(batch);
      const scrubs = this.#scrubs;
      this.#scrubs = [];
      if (scrubs.length > 0) await this.#scrubFor(scrubs);
    }
    this.#committing = null;
  }

  /** One scrub serves all who asked before it began. */
  async #scrubFor(scrubs: readonly PendingScrub[]): Promise<void> {
    try {
      // 1. Beside the old one, while reads go on; commits wait behind this.
      await clearSwap(this.#path);
      await copyEnvironment(this.#opened, copyPathOf(this.#path));
      // 2. In its place.
      this.#swapping = this.#swap().finally(() => {
        this.#swapping = null;
      });
      await this.#swapping;
      for (const { resolve } of scrubs) resolve();
    } catch (thrown) {
      const error = await translateLmdbError(this.#path, thrown);
      await clearSwap(this.#path).catch(() => undefined); // the next scrub, or start, tries again
      for (const { reject } of scrubs) reject(error);
    }
  }

  async #swap(): Promise<void> {
    const old = this.#opened;
    this.#environment = null;
    await old.close();
    try {
      await swapIn(this.#path, this.#onScrubStep);
    } finally {
      // Whichever of the two has the name now: both are whole, and say the same.
      this.#environment = openEnvironment(this.#path, false);
    }
  }

  async #commitBatch(batch: readonly Pending[]): Promise<void> {
    const decisions: Decision[] = [];
    let state = this.#state;
    try {
      // 1. Decide and write, in order. As a child transaction: what is thrown in here takes all of the batch back.
      await this.#opened.childTransaction(() => {
        for (const pending of batch) {
          const { decision, next } = this.#execute(pending.decide, state);
          decisions.push(decision);
          state = next;
        }
        if (state !== this.#state) this.#opened.putSync(stateKey(), Buffer.from(encodeState(state)));
      });
    } catch (thrown) {
      const error = await translateLmdbError(this.#path, thrown);
      for (const pending of batch) pending.reject(error);
      return;
    }
    // 2. It is durable. Publish only now, and before anyone is answered, so that a list after an answer shows it.
    this.#state = state;
    for (const [index, pending] of batch.entries()) {
      const decision = decisions[index];
      assert(decision !== undefined, 'every transaction of a committed batch was decided');
      if ('failure' in decision) {
        pending.reject(decision.failure);
        continue;
      }
      if (decision.changes.length > 0) this.#history.append(decision.outcome.revision, decision.changes);
      pending.resolve(decision.outcome);
    }
  }

  /** Runs inside the write transaction. Only planning may fail here; what fails while writing fails the whole batch. */
  #execute(decide: Decide, state: MetaState): { decision: Decision; next: MetaState } {
    let plan: TransactionPlan;
    try {
      plan = decide(state.revision + 1);
    } catch (failure) {
      return { decision: { failure }, next: state };
    }
    const { conflicts, changes } = plan;
    if (conflicts.length > 0) {
      return { decision: { outcome: { committed: false, revision: state.revision, conflicts }, changes }, next: state };
    }
    if (changes.length === 0) {
      return { decision: { outcome: { committed: true, revision: state.revision }, changes }, next: state };
    }
    let next: MetaState = { ...state, revision: state.revision + 1 };
    for (const change of changes) next = this.#write(change, next);
    return { decision: { outcome: { committed: true, revision: next.revision }, changes }, next };
  }

  #write(change: MetaChange, state: MetaState): MetaState {
    const key = changedKey(change);
    let { records, digest } = state;
    const old = this.#opened.get(recordKey(key));
    // A damaged record was never counted in: the sum holds valid ones only.
    if (old !== undefined && decodeRecord(key, old) !== null) {
      records--;
      digest ^= checksumOf(old);
    }
    if (change.kind === 'set') {
      const bytes = encodeRecord(change.entry);
      this.#opened.putSync(recordKey(key), Buffer.from(bytes));
      records++;
      digest ^= checksumOf(bytes);
    } else {
      this.#opened.removeSync(recordKey(key));
    }
    return { ...state, records, digest: digest >>> 0 };
  }
}

/**
 * Every lease was held by a process that is gone (the storage path is locked), so its keys go before anyone looks; and
 * the state record is written, new or corrected.
 */
async function beginHolding(path: string, environment: Environment): Promise<MetaState> {
  const found = survey(environment);
  if (found.state !== null && found.state.format > META_FORMAT) throw newerFormat(path, found.state.format);
  const revision = Math.max(found.state?.revision ?? 0, found.revisionMax);
  const state: MetaState = {
    format: META_FORMAT,
    records: found.records - found.leased.length,
    digest: found.leased.reduce((digest, { checksum }) => (digest ^ checksum) >>> 0, found.digest),
    revision: found.leased.length > 0 ? revision + 1 : revision,
  };
  try {
    await environment.childTransaction(() => {
      for (const { key } of found.leased) environment.removeSync(recordKey(key));
      environment.putSync(stateKey(), Buffer.from(encodeState(state)));
    });
  } catch (thrown) {
    throw await translateLmdbError(path, thrown);
  }
  return state;
}

/** Ends what a crash during a scrub left behind. */
async function endSwap(path: string): Promise<void> {
  try {
    await clearSwap(path);
  } catch (thrown) {
    throw await translateLmdbError(path, thrown);
  }
}

function newerFormat(path: string, found: number): MetaError {
  const message = `the metadata in ${path} was written by a newer version (format ${String(found)}, this one reads ${String(META_FORMAT)})`;
  return new MetaError(message, { code: 'VERSION', found, supported: META_FORMAT });
}
