import { readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readBlocks, writeBlock } from '../control/snapshots/blocks.js';
import { RealPlane } from './real-plane.js';

let real: RealPlane;

beforeEach(async () => {
  real = await RealPlane.start();
  await real.ok('volume', 'create', 'web', '--size', '1M');
});

afterEach(() => real.close());

const write = (volume: string, index: number, value: number): Promise<void> =>
  writeBlock(real.world, real.plane, volume, index, value);
const read = (volume: string): Promise<number[]> => readBlocks(real.world, real.plane, volume);

describe('gfs volume snapshot', () => {
  test('create, list, get, rename, hold, release and delete say what came of them', async () => {
    await write('web', 0, 1);
    expect(await real.ok('volume', 'snapshot', 'create', 'web', '--name', 'monday', '-l', 'a=b')).toBe(
      'web@monday taken',
    );
    const table = await real.ok('snapshot', 'list', 'web');
    expect(table.split('\n')[0]).toMatch(/SNAPSHOT +SIZE +EXCLUSIVE +REFERENCED +STATE +HELD +ORIGIN +AGE +LABELS/);
    expect(table).toMatch(/web@monday +1 MiB +4 KiB +4 KiB +available +- +manual +\S+ +a=b/);
    expect(await real.json('snapshot', 'get', 'web@monday')).toMatchObject({
      name: 'monday',
      volume: 'web',
      sizeBytes: 1024 * 1024,
      exclusiveBytes: 4096,
      referencedBytes: 4096,
      held: false,
      origin: 'manual',
      labels: { a: 'b' },
      state: 'available',
      progress: null,
      export: null,
    });
    expect(await real.ok('volume', 'get', 'web@monday')).toMatch(/exclusive +4 KiB, which deleting it would free/);
    expect(await real.json('volume', 'get', 'web')).toMatchObject({ snapshots: 1, origin: '' });
    expect(await real.ok('volume', 'snapshot', 'rename', 'web@monday', 'first')).toBe('web@monday is now web@first');
    expect(await real.ok('volume', 'snapshot', 'hold', 'web@first')).toBe('web@first is held');
    const held = await real.gfs(['volume', 'snapshot', 'delete', 'web@first', '--force']);
    expect(held).toMatchObject({
      status: 1,
      stderr: 'gfs: web@first is held; `gfs volume snapshot release web@first` lifts that\n',
    });
    expect(await real.ok('snapshot', 'release', 'web@first')).toBe('web@first is no longer held');
    expect((await real.gfs(['snapshot', 'delete', 'web@first'])).status).toBe(2);
    expect(await real.ok('snapshot', 'delete', 'web@first', '--force')).toBe('web@first deleted');
    expect(await real.ok('snapshot', 'list')).toBe('no snapshots');
  });

  test('a deletion shows how far it is', async () => {
    await real.ok('snapshot', 'create', 'web', '--name', 'a');
    real.world.host.holdMerges = true;
    await real.ok('snapshot', 'delete', 'web@a', '--force');
    expect(await real.ok('snapshot', 'list')).toContain('deleting, 25%');
    expect(await real.json('snapshot', 'get', 'web@a')).toMatchObject({ state: 'deleting', progress: 0.25 });
  });

  test('a terminal is asked before a snapshot is deleted', async () => {
    await real.ok('snapshot', 'create', 'web', '--name', 'a');
    const answer = (typed: string): ReturnType<RealPlane['gfs']> =>
      real.gfs(['snapshot', 'delete', 'web@a'], { typed, columns: 80 });
    expect((await answer('n\n')).status).toBe(130);
    expect((await answer('y\n')).status).toBe(0);
  });

  test('a group is named with commas', async () => {
    await real.ok('volume', 'create', 'log', '--size', '1M');
    const taken = await real.json('volume', 'snapshot', 'create', '--group', 'web,log', '--name', 'nightly');
    expect(taken.map((one: { volume: string }) => one.volume)).toEqual(['web', 'log']);
    expect((await real.gfs(['snapshot', 'create'])).status).toBe(2);
    expect((await real.gfs(['snapshot', 'create', '--group', 'web,,log'])).status).toBe(2);
  });

  test('statuses tell slips apart', async () => {
    expect(await real.gfs(['snapshot', 'get', 'web@none'])).toMatchObject({ status: 4 });
    expect(await real.gfs(['snapshot', 'get', 'web'])).toMatchObject({ status: 2 });
    expect(await real.gfs(['snapshot', 'create', 'web', '--name', 'A'])).toMatchObject({ status: 2 });
    expect(await real.gfs(['snapshot', 'create', 'none'])).toMatchObject({ status: 4 });
    await real.ok('snapshot', 'create', 'web', '--name', 'a');
    expect(await real.gfs(['snapshot', 'create', 'web', '--name', 'a'])).toMatchObject({ status: 1 });
    const refused = await real.gfs(['volume', 'delete', 'web', '--force']);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain('--with-snapshots');
    expect((await real.gfs(['volume', 'delete', 'web', '--force', '--with-snapshots'])).status).toBe(0);
  });

  test('revert and clone', async () => {
    await write('web', 0, 1);
    await real.ok('snapshot', 'create', 'web', '--name', 'a');
    await write('web', 0, 2);
    const clone = await real.ok('volume', 'clone', 'web@a', '--name', 'copy', '--size', '2M');
    expect(clone).toMatch(/^copy cloned from web@a: 2 MiB, id /);
    expect(await real.ok('volume', 'get', 'copy')).toMatch(/cloned from +web@a/);
    const reverted = await real.json('snapshot', 'revert', 'web@a');
    expect(reverted.volume).toMatchObject({ name: 'web', state: 'available' });
    expect(await read('web')).toEqual([1, 0, 0, 0]);
    await real.ok('volume', 'snapshot', 'revert', `web@${String(reverted.safetySnapshot)}`);
    expect(await read('web')).toEqual([2, 0, 0, 0]);
    expect((await real.gfs(['volume', 'clone', 'web'])).status).toBe(2);
  });

  test('export, kick and unexport take a snapshot as well', async () => {
    await real.ok('snapshot', 'create', 'web', '--name', 'a');
    expect(await real.ok('volume', 'export', 'web@a')).toMatch(/^web@a is exported read-only:\n {2}nbd:/);
    const { id } = await real.json('snapshot', 'get', 'web@a');
    real.world.exports.connect(id, '127.0.0.1:7');
    expect((await real.gfs(['volume', 'unexport', 'web@a'])).status).toBe(1);
    expect(await real.ok('volume', 'kick', 'web@a')).toBe('dropped 127.0.0.1:7');
    expect(await real.ok('volume', 'unexport', 'web@a')).toBe('web@a is no longer exported');
  });
});

