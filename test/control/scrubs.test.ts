import { expect, test } from 'vitest';
import { CryptoError } from '../../src/crypto/crypto-error.js';
import type { ScrubProgress, ScrubRequest } from '../../src/volume/volume-scrub.js';
import { settle } from '../base/waiting.js';
import { eachWithPlane, plane, restart, world } from './each-with-plane.js';
import { FakeWorld, request, TESTER } from './fake-world.js';
import type { FakeHandle } from './fake-host.js';

const DAY_MS = 86_400_000;
eachWithPlane();

function step(leaf: number, bad: ScrubProgress['bad'] = []): ScrubProgress {
  return { position: { layer: 1, leaf }, blocks: 10, bytes: 41_600, bad };
}

function badAt(block: number, blocks = 1): ScrubProgress['bad'][number] {
  return {
    layer: 1,
    offsetBytes: block * 4096,
    lengthBytes: blocks * 4096,
    segment: 3,
    generation: 9,
    fileOffset: 8192 + block * 4160,
    status: 2,
    reason: 'the block does not authenticate',
    shown: true,
  };
}

/** A volume whose scrub makes these steps. */
async function volumeWith(name: string, steps: readonly ScrubProgress[]): Promise<FakeHandle> {
  await plane.volumes.create(request(name), TESTER);
  const handle = handleOf(name);
  handle.scrubSteps = steps;
  return handle;
}

function handleOf(name: string): FakeHandle {
  const { id } = plane.volumes.get(name, false);
  const handle = [...world.host.handles.values()].find(({ volumeId }) => volumeId === id);
  if (handle === undefined) throw new Error(`${name} is not open`);
  return handle;
}

/** Makes its scrubs wait at each step; returns what lets one step go. */
function hold(handle: FakeHandle): () => Promise<void> {
  let go: (() => void) | undefined;
  handle.beforeScrubStep = ({ signal }: ScrubRequest) =>
    new Promise((resolve) => {
      go = resolve;
      signal.addEventListener('abort', () => resolve());
    });
  return async () => {
    await settle();
    go?.();
    await settle();
  };
}

async function status(name: string) {
  const [view] = await plane.scrubs.status(name);
  return view;
}

function eventsOf(kind: string): string[] {
  return plane.events.recent(0, '').flatMap((event) => (event.kind === kind ? [event.message] : []));
}

test('a scrub that finds nothing says so, with what it has read', async () => {
  await volumeWith('data', [step(0), step(128)]);
  expect((await status('data')).last).toBe(null);
  await plane.scrubs.begin('data', 0, TESTER);
  await settle();
  const view = await status('data');
  expect(view).toMatchObject({ state: 'idle', run: null, badBlocks: 0, bad: [] });
  expect(view.last).toMatchObject({ outcome: 'clean', blocks: 20, bytes: 83_200, badBlocks: 0, actor: 'test' });
  expect(eventsOf('scrub.started')).toHaveLength(1);
  expect(eventsOf('scrub.ended')[0]).toContain('everything right');
  expect(plane.scrubs.readBytes).toBe(83_200);
});

