/**
 * What every MetaStore keeps, whatever it is made of. Call it with a way to open an empty store; times are real,
 * because a server's leases run on its own clock.
 */
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { decodeJson, encodeJson } from '../../src/meta/json-value.js';
import { MetaError } from '../../src/meta/meta-error.js';
import type { MetaChange, MetaOutcome, MetaStore, MetaTransaction, WatchListener } from '../../src/meta/meta-store.js';

export interface ComplianceSubject {
  readonly store: MetaStore;
  /** Moves time on, or waits as long. */
  readonly pass: (ms: number) => Promise<void>;
}

const text = new TextEncoder();

function value(content: string): Uint8Array {
  return text.encode(content);
}

function codeOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'resolved',
    (thrown: unknown) => (thrown instanceof MetaError ? thrown.code : thrown),
  );
}

/** Records what a watch says, and lets a test wait for so many changes. */
class Recorder implements WatchListener {
  readonly seen: string[] = [];
  readonly revisions: number[] = [];
  lost: MetaError | null = null;
  #wake: () => void = () => undefined;

  onChanges(changes: readonly MetaChange[], revision: number): void {
    this.revisions.push(revision);
    for (const change of changes) {
      this.seen.push(
        change.kind === 'set'
          ? `${change.entry.key}=${new TextDecoder().decode(change.entry.value)}`
          : `-${change.key}`,
      );
    }
    this.#wake();
  }

  onLost(reason: MetaError): void {
    this.lost = reason;
    this.#wake();
  }

