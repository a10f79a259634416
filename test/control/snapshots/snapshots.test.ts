import { describe, expect, it, vi } from 'vitest';
import { StoreError } from '../../../src/store/store-error.js';
import { eachWithPlane, plane, restart, world } from '../each-with-plane.js';
import { request, TESTER } from '../fake-world.js';
import { readBlocks, readExport, writeBlock } from './blocks.js';

eachWithPlane();

const create = (name: string): Promise<unknown> => plane.volumes.create(request(name), TESTER);
const snap = (volume: string, name = ''): ReturnType<typeof plane.snapshots.create> =>
  plane.snapshots.create([volume], { name, labels: {} }, TESTER);
const write = (volume: string, index: number, value: number): Promise<void> =>
  writeBlock(world, plane, volume, index, value);
const read = (volume: string): Promise<number[]> => readBlocks(world, plane, volume);
const names = async (volume = ''): Promise<string[]> =>
  (await plane.snapshots.list(volume, {})).map((view) => `${view.volume}@${view.name}`);

describe('a snapshot', () => {
  it('shows what the volume held, while that goes on', async () => {
    await create('web');
    await write('web', 0, 1);
    const [view] = await snap('web', 'monday');
    await write('web', 0, 2);
    await write('web', 1, 3);
    expect(view).toMatchObject({
      name: 'monday',
      volume: 'web',
      sizeBytes: 1024 * 1024,
      referencedBytes: 4096,
      held: false,
      origin: 'manual',
      state: 'available',
      export: null,
    });
    await plane.snapshots.export('web@monday', TESTER);
    expect(await readExport(world, 'web@monday')).toEqual([1, 0, 0, 0]);
    expect(await read('web')).toEqual([2, 3, 0, 0]);
    expect(plane.volumes.get('web', false).snapshots).toBe(1);
    expect(plane.events.recent(0, 'web').map(({ kind }) => kind)).toContain('snapshot.created');
  });

  it('gets a name when it is given none, another one for each', async () => {
    await create('web');
    await snap('web');
    await snap('web');
    expect(await names()).toEqual(['web@snap-2023-11-14-221320', 'web@snap-2023-11-14-221320-2']);
  });

  it.each(['a@b', 'Monday', ''.padEnd(70, 'x')])('is not called %j', async (name) => {
    await create('web');
    await expect(snap('web', name)).rejects.toMatchObject({ code: 'NAME' });
    expect(world.host.store.size).toBe(1);
  });

  it('of several volumes is of one instant and one transaction', async () => {
    for (const name of ['a', 'b', 'c']) await create(name);
    world.crash.disarm();
    await plane.snapshots.create(['c', 'a', 'b'], { name: 'all', labels: { app: 'x' } }, TESTER);
    expect(world.crash.steps).toEqual(['freeze', 'meta']);
    expect(await names()).toEqual(['a@all', 'b@all', 'c@all']);
    await expect(plane.snapshots.create(['a', 'a'], { name: 'x', labels: {} }, TESTER)).rejects.toMatchObject({
      code: 'INVALID',
    });
    await expect(plane.snapshots.create(['a', 'b'], { name: 'all', labels: {} }, TESTER)).rejects.toMatchObject({
      code: 'EXISTS',
    });
    expect((await plane.snapshots.list('', { app: 'x' })).length).toBe(3);
    expect((await plane.snapshots.list('', { app: 'y' })).length).toBe(0);
  });

  it('two groups that share volumes do not wait for each other for ever', async () => {
    await create('a');
    await create('b');
    const wish = { name: '', labels: {} };
    await Promise.all([
      plane.snapshots.create(['a', 'b'], wish, TESTER),
      plane.snapshots.create(['b', 'a'], wish, TESTER),
    ]);
    expect(await names('a')).toHaveLength(2);
  });

  it('is found by volume and name, by id, and not otherwise', async () => {
    await create('web');
    const [{ id }] = await snap('web', 'monday');
    expect((await plane.snapshots.get('web@monday')).id).toBe(id);
    expect((await plane.snapshots.get(id)).name).toBe('monday');
    expect((await plane.snapshots.get(`web@${id}`)).name).toBe('monday');
    await expect(plane.snapshots.get('web@tuesday')).rejects.toThrow('volume web has no snapshot "tuesday"');
    await expect(plane.snapshots.get('web')).rejects.toThrow('VOLUME@SNAPSHOT');
    await expect(plane.snapshots.get('db@monday')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('is renamed, held, released, and survives a restart as it is', async () => {
    await create('web');
    await snap('web', 'monday');
    await snap('web', 'tuesday');
    await expect(plane.snapshots.rename('web@monday', 'tuesday', TESTER)).rejects.toMatchObject({ code: 'EXISTS' });
    await plane.snapshots.rename('web@monday', 'first', TESTER);
    await plane.snapshots.setHeld('web@first', true, TESTER);
    await plane.snapshots.export('web@first', TESTER);
    await restart();
    expect(await plane.snapshots.get('web@first')).toMatchObject({ held: true, export: { name: 'web@first' } });
    expect(await readExport(world, 'web@first')).toEqual([0, 0, 0, 0]);
    await expect(plane.snapshots.delete('web@first', true, TESTER)).rejects.toMatchObject({
      fault: { reason: 'held' },
    });
    await plane.snapshots.setHeld('web@first', false, TESTER);
    await plane.snapshots.delete('web@first', false, TESTER);
    expect(await names()).toEqual(['web@tuesday']);
  });

  it('is offered under the name that its volume has now', async () => {
    await create('web');
    await snap('web', 'monday');
    await plane.snapshots.export('web@monday', TESTER);
    await plane.volumes.rename('web', 'site', TESTER);
    expect([...world.exports.offered.values()].map(({ name }) => name)).toEqual(['site@monday']);
    const { id } = await plane.snapshots.unexport('site@monday', false, TESTER);
    expect(world.exports.offered.size).toBe(0);
    expect([...world.host.handles.values()].filter((handle) => handle.readOnly)).toEqual([]);
    expect((await plane.snapshots.get(id)).export).toBeNull();
  });

  it('that clients read is not taken from them without force', async () => {
    await create('web');
    const [{ id }] = await snap('web', 'monday');
    await plane.snapshots.export('web@monday', TESTER);
    world.exports.connect(id, '127.0.0.1:1');
    expect((await plane.snapshots.get('web@monday')).state).toBe('in-use');
    for (const refused of [
      plane.snapshots.unexport('web@monday', false, TESTER),
      plane.snapshots.delete('web@monday', false, TESTER),
      plane.snapshots.rename('web@monday', 'x', TESTER),
    ]) {
      await expect(refused).rejects.toMatchObject({ fault: { reason: 'connections' } });
    }
    expect(await plane.snapshots.kick('web@monday', '127.0.0.1:1', TESTER)).toEqual(['127.0.0.1:1']);
    await plane.snapshots.delete('web@monday', true, TESTER);
    expect(world.exports.offered.size).toBe(0);
  });

  it('of a damaged volume is refused, and a failed freeze leaves nothing', async () => {
    await create('web');
    world.host.failFreeze = 'the disk is gone';
    await expect(snap('web', 'x')).rejects.toMatchObject({ code: 'FAILED' });
    world.host.failFreeze = null;
    await snap('web', 'x');
    expect(await names()).toEqual(['web@x']);
  });

  it('whose row could not be stored is none, and the volume goes on', async () => {
    await create('web');
    await write('web', 0, 1);
    world.meta.trouble = new Error('no disk');
    await expect(snap('web', 'x')).rejects.toThrow('no disk');
    world.meta.trouble = null;
    await write('web', 1, 2);
    await world.advance(2_000);
    expect(await read('web')).toEqual([1, 2, 0, 0]);
    expect(world.host.store.size).toBe(1);
    await snap('web', 'y');
    await restart();
    expect(await read('web')).toEqual([1, 2, 0, 0]);
    expect(await names()).toEqual(['web@y']);
  });
});

describe('deleting a snapshot', () => {
  it('frees its name at once, shows how far it is, and goes on after a restart', async () => {
    await create('web');
    await write('web', 0, 1);
    await snap('web', 'monday');
    world.host.holdMerges = true;
    await plane.snapshots.delete('web@monday', false, TESTER);
    expect(await plane.snapshots.get('web@monday')).toMatchObject({ state: 'deleting', progress: 0.25 });
    await expect(plane.snapshots.delete('web@monday', false, TESTER)).rejects.toThrow('being deleted already');
    await snap('web', 'monday');
    expect((await plane.snapshots.get('web@monday')).state).toBe('available');
    await restart();
    expect(await names()).toEqual(['web@monday', 'web@monday']);
    world.host.holdMerges = false;
    world.host.settleHidden();
    await world.advance(2_000);
    expect(await names()).toEqual(['web@monday']);
    // The looks of scrubs, of free space and of re-sealing.
    expect(world.clock.pending).toBeLessThanOrEqual(3);
    expect(await read('web')).toEqual([1, 0, 0, 0]);
  });

  it('is tried again when the store refuses', async () => {
    await create('web');
    await snap('web', 'monday');
    world.host.failDrop = 'busy';
    await plane.snapshots.delete('web@monday', false, TESTER);
    expect(await plane.snapshots.get('web@monday')).toMatchObject({
      state: 'deleting',
      stateReason: 'busy; tried again in 1 s',
    });
    world.host.failDrop = null;
    await world.advance(2_000);
    expect(await names()).toEqual([]);
  });
});

describe('a clone', () => {
  it('begins as the snapshot, with a key of its own, and does not need it', async () => {
    await create('web');
    await write('web', 0, 1);
    await snap('web', 'monday');
    const view = await plane.volumes.clone('web@monday', { name: 'copy', sizeBytes: 0, labels: { a: 'b' } }, TESTER);
    expect(view).toMatchObject({
      name: 'copy',
      origin: 'web@monday',
      encrypted: true,
      dataKeyNumber: 2,
      labels: { a: 'b' },
    });
    await write('copy', 1, 7);
    expect(await read('copy')).toEqual([1, 7, 0, 0]);
    expect(await read('web')).toEqual([1, 0, 0, 0]);
    await plane.snapshots.delete('web@monday', false, TESTER);
    expect(await names()).toEqual([]);
    await plane.volumes.delete('web', true, TESTER);
    await restart();
    expect(await read('copy')).toEqual([1, 7, 0, 0]);
    // The keys of the volume that is gone still open what the clone shows.
    expect([...world.vault.files.keys()]).toEqual([1, 2]);
    await plane.volumes.delete('copy', true, TESTER);
    expect([...world.vault.files.keys()]).toEqual([]);
    expect(world.host.store.size).toBe(0);
  });

  it('of a volume as it is now leaves no snapshot behind', async () => {
    await create('web');
    await write('web', 0, 1);
    await plane.volumes.clone('web', { name: 'copy', sizeBytes: 0, labels: {} }, TESTER);
    await write('web', 0, 2);
    expect(await read('copy')).toEqual([1, 0, 0, 0]);
    expect(await names()).toEqual([]);
  });

  it('may be larger or smaller', async () => {
    await create('web');
    await write('web', 3, 1);
    await snap('web', 'x');
    await plane.volumes.clone('web@x', { name: 'large', sizeBytes: 2 * 1024 * 1024, labels: {} }, TESTER);
    await plane.volumes.clone('web@x', { name: 'small', sizeBytes: 8192, labels: {} }, TESTER);
    expect(plane.volumes.get('large', false).sizeBytes).toBe(2 * 1024 * 1024);
    expect(plane.volumes.get('small', false).sizeBytes).toBe(8192);
  });

  it('with a name that is taken, or that the store refuses, leaves nothing', async () => {
    await create('web');
    await snap('web', 'x');
    await expect(plane.volumes.clone('web@x', { name: 'web', sizeBytes: 0, labels: {} }, TESTER)).rejects.toMatchObject(
      { code: 'EXISTS' },
    );
    world.host.failOpen = 'no';
    await expect(plane.volumes.clone('web@x', { name: 'b', sizeBytes: 0, labels: {} }, TESTER)).rejects.toThrow();
    world.host.failOpen = null;
    expect(world.host.store.size).toBe(2);
    expect(world.vault.files.size).toBe(1);
  });
});

describe('reverting', () => {
  it('puts the volume back, and keeps what it held', async () => {
    await create('web');
    await write('web', 0, 1);
    await snap('web', 'monday');
    await write('web', 0, 2);
    await plane.volumes.expand('web', 2 * 1024 * 1024, false, TESTER);
    const { volume, safety } = await plane.volumes.revert('web@monday', false, TESTER);
    expect(volume).toMatchObject({ state: 'available', sizeBytes: 1024 * 1024 });
    expect(await read('web')).toEqual([1, 0, 0, 0]);
    await plane.volumes.revert(`web@${safety}`, false, TESTER);
    expect(await read('web')).toEqual([2, 0, 0, 0]);
    expect(plane.volumes.get('web', false).sizeBytes).toBe(2 * 1024 * 1024);
    await restart();
    expect(await read('web')).toEqual([2, 0, 0, 0]);
    const [first, ...more] = await plane.snapshots.list('web', {});
    expect(first.name).toBe('monday');
    expect(more.map(({ origin }) => origin)).toEqual(['safety', 'safety']);
  });

  it('is refused while clients are connected, unless they are dropped', async () => {
    await create('web');
    await plane.volumes.export('web', false, TESTER);
    await snap('web', 'monday');
    const { id } = plane.volumes.get('web', false);
    world.exports.connect(id, '127.0.0.1:1');
    await expect(plane.volumes.revert('web@monday', false, TESTER)).rejects.toMatchObject({
      fault: { reason: 'connections' },
    });
    expect(await names()).toEqual(['web@monday']);
    await plane.volumes.revert('web@monday', true, TESTER);
    expect(world.exports.connections(id)).toEqual([]);
    expect(world.exports.offered.get(id)?.name).toBe('web');
  });
});

describe('deleting a volume with snapshots', () => {
  it('has to be meant', async () => {
    await plane.volumes.create(request('web', { storageClass: 'fast-local-ssd' }), TESTER);
    await snap('web', 'monday');
    await expect(plane.volumes.delete('web', true, TESTER)).rejects.toThrow(
      'volume web has a snapshot, web@monday; delete it together with them: `gfs volume delete web --with-snapshots`',
    );
    await plane.snapshots.setHeld('web@monday', true, TESTER);
    await expect(plane.volumes.delete('web', true, TESTER, true)).rejects.toThrow('web@monday is held');
    await plane.snapshots.setHeld('web@monday', false, TESTER);
    expect((await plane.volumes.delete('web', false, TESTER, true)).outcome).toBe('deleted');
    expect(world.host.store.size).toBe(0);
    expect((await world.meta.list('control/snapshot/')).entries).toEqual([]);
  });

  it('retains them with it, and brings them back with it', async () => {
    await create('web');
    await snap('web', 'monday');
    await plane.snapshots.export('web@monday', TESTER);
    expect((await plane.volumes.delete('web', false, TESTER, true)).outcome).toBe('retained');
    expect(await names()).toEqual([]);
    expect(world.exports.offered.size).toBe(0);
    await restart();
    await plane.volumes.restore('web', '', TESTER);
    expect(await names()).toEqual(['web@monday']);
    expect(await readExport(world, 'web@monday')).toEqual([0, 0, 0, 0]);
    await plane.volumes.delete('web', false, TESTER, true);
    await plane.volumes.purge('web', TESTER);
    expect(world.host.store.size).toBe(0);
    expect(world.vault.files.size).toBe(0);
  });
});

describe('a difference', () => {
  const ranges = async (from: string, to: string): Promise<unknown[]> => {
    const all = [];
    for await (const page of plane.diffs.open(from, to).pages) all.push(...page);
    return all.map(({ offsetBytes, lengthBytes, data }) => [offsetBytes / 4096, lengthBytes / 4096, data]);
  };

  it('is between two moments of a volume, or from nothing', async () => {
    await create('web');
    await write('web', 0, 1);
    await write('web', 2, 1);
    await snap('web', 'a');
    await write('web', 1, 2);
    await write('web', 2, 0);
    await snap('web', 'b');
    await write('web', 5, 3);
    expect(await ranges('', 'web@a')).toEqual([
      [0, 1, true],
      [2, 1, true],
    ]);
    expect(await ranges('web@a', 'web@b')).toEqual([
      [1, 1, true],
      [2, 1, false],
    ]);
    expect(await ranges('web@b', 'web')).toEqual([[5, 1, true]]);
    expect(await ranges('web@b', 'web@a')).toEqual([
      [1, 1, false],
      [2, 1, true],
    ]);
  });

  it('is between a clone and its origin, and not between strangers', async () => {
    await create('web');
    await snap('web', 'a');
    await plane.volumes.clone('web@a', { name: 'copy', sizeBytes: 0, labels: {} }, TESTER);
    await write('copy', 1, 2);
    expect(await ranges('web@a', 'copy')).toEqual([[1, 1, true]]);
    await create('other');
    expect(() => plane.diffs.open('web@a', 'other')).toThrow('no history in common');
    // They were when it was asked, and are not when the store looks.
    const { pages } = plane.diffs.open('web@a', 'web');
    const text = 'layers 1 and 7 have no history in common: compare layers of one volume';
    vi.spyOn(world.host, 'diff').mockRejectedValue(new StoreError(text, { code: 'UNRELATED', from: 1, to: 7 }));
    const fault = { code: 'REFUSED', reason: 'unrelated' };
    await expect(pages.next()).rejects.toMatchObject({ fault, message: `compare web@a with web: ${text}` });
  });

  it('is offered to the clients of an export, against earlier snapshots', async () => {
    await create('web');
    await plane.volumes.export('web', false, TESTER);
    await snap('web', 'a');
    await write('web', 1, 2);
    await snap('web', 'b');
    await plane.snapshots.export('web@b', TESTER);
    const [head, snapshot] = ['web', 'web@b'].map(
      (name) => [...world.exports.offered.values()].find((one) => one.name === name)!.diffs,
    );
    expect(head.names()).toEqual(['a', 'b']);
    expect(snapshot.names()).toEqual(['a']);
    expect(snapshot.open('b')).toBeNull();
    const diff = head.open('a')!;
    expect(await diff(0, 10)).toEqual({
      ranges: [{ offsetBytes: 4096, lengthBytes: 4096, data: true }],
      nextOffsetBytes: null,
    });
    await snap('web', 'c');
    await write('web', 4, 2);
    expect((await diff(8192, 10)).ranges).toEqual([{ offsetBytes: 16384, lengthBytes: 4096, data: true }]);
    await plane.snapshots.delete('web@a', false, TESTER);
    await expect(diff(0, 10)).rejects.toThrow('web@a was deleted');
  });
});
