import { afterEach, beforeEach, expect, test } from 'vitest';
import { FakeDaemon } from './fake-daemon.js';
import { runWith } from './run-gfs.js';

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await FakeDaemon.start();
  daemon.add('kept', { reclaimPolicy: 'Retain' });
  daemon.add('gone', { reclaimPolicy: 'Delete', storageClass: 'fast-local-ssd' });
});

afterEach(() => {
  daemon.close();
});

test('delete under Retain asks nothing, for it destroys nothing', async () => {
  const { status, stdout } = await runWith(daemon, ['volume', 'delete', 'kept']);
  expect(status).toBe(0);
  expect(stdout).toBe('the data of kept is kept\n');
  expect(daemon.named('kept')?.volume.state).toBe('retained');
});

test('delete under Delete without a terminal never waits: status 2, and what to add', async () => {
  const { status, stderr } = await runWith(daemon, ['volume', 'delete', 'gone']);
  expect(status).toBe(2);
  expect(stderr).toContain('--force');
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect(daemon.named('gone')).toBeDefined();
});

test('delete --force asks nothing and says force to the daemon', async () => {
  const { status } = await runWith(daemon, ['volume', 'delete', 'gone', '--force']);
  expect(status).toBe(0);
  expect(daemon.calls).toEqual([{ method: 'delete', request: { volume: 'gone', force: true, withSnapshots: false } }]);
});

test('on a terminal yes deletes, by id, without dropping connections', async () => {
  const id = daemon.named('gone')?.volume.id;
  const { status, stderr } = await runWith(daemon, ['volume', 'delete', 'gone'], { typed: 'y\n' });
  expect(status).toBe(0);
  expect(stderr).toContain('Volume gone (1 GiB, 0 B used) and its data will be gone for good. Delete it? [y/N]');
  expect(daemon.calls.at(-1)).toEqual({
    method: 'delete',
    request: { volume: id, force: false, withSnapshots: false },
  });
});

test('purge asks about the retained volume, not about a live one of the same name', async () => {
  const old = { id: '0123456789abcdef', sizeBytes: 5 * 1024 ** 3, state: 'retained', retainedAtMs: 1 };
  daemon.add('kept', old);
  const { stderr } = await runWith(daemon, ['volume', 'purge', 'kept'], { typed: 'y\n' });
  expect(stderr).toContain('Volume kept (5 GiB, 0 B used) and its data will be gone for good. Purge it? [y/N]');
  expect(daemon.calls.at(-1)).toEqual({ method: 'purge', request: { volume: old.id, force: false } });
});

test('purge of a live volume asks nothing and is refused', async () => {
  const { status, stderr } = await runWith(daemon, ['volume', 'purge', 'kept'], { typed: 'y\n' });
  expect(status).toBe(1);
  expect(stderr).toBe('gfs: volume kept is not retained; delete it first: gfs volume delete kept\n');
  expect(daemon.methods()).not.toContain('purge');
});

test.each(['n\n', '\n', 'yup\n'])('on a terminal %j changes nothing', async (typed) => {
  const { status, stderr } = await runWith(daemon, ['volume', 'delete', 'gone'], { typed });
  expect(status).toBe(130);
  expect(stderr).toContain('nothing was changed');
  expect(daemon.methods()).toEqual(['get']);
});

test('Ctrl-C at the question changes nothing', async () => {
  const interruption = new AbortController();
  const run = runWith(daemon, ['volume', 'delete', 'gone'], { interactive: true, signal: interruption.signal });
  await daemon.until(() => daemon.methods().includes('get'));
  interruption.abort('interrupted');
  expect((await run).status).toBe(130);
  expect(daemon.methods()).toEqual(['get']);
});

test('purge and restore address retained volumes; purge needs --force without a terminal', async () => {
  await runWith(daemon, ['volume', 'delete', 'kept']);
  expect((await runWith(daemon, ['volume', 'purge', 'kept'])).status).toBe(2);
  expect((await runWith(daemon, ['volume', 'restore', 'kept', '--name', 'back'])).stdout).toBe('back restored\n');
  await runWith(daemon, ['volume', 'delete', 'back']);
  const purged = await runWith(daemon, ['volume', 'purge', 'back', '--force', '-o', 'json']);
  expect(JSON.parse(purged.stdout)).toMatchObject({ name: 'back', outcome: 'purged' });
  expect(daemon.named('back')).toBeUndefined();
});

test('an unknown volume is status 4 before any question', async () => {
  const { status, stderr } = await runWith(daemon, ['volume', 'delete', 'none'], { typed: 'y\n' });
  expect(status).toBe(4);
  expect(stderr).toBe('gfs: there is no volume "none"\n');
});
