import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Scrub } from '../../src/ipc/generated/scrub.js';
import { CREATED_MS, FakeDaemon } from './fake-daemon.js';
import { runWith } from './run-gfs.js';

let daemon: FakeDaemon;

beforeEach(async () => {
  daemon = await FakeDaemon.start();
});

afterEach(() => {
  daemon.close();
});

function scrubOf(name: string, fields: Partial<Scrub> = {}): Scrub {
  const { id } = daemon.add(name);
  const scrub: Scrub = {
    volumeId: id,
    name,
    state: 'idle',
    stateReason: '',
    run: undefined,
    last: {
      startedAtMs: CREATED_MS,
      endedAtMs: CREATED_MS + 5000,
      actor: 'schedule',
      activeMs: 4500,
      blocks: 100,
      bytes: 416_000,
      badBlocks: 0,
      outcome: 'clean',
      reason: '',
    },
    badBlocks: 0,
    bad: [],
    moreBadBlocks: 0,
    nextAtMs: CREATED_MS + 10_000,
    ...fields,
  };
  daemon.scrubs.set(id, scrub);
  return scrub;
}

const BAD = {
  offsetBytes: 8192,
  lengthBytes: 4096,
  snapshot: 'daily',
  shown: false,
  reason: 'the block does not authenticate',
  segment: 7,
  generation: 9,
  fileOffset: 12_345,
  layer: 3,
};

test('scrub begins one volume, or all, at a rate', async () => {
  scrubOf('data');
  const one = await runWith(daemon, ['volume', 'scrub', 'data', '--rate', '200M/s']);
  expect(one).toMatchObject({ status: 0, stderr: '' });
  expect((await runWith(daemon, ['volume', 'scrub', '--all'])).status).toBe(0);
  expect(daemon.calls.map(({ method, request }) => [method, request])).toEqual([
    ['scrubBegin', { volume: 'data', bytesPerSecond: 200 * 1024 ** 2 }],
    ['scrubBegin', { volume: '', bytesPerSecond: 0 }],
  ]);
});

test('scrub wants one volume or all, and a rate', async () => {
  scrubOf('data');
  expect((await runWith(daemon, ['volume', 'scrub'])).status).toBe(2);
  expect((await runWith(daemon, ['volume', 'scrub', 'data', '--all'])).status).toBe(2);
  expect((await runWith(daemon, ['volume', 'scrub', 'data', '--rate', '0'])).status).toBe(2);
  expect((await runWith(daemon, ['volume', 'scrub', 'cancel'])).status).toBe(2);
  expect((await runWith(daemon, ['volume', 'scrub', 'nobody'])).status).toBe(4);
});

test('--wait ends with what was found as its exit status', async () => {
  scrubOf('good');
  scrubOf('bad', { badBlocks: 1, bad: [BAD] });
  scrubOf('locked', { stateReason: 'it is locked' });
  expect((await runWith(daemon, ['volume', 'scrub', 'good', '--wait'])).status).toBe(0);
  const { status, stdout } = await runWith(daemon, ['volume', 'scrub', 'bad', '--wait']);
  expect(status).toBe(1);
  expect(stdout).toMatch(/8192\s+4096\s+snapshot daily\s+no\s+journal\/segment-00000007 at 12345\s+the block does not/);
  expect((await runWith(daemon, ['volume', 'scrub', 'locked', '-w'])).status).toBe(1);
});

test('status shows every volume in a line, and one with its ranges', async () => {
  scrubOf('good');
  scrubOf('under', {
    state: 'running',
    run: {
      ...{ startedAtMs: CREATED_MS, actor: 'cli uid=0', bytesPerSecond: 1024 ** 2 },
      ...{ bytes: 1024 ** 2, totalBytes: 4 * 1024 ** 2, blocks: 256, activeMs: 1000 },
    },
  });
  scrubOf('bad', { badBlocks: 3, bad: [BAD], moreBadBlocks: 2 });
  const all = await runWith(daemon, ['volume', 'scrub', 'status']);
  expect(all.stdout).toMatch(/under\s+running, 25%/);
  expect(all.stdout).toMatch(/good\s+idle.*clean/);
  const one = await runWith(daemon, ['volume', 'scrub', 'status', 'bad']);
  expect(one.stdout).toContain('and 2 more blocks');
  const json = JSON.parse(
    (await runWith(daemon, ['volume', 'scrub', 'status', 'bad', '-o', 'json'])).stdout,
  ) as object[];
  expect(json[0]).toMatchObject({ name: 'bad', badBlocks: 3, badRanges: [BAD], last: { activeSeconds: 4.5 } });
});

test('get shows the last scrub and what is bad', async () => {
  scrubOf('bad', { badBlocks: 3, bad: [BAD] });
  const text = await runWith(daemon, ['volume', 'get', 'bad']);
  expect(text.stdout).toMatch(/last scrub\s+clean/);
  expect(text.stdout).toMatch(/bad blocks\s+3/);
  const json = JSON.parse((await runWith(daemon, ['volume', 'get', 'bad', '-o', 'json'])).stdout) as object;
  expect(json).toMatchObject({ name: 'bad', scrub: { badBlocks: 3, badRanges: [{ fileOffset: 12_345 }] } });
});

test('cancel says that nothing is under way any more', async () => {
  scrubOf('data');
  const { stdout } = await runWith(daemon, ['volume', 'scrub', 'cancel', 'data']);
  expect(stdout).toContain('data: no scrub is under way any more');
  expect(daemon.calls.at(-1)).toEqual({ method: 'scrubCancel', request: { volume: 'data' } });
});

test('help and completion know the verb and those under it', async () => {
  scrubOf('data');
  const help = await runWith(daemon, ['volume', 'scrub', '--help']);
  expect(help.stdout).toContain('gfs volume scrub [VOLUME]');
  expect(help.stdout).toContain('gfs volume scrub status [VOLUME]');
  expect((await runWith(daemon, ['volume', 'scrub', 'status', '--help'])).stdout).toContain('what scrubs do');
  const under = await runWith(daemon, ['__complete', '--', 'volume', 'scrub', '']);
  expect(under.stdout.split('\n').map((line) => line.split('\t')[0])).toEqual(
    expect.arrayContaining(['status', 'cancel', 'data']),
  );
  const options = await runWith(daemon, ['__complete', '--', 'volume', 'scrub', 'cancel', '--a']);
  expect(options.stdout).toContain('--all');
});