test('what it finds is marked, told and measured, until it is clean again or a later run does not find it', async () => {
  const handle = await volumeWith('data', [step(0, [badAt(5, 3)]), step(128, [badAt(8, 2), badAt(700)])]);
  await plane.scrubs.begin('data', 0, TESTER);
  await settle();
  const view = await status('data');
  expect(view.last?.outcome).toBe('damaged');
  expect(view.badBlocks).toBe(6);
  // Neighbours are one range.
  expect(view.bad.map(({ offsetBytes, lengthBytes }) => [offsetBytes / 4096, lengthBytes / 4096])).toEqual([
    [5, 5],
    [700, 1],
  ]);
  expect(view.bad[0]).toMatchObject({ snapshot: '', shown: true, segment: 3, fileOffset: 8192 + 5 * 4160 });
  expect(eventsOf('scrub.damage')[0]).toContain('12288 bytes at 20480: the block does not authenticate');
  expect(plane.problems().map(({ reason }) => reason)).toEqual(['6 blocks of it cannot be read: found by a scrub']);
  expect(plane.scrubs.measures()[0]).toMatchObject({ badBlocks: 6, running: false });

  await restart();
  expect((await status('data')).badBlocks).toBe(6);
  world.host.mended = (range) => range.offsetBytes === 700 * 4096;
  expect((await status('data')).badBlocks).toBe(5);
  await restart();
  world.host.mended = () => false;
  expect((await status('data')).badBlocks).toBe(5);

  handleOf('data').scrubSteps = [step(0), step(128)];
  await plane.scrubs.begin('data', 0, TESTER);
  await settle();
  expect(await status('data')).toMatchObject({ badBlocks: 0, last: { outcome: 'clean' } });
  expect(plane.problems()).toEqual([]);
  expect(handle.closed).toBe(true);
});

test('more ranges than are kept are counted', async () => {
  const bad = Array.from({ length: 600 }, (_, n) => badAt(n * 2));
  await volumeWith('data', [step(0, bad)]);
  await plane.scrubs.begin('data', 0, TESTER);
  await settle();
  expect(await status('data')).toMatchObject({ badBlocks: 600, moreBadBlocks: 100, last: { badBlocks: 600 } });
  expect(eventsOf('scrub.damage')).toHaveLength(20);
});

test('a run goes on after a restart where it was', async () => {
  const handle = await volumeWith('data', [step(0), step(128, [badAt(5)]), step(256), step(384)]);
  const go = hold(handle);
  await plane.scrubs.begin('data', 2 ** 20, TESTER);
  await go();
  await go();
  await go();
  expect(await status('data')).toMatchObject({ state: 'running', run: { blocks: 30, bytesPerSecond: 2 ** 20 } });
  const before = await status('data');
  await plane.close();
  world.host.handles.clear();
  let from: unknown;
  world.host.opened = (opened) => {
    opened.scrubSteps = [step(256), step(384)];
    opened.beforeScrubStep = (asked) => {
      from ??= asked.from;
      return Promise.resolve();
    };
  };
  await restart();
  await settle();
  expect(from).toEqual({ layer: 1, leaf: 256 });
  const { last, badBlocks } = await status('data');
  expect(last).toMatchObject({ outcome: 'damaged', startedAtMs: before.run?.startedAtMs, blocks: 50, badBlocks: 1 });
  expect(badBlocks).toBe(1);
});

test('a kill loses little: the position is stored now and then', async () => {
  const handle = await volumeWith('data', [step(0), step(128), step(256)]);
  const go = hold(handle);
  await plane.scrubs.begin('data', 0, TESTER);
  await go();
  world.clock.advance(11_000);
  await go();
  await settle();
  const key = `control/scrub/${plane.volumes.get('data', false).id}`;
  const stored = JSON.parse(Buffer.from((await world.meta.get(key))?.value ?? []).toString()) as object;
  expect(stored).toMatchObject({ run: { position: { layer: 1, leaf: 128 }, blocks: 20 } });
});

test('one runs at a time, the others wait for their turn', async () => {
  const go = hold(await volumeWith('a', [step(0)]));
  await volumeWith('b', [step(0)]);
  expect((await plane.scrubs.beginAll(0, TESTER)).map(({ name, state }) => [name, state])).toEqual([
    ['a', 'running'],
    ['b', 'queued'],
  ]);
  await go();
  expect((await status('a')).last?.outcome).toBe('clean');
  expect((await status('b')).last?.outcome).toBe('clean');
});

