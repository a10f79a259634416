/** The latest changes of a store, bounded, and the watches that follow them. */
import { assert } from '../base/assert.js';
import { MetaError } from './meta-error.js';
import type { MetaChange, MetaEntry, Watch, WatchListener } from './meta-store.js';
import { changedKey } from './transaction-plan.js';

interface Moment {
  readonly revision: number;
  readonly changes: readonly MetaChange[];
}

class Follower implements Watch {
  readonly prefix: string;
  readonly listener: WatchListener;
  /** Everything up to this revision was delivered. */
  revision: number;
  closed = false;
  scheduled = false;

  constructor(prefix: string, afterRevision: number, listener: WatchListener) {
    this.prefix = prefix;
    this.revision = afterRevision;
    this.listener = listener;
  }

  close(): void {
    this.closed = true;
  }
}

/** Changes by revision, at most so many, and who follows them. Listeners are never called inside a call of ours. */
export class ChangeHistory {
  readonly #changesMax: number;
  readonly #moments: Moment[] = [];
  readonly #followers = new Set<Follower>();
  #changeCount = 0;
  /** Changes up to this revision are gone. */
  #forgottenRevision: number;
  #revision: number;

  /** `revision`: of the store now; what led to it is not kept. */
  constructor(changesMax: number, revision: number) {
    this.#changesMax = changesMax;
    this.#forgottenRevision = revision;
    this.#revision = revision;
  }

  get revision(): number {
    return this.#revision;
  }

  append(revision: number, changes: readonly MetaChange[]): void {
    assert(revision > this.#revision && changes.length > 0, 'revisions ascend, and each changes something');
    this.#revision = revision;
    this.#moments.push({ revision, changes });
    this.#changeCount += changes.length;
    while (this.#changeCount > this.#changesMax) {
      const oldest = this.#moments.shift();
      assert(oldest !== undefined, 'what was counted is there');
      this.#changeCount -= oldest.changes.length;
      this.#forgottenRevision = oldest.revision;
    }
    for (const follower of this.#followers) this.#schedule(follower);
  }

  watch(prefix: string, afterRevision: number, listener: WatchListener): Watch {
    const follower = new Follower(prefix, afterRevision, listener);
    this.#followers.add(follower);
    this.#schedule(follower);
    return follower;
  }

  /** Ends every watch without a word: whoever closes the store knows it. */
  close(): void {
    for (const follower of this.#followers) follower.close();
    this.#followers.clear();
  }

  #schedule(follower: Follower): void {
    if (follower.scheduled) return;
    follower.scheduled = true;
    // Listeners run on a clean stack: never inside watch() or a commit, whose caller may hold half-changed state.
    queueMicrotask(() => {
      follower.scheduled = false;
      this.#deliver(follower);
    });
  }

  #deliver(follower: Follower): void {
    if (follower.closed) {
      this.#followers.delete(follower);
      return;
    }
    if (follower.revision < this.#forgottenRevision) {
      follower.closed = true;
      this.#followers.delete(follower);
      const message = `changes before revision ${String(this.#forgottenRevision + 1)} are no longer kept`;
      follower.listener.onLost(new MetaError(message, { code: 'COMPACTED', oldestRevision: this.#forgottenRevision }));
      return;
    }
    for (const { revision, changes } of this.#moments.slice(this.#firstAfter(follower.revision))) {
      follower.revision = revision;
      const seen = changes.filter((change) => changedKey(change).startsWith(follower.prefix)).map(copyOf);
      if (seen.length > 0) follower.listener.onChanges(seen, revision);
      // A listener may close its own watch.
      if (follower.closed as boolean) return;
    }
  }

  /** Index of the first moment after `revision`, by bisection. */
  #firstAfter(revision: number): number {
    let low = 0;
    let high = this.#moments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#moments[middle]?.revision ?? 0) > revision) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** Each listener gets values of its own. */
function copyOf(change: MetaChange): MetaChange {
  return change.kind === 'set' ? { kind: 'set', entry: copyOfEntry(change.entry) } : change;
}

export function copyOfEntry(entry: MetaEntry): MetaEntry {
  return { ...entry, value: Uint8Array.from(entry.value) };
}