describe('gfs volume diff', () => {
  test('lists changed ranges as a table and as one array', async () => {
    await write('web', 1, 1);
    await real.ok('snapshot', 'create', 'web', '--name', 'a');
    await write('web', 1, 0);
    await write('web', 7, 1);
    await real.ok('snapshot', 'create', 'web', '--name', 'b');
    expect(await real.json('volume', 'diff', 'web@a', 'web@b')).toEqual([
      { offsetBytes: 4096, lengthBytes: 4096, data: false },
      { offsetBytes: 28_672, lengthBytes: 4096, data: true },
    ]);
    expect((await real.ok('volume', 'diff', 'web@a')).split('\n').map((line) => line.trim().split(/ +/))).toEqual([
      ['OFFSET', 'LENGTH', 'NOW'],
      ['4096', '4096', 'data'],
    ]);
    expect(await real.ok('volume', 'diff', 'web@b', 'web')).toBe('nothing has changed');
    expect(await real.json('volume', 'diff', 'web@b', 'web')).toEqual([]);
    expect((await real.ok('volume', 'diff', 'web@a', 'web', '-o', 'yaml')).split('\n')[0]).toBe('- offsetBytes: 4096');
    await real.ok('volume', 'create', 'other', '--size', '1M');
    expect((await real.gfs(['volume', 'diff', 'web@a', 'other'])).stderr).toContain('no history in common');
  });
});