test('a run is cancelled while it waits and while it runs; what it found stays', async () => {
  const go = hold(await volumeWith('a', [step(0, [badAt(1)]), step(128)]));
  await volumeWith('b', [step(0)]);
  await plane.scrubs.beginAll(0, TESTER);
  await go();
  const cancelled = await plane.scrubs.cancelAll(TESTER);
  expect(cancelled.map(({ state, last }) => [state, last?.outcome])).toEqual([
    ['idle', 'cancelled'],
    ['idle', 'cancelled'],
  ]);
  expect(await status('a')).toMatchObject({ badBlocks: 1, run: null });
  await restart();
  await settle();
  expect((await status('a')).run).toBe(null);
  expect((await plane.scrubs.cancel('a', TESTER)).last?.outcome).toBe('cancelled');
});

test('a failure ends a run with its reason', async () => {
  const handle = await volumeWith('data', [step(0)]);
  handle.beforeScrubStep = () => Promise.reject(new Error('the disk is on fire'));
  await plane.scrubs.begin('data', 0, TESTER);
  await settle();
  expect((await status('data')).last).toMatchObject({ outcome: 'failed', reason: 'the disk is on fire' });
});

test('a volume that is deleted takes its run and its marks along; one that is kept is not scrubbed', async () => {
  const go = hold(await volumeWith('data', [step(0, [badAt(1)]), step(128)]));
  await plane.scrubs.begin('data', 0, TESTER);
  await go();
  const { id } = plane.volumes.get('data', false);
  await plane.volumes.delete('data', true, TESTER);
  await go();
  await world.advance(61_000);
  expect(await world.meta.get(`control/scrub/${id}`)).toBe(null);

  await volumeWith('kept', []);
  await plane.volumes.delete('kept', false, TESTER);
  await expect(plane.scrubs.begin('kept', 0, TESTER)).rejects.toThrow('no volume');
});

test('a locked volume is refused with the reason, and left out of all', async () => {
  await volumeWith('data', [step(0)]);
  await plane.volumes.create(request('open', { storageClass: 'fast-local-ssd' }), TESTER);
  await plane.close();
  world.host.kill();
  world.vault.trouble = new CryptoError('no copy', { code: 'MISSING', subject: 'data key 1' });
  await restart();
  await expect(plane.scrubs.begin('data', 0, TESTER)).rejects.toThrow(
    /without its key its blocks cannot be authenticated/,
  );
  const views = await plane.scrubs.beginAll(0, TESTER);
  expect(views.find(({ name }) => name === 'data')).toMatchObject({ state: 'idle', run: null });
  expect(views.find(({ name }) => name === 'data')?.stateReason).toContain('locked');
  await settle();
  expect((await status('open')).last?.outcome).toBe('clean');
});

test('rates that make no sense are refused', async () => {
  await volumeWith('data', []);
  await expect(plane.scrubs.begin('data', 5, TESTER)).rejects.toThrow('64K');
  await expect(plane.scrubs.begin('nobody', 0, TESTER)).rejects.toThrow('no volume');
});

test('the schedule scrubs what is due, and nothing before', async () => {
  const own = new FakeWorld();
  const scheduled = await own.start({ scrubs: { intervalMs: 7 * DAY_MS, bytesPerSecond: 2 ** 20 } });
  try {
    await scheduled.volumes.create(request('data'), TESTER);
    const [{ nextAtMs }] = await scheduled.scrubs.status('data');
    expect(nextAtMs - own.clock.wallMs()).toBe(7 * DAY_MS);
    await own.advance(7 * DAY_MS - 120_000);
    expect((await scheduled.scrubs.status('data'))[0].last).toBe(null);
    for (let minute = 0; minute < 3; minute += 1) await own.advance(60_000);
    const [{ last, nextAtMs: again }] = await scheduled.scrubs.status('data');
    expect(last).toMatchObject({ outcome: 'clean', actor: 'schedule' });
    expect(again).toBe((last?.endedAtMs ?? 0) + 7 * DAY_MS);
    for (let minute = 0; minute < 5; minute += 1) await own.advance(60_000);
    expect((await scheduled.scrubs.status('data'))[0].last?.endedAtMs).toBe(last?.endedAtMs);
  } finally {
    await scheduled.close();
  }
});
