import { expect, it } from 'vitest';
import { SystemClock } from '../../src/base/system-clock.js';
import { GroupSync, type GroupSyncDependencies } from '../../src/store/journal/group-sync.js';

/** Five records are appended, three of them durable. `sync`: what an fdatasync of a slot's file does. */
function groupSyncOver(world: {
  readonly sync: (slot: number) => Promise<void>;
  readonly pageClosed?: boolean;
  readonly wantPad?: () => void;
  readonly pin?: (slot: number) => void;
  readonly unpin?: (slot: number) => void;
}) {
  const nothing = (): void => undefined;
  const { sync, pageClosed = true, wantPad = nothing, pin = nothing, unpin = nothing } = world;
  const tail = { appended: 5, appending: false, pageClosed };
  const dependencies = {
    files: { sync },
    segmentFiles: { open: (slot: number) => Promise.resolve(slot), pin, unpin },
    pool: { zeroNext: nothing },
    clock: new SystemClock(),
    tail,
    wantPad,
    failed: (failure: Error) => expect.fail(failure.message),
  } as unknown as GroupSyncDependencies;
  return { sync: new GroupSync({ durable: 3 }, dependencies), tail };
}

// A sync that had asked for a pad waited for ever when the head was changed before the pad, and what was to be appended to
// the new one failed: on a full disk a checkpoint never ended.
it('goes on by itself when the page that it wants closed is left behind', async () => {
  const synced: number[] = [];
  let pads = 0;
  const { sync, tail } = groupSyncOver({
    sync: async (slot) => void synced.push(slot),
    pageClosed: false,
    wantPad: () => (pads += 1),
  });
  sync.head(1, 'new');
  sync.appended(1, true);
  const done = new Promise((resolve) => {
    sync.want(5, resolve);
  });
  expect([pads, sync.padWanted]).toEqual([1, true]);

  tail.pageClosed = true;
  sync.head(2, 'new');

  expect(await done).toBeNull();
  expect(synced).toEqual([1, 2]);
  expect([sync.durable, sync.padWanted]).toEqual([5, false]);
});

// Its segment was freed and its file removed once a checkpoint did not need it; the next sync failed for the lack of it, and the
// store reopened.
it('forgets a segment that was left without a record once its header is durable', async () => {
  const synced: number[] = [];
  const { sync } = groupSyncOver({ sync: async (slot) => void synced.push(slot) });
  sync.head(1, 'old');
  sync.head(2, 'new');
  sync.appended(2, true);
  sync.head(3, 'new');
  await sync.headersSynced();
  expect(synced).toEqual([2, 3]);
  sync.head(4, 'new');
  sync.appended(4, true);

  expect(await new Promise((resolve) => sync.want(5, resolve))).toBeNull();

  // What has records is synced for these, in the order of the chain; 3 has none.
  expect(synced).toEqual([2, 3, 2, 4]);
});

it('keeps the file of a segment without a record from being removed until the sync that began before has passed it', async () => {
  const pinned = new Map<number, number>();
  let end = (): void => undefined;
  const first = new Promise<void>((resolve) => (end = resolve));
  const synced: number[] = [];
  const { sync } = groupSyncOver({
    sync: async (slot) => {
      synced.push(slot);
      if (synced.length === 1) await first;
    },
    pin: (slot) => pinned.set(slot, (pinned.get(slot) ?? 0) + 1),
    unpin: (slot) => pinned.set(slot, (pinned.get(slot) ?? 0) - 1),
  });
  sync.head(1, 'old');
  sync.appended(1, true);
  sync.head(2, 'new');
  const done = new Promise((resolve) => sync.want(5, resolve));

  // A checkpoint makes the header durable; the segment is part of the chain no more, and comes free.
  await sync.headersSynced();

  expect(synced).toEqual([1, 2]);
  expect(pinned.get(2)).toBe(1);
  end();
  expect(await done).toBeNull();
  expect(synced).toEqual([1, 2, 2]);
  expect([pinned.get(1), pinned.get(2)]).toEqual([0, 0]);
});