describe('gfs volume snapshot schedule', () => {
  test('is set, shown with its zone, and ended', async () => {
    const line = ['snapshot', 'schedule', 'web', '--cron', '30 6 * * *', '--keep', '24', '--keep-daily', '7'];
    expect(await real.ok(...line, '--time-zone', 'Europe/Berlin')).toBe(
      'web is snapshotted at "30 6 * * *" (Europe/Berlin), keeping last 24, daily 7; next: 2023-11-15 06:30',
    );
    expect(await real.json('volume', 'snapshot', 'schedules')).toEqual([
      {
        volume: 'web',
        volumeId: expect.any(String),
        cron: '30 6 * * *',
        timeZone: 'Europe/Berlin',
        keep: { last: 24, hourly: 0, daily: 7, weekly: 0, monthly: 0 },
        nextRunAt: '2023-11-15T05:30:00.000Z',
        last: null,
      },
    ]);
    expect(await real.ok('snapshot', 'schedules')).toMatch(/web +30 6 \* \* \* +Europe\/Berlin .* has not run yet/);
    expect(await real.ok('snapshot', 'unschedule', 'web')).toBe('web is no longer snapshotted by itself');
    expect((await real.gfs(['snapshot', 'unschedule', 'web'])).status).toBe(4);
    expect((await real.gfs(['snapshot', 'schedule', 'web', '--cron', '0 * * * *'])).status).toBe(2);
    expect((await real.gfs(['snapshot', 'schedule', 'web', '--cron', 'x', '--keep', '1'])).status).toBe(2);
    expect((await real.gfs(['snapshot', 'schedule', 'web', '--keep', '1'])).status).toBe(2);
  });
});

describe('gfs volume send and receive', () => {
  test('carry a snapshot, and then a difference, through files', async () => {
    await write('web', 0, 1);
    await real.ok('snapshot', 'create', 'web', '--name', 'a');
    await write('web', 1, 2);
    await real.ok('snapshot', 'create', 'web', '--name', 'b');
    await real.ok('volume', 'send', 'web@a', '--file', 'sealed.gfs');
    await real.ok('volume', 'receive', 'sealed', '--file', 'sealed.gfs');
    const aimless = ['volume', 'receive', 'other', '--file', 'sealed.gfs', '--recovery-passphrase-file', 'secret'];
    expect((await real.gfs(aimless)).stderr).toContain('a passphrase is for a --recovery-file, and none is named');
    const absent = ['volume', 'receive', 'other', '--file', 'sealed.gfs', '--recovery-file', 'absent'];
    expect((await real.gfs(absent)).stderr).toContain('there is no file absent');
    expect((await real.json('volume', 'send', 'web@a', '--decrypt', '--file', 'a.gfs')).sentBytes).toBeGreaterThan(
      4096,
    );
    await real.ok('volume', 'send', 'web@b', '--from', 'web@a', '--decrypt', '--file', 'b.gfs');
    expect(await real.ok('volume', 'receive', 'copy', '--file', 'a.gfs')).toBe('copy@a received: 1 MiB, 4 KiB used');
    const received = await real.json('volume', 'receive', 'copy', '--file', 'b.gfs');
    expect(received).toMatchObject({ volume: { name: 'copy', snapshots: 2 }, snapshot: { name: 'b' } });
    expect(await read('copy')).toEqual([1, 2, 0, 0]);
  });

  test('a stream that was cut leaves nothing, and says so', async () => {
    await write('web', 0, 1);
    await real.ok('snapshot', 'create', 'web', '--name', 'a');
    await real.ok('volume', 'send', 'web@a', '--decrypt', '--file', 'a.gfs');
    const path = join(real.folder, 'a.gfs');
    truncateSync(path, readFileSync(path).length - 10);
    const { status, stderr } = await real.gfs(['volume', 'receive', 'copy', '--file', 'a.gfs']);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^gfs: the stream was cut after \d+ bytes: .* nothing of it was kept\n$/);
    expect((await real.gfs(['volume', 'get', 'copy'])).status).toBe(4);
    expect((await real.gfs(['volume', 'receive', 'copy', '--file', 'none.gfs'])).status).toBe(1);
  });

  test('a terminal gets no stream and gives none', async () => {
    await real.ok('snapshot', 'create', 'web', '--name', 'a');
    expect((await real.gfs(['volume', 'send', 'web@a', '--decrypt'], { columns: 80 })).status).toBe(2);
    expect((await real.gfs(['volume', 'receive', 'copy'], { interactive: true })).status).toBe(2);
  });
});
