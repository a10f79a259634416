import { expect, it } from 'vitest';
import { SystemClock } from '../../src/base/system-clock.js';
import { GroupSync, type GroupSyncDependencies } from '../../src/store/journal/group-sync.js';

// A sync that had asked for a pad waited for ever when the head was changed before the pad, and what was to be appended to
// the new one failed: on a full disk a checkpoint never ended.
it('goes on by itself when the page that it wants closed is left behind', async () => {
  const tail = { appended: 5, appending: false, pageClosed: false };
  const synced: number[] = [];
  let pads = 0;
  const sync = new GroupSync({ durable: 3 }, {
    files: { sync: (file: number) => Promise.resolve(void synced.push(file)) },
    segmentFiles: { open: (slot: number) => Promise.resolve(slot) },
    pool: { zeroNext: () => undefined },
    clock: new SystemClock(),
    tail,
    wantPad: () => {
      pads += 1;
    },
    failed: (failure: Error) => expect.fail(failure.message),
  } as unknown as GroupSyncDependencies);
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
  const sync = new GroupSync({ durable: 3 }, {
    files: { sync: (file: number) => Promise.resolve(void synced.push(file)) },
    segmentFiles: { open: (slot: number) => Promise.resolve(slot) },
    pool: { zeroNext: () => undefined },
    clock: new SystemClock(),
    tail: { appended: 5, appending: false, pageClosed: true },
    wantPad: () => undefined,
    failed: (failure: Error) => expect.fail(failure.message),
  } as unknown as GroupSyncDependencies);
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