  async until(count: number): Promise<void> {
    while (this.seen.length < count && this.lost === null) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

export function describeMetaStore(
  name: string,
  open: (options: { historyChangesMax?: number }) => Promise<ComplianceSubject>,
): void {
  async function opened(options: { historyChangesMax?: number } = {}): Promise<ComplianceSubject> {
    const subject = await open(options);
    onTestFinished(() => subject.store.close());
    return subject;
  }

  describe(`${name} keeps the MetaStore contract`, () => {
    it('returns what was set, with its revisions', async () => {
      const { store } = await opened();
      const first = await store.transaction({ set: [{ key: 'a/1', value: value('one') }] });
      const second = await store.transaction({ set: [{ key: 'a/1', value: value('two') }] });
      expect(first.committed && second.committed && second.revision > first.revision).toBe(true);
      expect(await store.get('a/1')).toEqual({
        key: 'a/1',
        value: value('two'),
        revision: second.revision,
        createRevision: first.revision,
        lease: 0,
      });
      expect(await store.get('a/2')).toBeNull();
    });

    it('keeps empty and large values byte for byte', async () => {
      const { store } = await opened();
      const large = Uint8Array.from({ length: 300_000 }, (_, index) => (index * 31) & 0xff);
      await store.transaction({
        set: [
          { key: 'empty', value: new Uint8Array() },
          { key: 'large', value: large },
        ],
      });
      expect((await store.get('empty'))?.value).toEqual(new Uint8Array());
      expect(Buffer.from((await store.get('large'))?.value ?? []).equals(Buffer.from(large))).toBe(true);
    });

    it('shares no arrays with its callers', async () => {
      const { store } = await opened();
      const given = value('mine');
      const done = store.transaction({ set: [{ key: 'k', value: given }] });
      await done;
      given.fill(0);
      const got = await store.get('k');
      got?.value.fill(0);
      expect((await store.get('k'))?.value).toEqual(value('mine'));
    });

    it('lists a prefix in key order, with the revision it shows', async () => {
      const { store } = await opened();
      const keys = ['v/b', 'v/a', 'v0', 'v/a/x', 'u', 'v', 'w/1'];
      for (const key of keys) await store.transaction({ set: [{ key, value: value(key) }] });
      const listing = await store.list('v/');
      expect(listing.entries.map(({ key }) => key)).toEqual(['v/a', 'v/a/x', 'v/b']);
      expect(listing.damaged).toEqual([]);
      expect(listing.revision).toBe((await store.get('w/1'))?.revision);
      expect((await store.list('')).entries).toHaveLength(keys.length);
      expect((await store.list('nothing')).entries).toEqual([]);
    });

    it('applies a transaction whole or not at all', async () => {
      const { store } = await opened();
      const made = await store.transaction({
        compare: [{ key: 'x', revision: 0 }],
        set: [{ key: 'x', value: value('1') }],
      });
      expect(made.committed).toBe(true);
      const refused = await store.transaction({
        compare: [
          { key: 'x', revision: 0 },
          { key: 'y', revision: 0 },
          { key: 'z', revision: 7 },
        ],
        set: [{ key: 'y', value: value('2') }],
        delete: ['x'],
      });
      expect(refused).toEqual({ committed: false, revision: made.revision, conflicts: ['x', 'z'] });
      expect(await store.get('y')).toBeNull();
      expect((await store.get('x'))?.value).toEqual(value('1'));
    });

    it('lets exactly one of many contenders win', async () => {
      const { store } = await opened();
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          store.transaction({
            compare: [{ key: 'leader', revision: 0 }],
            set: [{ key: 'leader', value: value(String(index)) }],
          }),
        ),
      );
      expect(outcomes.filter(({ committed }) => committed)).toHaveLength(1);
    });

    it('loses no increment of a counter', async () => {
      const { store } = await opened();
      const increment = async (): Promise<void> => {
        for (;;) {
          const entry = await store.get('counter');
          const count = entry === null ? 0 : (decodeJson(entry) as number);
          const outcome = await store.transaction({
            compare: [{ key: 'counter', revision: entry?.revision ?? 0 }],
            set: [{ key: 'counter', value: encodeJson(count + 1) }],
          });
          if (outcome.committed) return;
        }
      };
      await Promise.all(Array.from({ length: 10 }, increment));
      const entry = await store.get('counter');
      expect(entry !== null && decodeJson(entry)).toBe(10);
    });

    it('does not grow its revision when nothing changes', async () => {
      const { store } = await opened();
      const { revision } = await store.transaction({ set: [{ key: 'a', value: value('1') }] });
      expect(await store.transaction({ delete: ['nothing'] })).toEqual({ committed: true, revision });
      expect(await store.transaction({ compare: [{ key: 'a', revision }] })).toEqual({ committed: true, revision });
      expect((await store.list('')).revision).toBe(revision);
    });

    it('gives a key that comes back a new beginning', async () => {
      const { store } = await opened();
      await store.transaction({ set: [{ key: 'a', value: value('1') }] });
      await store.transaction({ delete: ['a'] });
      expect(await store.get('a')).toBeNull();
      const { revision } = await store.transaction({
        compare: [{ key: 'a', revision: 0 }],
        set: [{ key: 'a', value: value('2') }],
      });
      expect(await store.get('a')).toMatchObject({ revision, createRevision: revision });
    });

    it('refuses our own mistakes loudly', async () => {
      const { store } = await opened();
      const wrong: MetaTransaction[] = [
        { set: [{ key: '', value: value('') }] },
        { set: [{ key: 'with space', value: value('') }] },
        { delete: ['a', 'a'] },
        { set: [{ key: 'a', value: value('') }], delete: ['a'] },
        { set: [{ key: 'a', value: new Uint8Array(1024 * 1024 + 1) }] },
      ];
      for (const transaction of wrong) {
        await expect((async () => store.transaction(transaction))()).rejects.toThrow(
          expect.objectContaining({ name: 'AssertionError' }),
        );
      }
    });

    it('tells a watch everything once, in order, from where it asked', async () => {
      const { store } = await opened();
      const first = await store.transaction({ set: [{ key: 'v/1', value: value('a') }] });
      await store.transaction({
        set: [
          { key: 'v/2', value: value('b') },
          { key: 'w/1', value: value('no') },
        ],
      });
      const recorder = new Recorder();
      const watch = store.watch('v/', first.revision, recorder);
      expect(recorder.seen).toEqual([]);
      await store.transaction({ delete: ['v/1'], set: [{ key: 'v/3', value: value('c') }] });
      await store.transaction({ set: [{ key: 'w/2', value: value('no') }] });
      await store.transaction({ set: [{ key: 'v/1', value: value('d') }] });
      await recorder.until(4);
      expect(recorder.seen).toEqual(['v/2=b', '-v/1', 'v/3=c', 'v/1=d']);
      expect([...recorder.revisions].sort((left, right) => left - right)).toEqual(recorder.revisions);
      watch.close();
      watch.close();
    });

    it('calls no listener after its watch was closed', async () => {
      const { store } = await opened();
      const closed = new Recorder();
      const open = new Recorder();
      const watch = store.watch('', 0, closed);
      store.watch('', 0, open);
      const done = store.transaction({ set: [{ key: 'a', value: value('1') }] });
      watch.close();
      await done;
      await open.until(1);
      expect(closed.seen).toEqual([]);
    });

    it('sends a late watch back to list again', async () => {
      const { store } = await opened({ historyChangesMax: 128 });
      let outcome: MetaOutcome = { committed: true, revision: 0 };
      for (let index = 0; index < 200; index++) {
        outcome = await store.transaction({ set: [{ key: `k/${String(index)}`, value: value('') }] });
      }
      const late = new Recorder();
      store.watch('k/', 1, late);
      await late.until(1);
      expect(late.lost?.code).toBe('COMPACTED');
      expect(late.seen).toEqual([]);
      const { revision } = await store.list('k/');
      expect(revision).toBe(outcome.revision);
      const again = new Recorder();
      store.watch('k/', revision, again);
      await store.transaction({ delete: ['k/0'] });
      await again.until(1);
      expect(again.seen).toEqual(['-k/0']);
    });

    it('deletes the keys of a lease that is not kept alive, and says so', async () => {
      const { store, pass } = await opened();
      const lease = await store.grantLease(1000);
      await store.transaction({
        set: [
          { key: 'l/a', value: value('1'), lease: lease.id },
          { key: 'l/b', value: value('2') },
        ],
      });
      expect((await store.get('l/a'))?.lease).toBe(lease.id);
      const { revision } = await store.list('');
      await pass(600);
      await lease.keepAlive();
      await pass(600);
      expect(await store.get('l/a')).not.toBeNull();
      const recorder = new Recorder();
      store.watch('l/', revision, recorder);
      await pass(1500);
      await recorder.until(1);
      expect(recorder.seen).toEqual(['-l/a']);
      expect((await store.list('l/')).entries.map(({ key }) => key)).toEqual(['l/b']);
      expect(await codeOf(lease.keepAlive())).toBe('LEASE_LOST');
      expect(await codeOf(store.transaction({ set: [{ key: 'l/c', value: value(''), lease: lease.id }] }))).toBe(
        'LEASE_LOST',
      );
    });

    it('frees a key from its lease when it is set without', async () => {
      const { store } = await opened();
      const lease = await store.grantLease(60_000);
      await store.transaction({
        set: [
          { key: 'a', value: value('1'), lease: lease.id },
          { key: 'b', value: value('1'), lease: lease.id },
        ],
      });
      await store.transaction({ set: [{ key: 'a', value: value('2') }] });
      await lease.revoke();
      await lease.revoke();
      expect((await store.list('')).entries.map(({ key }) => key)).toEqual(['a']);
    });

    it('answers CLOSED after it was closed', async () => {
      const { store } = await opened();
      await store.close();
      await store.close();
      expect(await codeOf(store.get('a'))).toBe('CLOSED');
      expect(await codeOf(store.list(''))).toBe('CLOSED');
      expect(await codeOf(store.transaction({ delete: ['a'] }))).toBe('CLOSED');
      expect(await codeOf(store.grantLease(1000))).toBe('CLOSED');
    });

    it('agrees with a simple model under any sequence of transactions', async () => {
      const { store } = await opened();
      const key = fc.constantFrom('p/a', 'p/b', 'p/c', 'q/a');
      const step = fc.record({
        guess: fc.option(fc.record({ key, fresh: fc.boolean() }), { nil: null }),
        set: fc.uniqueArray(fc.record({ key, content: fc.string({ maxLength: 5 }) }), {
          selector: (set) => set.key,
          maxLength: 3,
        }),
        remove: fc.uniqueArray(key, { maxLength: 2 }),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 8 }), async (steps) => {
          const present = await store.list('');
          if (present.entries.length > 0)
            await store.transaction({ delete: present.entries.map((entry) => entry.key) });
          const recorder = new Recorder();
          const { revision: from } = await store.list('');
          const watch = store.watch('', from, recorder);
          const model = new Map<string, { content: string; revision: number }>();
          let changed = 0;
          for (const { guess, set, remove } of steps) {
            const removed = remove.filter((name) => !set.some((other) => other.key === name));
            const known = guess === null ? 0 : (model.get(guess.key)?.revision ?? 0);
            const outcome = await store.transaction({
              compare: guess === null ? [] : [{ key: guess.key, revision: guess.fresh ? known : known + 1 }],
              set: set.map(({ key: name, content }) => ({ key: name, value: value(content) })),
              delete: removed,
            });
            expect(outcome.committed).toBe(guess?.fresh ?? true);
            if (!outcome.committed) continue;
            changed += set.length + removed.filter((name) => model.has(name)).length;
            for (const name of removed) model.delete(name);
            for (const { key: name, content } of set) model.set(name, { content, revision: outcome.revision });
          }
          const { entries } = await store.list('');
          const shown = entries.map((entry) => [
            entry.key,
            { content: new TextDecoder().decode(entry.value), revision: entry.revision },
          ]);
          expect(shown).toEqual([...model].sort(([left], [right]) => (left < right ? -1 : 1)));
          await recorder.until(changed);
          expect(recorder.seen).toHaveLength(changed);
          watch.close();
        }),
        { numRuns: 25 },
      );
    });
  });
}
