import { describe, expect, it } from 'vitest';
import { CryptoError } from '../../src/crypto/crypto-error.js';
import { settle } from '../base/waiting.js';
import { eachWithPlane, plane, restart, start, world } from './each-with-plane.js';
import { request, TESTER } from './fake-world.js';

eachWithPlane();

const FAST = { storageClass: 'fast-local-ssd' };

describe('creating', () => {
  it('takes what is not said from the class and the daemon', async () => {
    const volume = await plane.volumes.create(request('web', { labels: { app: 'db' } }), TESTER);
    expect(volume).toMatchObject({
      name: 'web',
      sizeBytes: 1024 * 1024,
      blockBytes: 4096,
      storageClass: 'encrypted-storage',
      encrypted: true,
      dataKeyNumber: 1,
      volumeType: 'persistent',
      state: 'available',
      stateReason: '',
      replicas: { current: 1, desired: 3 },
      reclaimPolicy: 'Retain',
      labels: { app: 'db' },
      export: null,
      protected: false,
      allocatedBytes: 0,
    });
    expect(volume.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it('makes no key for a class without encryption', async () => {
    const volume = await plane.volumes.create(request('raw', { ...FAST, blockBytes: 65536 }), TESTER);
    expect(volume).toMatchObject({ encrypted: false, dataKeyNumber: 0, blockBytes: 65536, reclaimPolicy: 'Delete' });
    expect(world.vault.files.size).toBe(0);
  });

  it('lets one of two creations of one name win', async () => {
    const outcomes = await Promise.allSettled([1, 2, 3].map(() => plane.volumes.create(request('web'), TESTER)));
    expect(outcomes.map((outcome) => outcome.status).sort()).toEqual(['fulfilled', 'rejected', 'rejected']);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'EXISTS' });
    }
    expect(world.host.store.size).toBe(1);
  });

  it.each([
    ['an empty name', { name: '' }, 'NAME'],
    ['a wrong name', { name: 'Web' }, 'NAME'],
    ['no size', { sizeBytes: 0 }, 'SIZE'],
    ['an unaligned size', { sizeBytes: 4097 }, 'SIZE'],
    ['an odd block size', { blockBytes: 5000 }, 'BLOCK_SIZE'],
    ['too many replicas', { replicas: 99 }, 'REPLICAS'],
    ['an unknown type', { volumeType: 'eternal' }, 'VOLUME_TYPE'],
    ['an unknown class', { storageClass: 'gold' }, 'NOT_FOUND'],
    ['a wrong label', { labels: { 'a b': 'c' } }, 'LABEL'],
    ['a name that is an id', { name: '01234567-89ab-4cde-8f01-23456789abcd' }, 'INVALID'],
  ])('refuses %s and leaves nothing', async (_, fields, code) => {
    await expect(plane.volumes.create(request('web', fields), TESTER)).rejects.toMatchObject({ code });
    expect(world.host.store.size).toBe(0);
    expect(world.vault.files.size).toBe(0);
    await plane.volumes.create(request('web'), TESTER); // the name is free
  });

  it('leaves nothing when its client has gone', async () => {
    for (const step of ['vault.create', 'createLayer']) {
      const client = new AbortController();
      const inner = world.crash.step.bind(world.crash);
      world.crash.step = async (name, work) => {
        const result = await inner(name, work);
        if (name === step) client.abort();
        return result;
      };
      const creation = plane.volumes.create(request('web'), { ...TESTER, signal: client.signal });
      await expect(creation).rejects.toMatchObject({ code: 'CANCELLED' });
      world.crash.step = inner;
      expect(world.host.store.size).toBe(0);
      expect(world.vault.files.size).toBe(0);
    }
    await plane.volumes.create(request('web'), TESTER);
  });

  it('says that the disk is full, and leaves nothing', async () => {
    const creation = (): Promise<unknown> => plane.volumes.create(request('web', FAST), TESTER);
    const full = Object.assign(new CryptoError('x', { code: 'CLOSED' }), {});
    Object.defineProperty(full, 'fault', { value: { code: 'FULL' } });
    world.meta.trouble = full;
    await expect(creation()).rejects.toMatchObject({ code: 'FULL' });
    expect(plane.events.recent(1, 'web')[0]).toMatchObject({ kind: 'operation.failed', level: 'error', actor: 'test' });
    world.meta.trouble = null;
    expect(world.host.store.size).toBe(0);
    await creation();
  });
});

describe('finding', () => {
  it('goes by name, id, or a prefix that only one has', async () => {
    const a = await plane.volumes.create(request('a1'), TESTER);
    await plane.volumes.create(request('b1'), TESTER);
    expect(plane.volumes.get('a1', false).id).toBe(a.id);
    expect(plane.volumes.get(a.id, false).id).toBe(a.id);
    expect(plane.volumes.get(a.id.slice(0, 8), false).id).toBe(a.id);
    expect(() => plane.volumes.get(a.id.slice(0, 3), false)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
    expect(() => plane.volumes.get('nobody', false)).toThrow('there is no volume "nobody"');
    expect(() => plane.volumes.get('', false)).toThrow(expect.objectContaining({ code: 'INVALID' }));
  });

  it('lists the candidates of a former name that two have', async () => {
    for (let round = 0; round < 2; round += 1) {
      await plane.volumes.create(request('web'), TESTER);
      await plane.volumes.delete('web', false, TESTER);
    }
    const retained = plane.volumes.list({}, true);
    expect(retained.map((volume) => volume.name)).toEqual(['web', 'web']);
    await expect(async () => plane.volumes.purge('web', TESTER)).rejects.toMatchObject({
      code: 'AMBIGUOUS',
      fault: { candidates: expect.arrayContaining(retained.map((volume) => volume.id)) },
    });
    await plane.volumes.purge(retained[0].id, TESTER);
    await plane.volumes.purge('web', TESTER);
    expect(world.host.store.size).toBe(0);
  });

  it('filters by labels', async () => {
    await plane.volumes.create(request('a', { labels: { app: 'db', tier: 'hot' } }), TESTER);
    await plane.volumes.create(request('b', { labels: { app: 'db' } }), TESTER);
    expect(plane.volumes.list({ app: 'db' }, false).map((volume) => volume.name)).toEqual(['a', 'b']);
    expect(plane.volumes.list({ app: 'db', tier: 'hot' }, false).map((volume) => volume.name)).toEqual(['a']);
  });
});

describe('deleting', () => {
  it('keeps the data of a class that retains, frees the name, and brings it back', async () => {
    const { id } = await plane.volumes.create(request('web'), TESTER);
    expect(await plane.volumes.delete('web', false, TESTER)).toMatchObject({ id, name: 'web', outcome: 'retained' });
    expect(() => plane.volumes.get('web', false)).toThrow('gfs volume restore web');
    expect(plane.volumes.get('web', true)).toMatchObject({ id, name: 'web', state: 'retained' });
    expect(world.host.handles.size).toBe(0);
    await plane.volumes.create(request('web'), TESTER);
    await expect(plane.volumes.restore('web', '', TESTER)).rejects.toMatchObject({ code: 'EXISTS' });
    expect(await plane.volumes.restore(id, 'old-web', TESTER)).toMatchObject({
      id,
      name: 'old-web',
      state: 'available',
    });
    await restart();
    expect(plane.volumes.list({}, false).map((volume) => volume.name)).toEqual(['old-web', 'web']);
  });

  it('removes at once under Delete, and with force', async () => {
    await plane.volumes.create(request('fast', FAST), TESTER);
    expect(await plane.volumes.delete('fast', false, TESTER)).toMatchObject({ outcome: 'deleted' });
    await plane.volumes.create(request('safe'), TESTER);
    expect(await plane.volumes.delete('safe', true, TESTER)).toMatchObject({ outcome: 'purged' });
    expect(world.host.store.size).toBe(0);
    expect(world.vault.files.size).toBe(0);
  });

  it('is refused while clients are connected, and drops them with force', async () => {
    const { id } = await plane.volumes.create(request('web'), TESTER);
    await plane.volumes.export('web', false, TESTER);
    world.exports.connect(id, '127.0.0.1:4242');
    await expect(plane.volumes.delete('web', false, TESTER)).rejects.toMatchObject({
      fault: { code: 'REFUSED', reason: 'connections' },
      message: expect.stringContaining('127.0.0.1:4242'),
    });
    expect(plane.volumes.get('web', false).state).toBe('in-use');
    expect((await plane.volumes.delete('web', true, TESTER)).detail).toContain('1 connection was dropped');
    expect(world.exports.offered.size).toBe(0);
  });

  it('is refused for a protected volume, with force as well', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await plane.volumes.update('web', { setLabels: {}, removeLabels: [], protected: true }, TESTER);
    await restart();
    for (const force of [false, true]) {
      await expect(plane.volumes.delete('web', force, TESTER)).rejects.toMatchObject({
        fault: { reason: 'protected' },
      });
    }
    await plane.volumes.update('web', { setLabels: {}, removeLabels: [], protected: false }, TESTER);
    await plane.volumes.delete('web', true, TESTER);
  });

  it('offers the volume again when the deletion could not be stored', async () => {
    const { id } = await plane.volumes.create(request('web'), TESTER);
    await plane.volumes.export('web', false, TESTER);
    world.meta.trouble = new Error('disk on fire');
    await expect(plane.volumes.delete('web', true, TESTER)).rejects.toMatchObject({ code: 'FAILED' });
    world.meta.trouble = null;
    expect(world.exports.offered.has(id)).toBe(true);
    expect(plane.volumes.get('web', false).state).toBe('available');
  });

  it('that cannot finish shows why and when it is tried again, and then is', async () => {
    await plane.volumes.create(request('web'), TESTER);
    world.host.failDrop = 'the journal is busy';
    expect((await plane.volumes.delete('web', true, TESTER)).detail).toContain('the journal is busy');
    expect(plane.volumes.list({}, false)[0]).toMatchObject({
      state: 'deleting',
      stateReason: expect.stringContaining('tried again in 1 s'),
    });
    expect(plane.problems()).toMatchObject([
      { subject: 'volume web', lastError: 'the journal is busy', nextTryMs: world.clock.wallMs() + 1000 },
    ]);
    await plane.volumes.create(request('web'), TESTER); // the name is free already
    await world.advance(1000);
    expect(plane.problems()).toHaveLength(1);
    world.host.failDrop = null;
    await world.advance(2000);
    expect(plane.problems()).toEqual([]);
    expect(world.host.store.size).toBe(1);
  });

  it('purges only what is retained', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await expect(plane.volumes.purge('web', TESTER)).rejects.toMatchObject({ fault: { reason: 'state' } });
    const { id } = await plane.volumes.delete('web', false, TESTER);
    await expect(plane.volumes.delete(id, false, TESTER)).rejects.toThrow('retained');
    await plane.volumes.purge('web', TESTER);
    expect(world.vault.files.size).toBe(0);
  });

  it('ends ephemeral volumes with the daemon', async () => {
    await plane.volumes.create(request('scratch', { volumeType: 'ephemeral' }), TESTER);
    await plane.volumes.create(request('keep', { volumeType: 'shared' }), TESTER);
    await restart();
    expect(plane.volumes.list({}, false).map((volume) => volume.name)).toEqual(['keep']);
    expect(world.host.store.size).toBe(1);
  });
});

describe('changing', () => {
  it('expands online, by size or by difference', async () => {
    const { id } = await plane.volumes.create(request('web'), TESTER);
    await plane.volumes.export('web', false, TESTER);
    world.exports.connect(id, 'unix:1');
    expect((await plane.volumes.expand('web', 2 * 1024 * 1024, false, TESTER)).sizeBytes).toBe(2 * 1024 * 1024);
    expect((await plane.volumes.expand('web', 4096, true, TESTER)).sizeBytes).toBe(2 * 1024 * 1024 + 4096);
    expect(world.host.layers()[0].sizeBytes).toBe(2 * 1024 * 1024 + 4096);
  });

  it('refuses to shrink, with the way around', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await expect(plane.volumes.expand('web', 4096, false, TESTER)).rejects.toMatchObject({
      fault: { reason: 'shrink' },
      message: expect.stringMatching(/shrink the file system.*clone/),
    });
    await expect(plane.volumes.expand('web', 5000, false, TESTER)).rejects.toMatchObject({ code: 'SIZE' });
  });

  it('renames what nobody uses, export and all', async () => {
    const { id } = await plane.volumes.create(request('web'), TESTER);
    await plane.volumes.create(request('other'), TESTER);
    await plane.volumes.export('web', true, TESTER);
    await expect(plane.volumes.rename('web', 'other', TESTER)).rejects.toMatchObject({ code: 'EXISTS' });
    expect(world.exports.offered.get(id)?.name).toBe('web');
    expect(await plane.volumes.rename('web', 'site', TESTER)).toMatchObject({
      export: { name: 'site', readOnly: true },
    });
    expect(world.exports.offered.get(id)?.name).toBe('site');
    await plane.volumes.create(request('web'), TESTER);
    world.exports.connect(id, 'unix:1');
    await expect(plane.volumes.rename('site', 'x', TESTER)).rejects.toMatchObject({ fault: { reason: 'connections' } });
  });

  it('sets and removes labels', async () => {
    await plane.volumes.create(request('web', { labels: { a: '1', b: '2' } }), TESTER);
    const changed = await plane.volumes.update(
      'web',
      { setLabels: { b: '3', c: '4' }, removeLabels: ['a'], protected: undefined },
      TESTER,
    );
    expect(changed.labels).toEqual({ b: '3', c: '4' });
    expect(changed.protected).toBe(false);
  });

  it('keeps exports over a restart', async () => {
    const { id } = await plane.volumes.create(request('web'), TESTER);
    const exported = await plane.volumes.export('web', true, TESTER);
    expect(exported.export).toMatchObject({
      name: 'web',
      uri: 'nbd://127.0.0.1:10809/web',
      readOnly: true,
      connections: [],
    });
    await restart();
    expect(world.exports.offered.get(id)).toMatchObject({ name: 'web', readOnly: true });
    world.exports.connect(id, 'unix:1');
    await expect(plane.volumes.unexport('web', false, TESTER)).rejects.toMatchObject({
      fault: { reason: 'connections' },
    });
    await expect(plane.volumes.export('web', false, TESTER)).rejects.toMatchObject({
      fault: { reason: 'connections' },
    });
    expect((await plane.volumes.unexport('web', true, TESTER)).export).toBeNull();
    expect(world.exports.offered.size).toBe(0);
  });

  it('kicks one client or all', async () => {
    const { id } = await plane.volumes.create(request('web'), TESTER);
    for (const address of ['unix:1', 'unix:2', 'unix:3']) world.exports.connect(id, address);
    expect(await plane.volumes.kick('web', 'unix:2', TESTER)).toEqual(['unix:2']);
    await expect(plane.volumes.kick('web', 'unix:2', TESTER)).rejects.toMatchObject({ code: 'INVALID' });
    expect(await plane.volumes.kick('web', '', TESTER)).toEqual(['unix:1', 'unix:3']);
  });
});

describe('starting', () => {
  it('opens 1,000 volumes with a new epoch each, in few transactions', async () => {
    for (let index = 0; index < 1000; index += 1) await plane.volumes.create(request(`v${index}`, FAST), TESTER);
    await plane.close();
    world.meta.transactions = 0;
    const beganMs = performance.now();
    await start();
    expect(performance.now() - beganMs).toBeLessThan(2000);
    expect(world.host.handles.size).toBe(1000);
    expect(world.meta.transactions).toBeLessThanOrEqual(Math.ceil(1000 / 60));
  });

  it('serves the others when a key is wrong, and says so', async () => {
    await plane.volumes.create(request('secret'), TESTER);
    await plane.volumes.create(request('open', FAST), TESTER);
    await plane.volumes.export('secret', false, TESTER);
    await plane.close();
    world.vault.trouble = new CryptoError('the passphrase is not the one', {
      code: 'WRONG_KEY',
      provider: 'passphrase',
      keyNumber: 1,
    });
    await start();
    expect(plane.volumes.get('open', false).state).toBe('available');
    expect(plane.volumes.get('secret', false)).toMatchObject({
      state: 'locked',
      stateReason: 'the passphrase is not the one',
    });
    expect(plane.problems()).toMatchObject([{ subject: 'volume secret', nextTryMs: 0 }]);
    expect(world.exports.offered.size).toBe(0);
    await expect(plane.volumes.export('secret', true, TESTER)).rejects.toMatchObject({ fault: { reason: 'locked' } });
    world.vault.trouble = null;
    await restart();
    expect(plane.volumes.get('secret', false).state).toBe('available');
    expect(world.exports.offered.size).toBe(1);
  });

  it('tries a key again whose provider did not answer', async () => {
    await plane.volumes.create(request('secret'), TESTER);
    await plane.close();
    world.vault.trouble = new CryptoError('no answer', { code: 'COMMAND_FAILED', exitStatus: 1, detail: '' });
    await start();
    expect(plane.problems()[0].nextTryMs).toBe(world.clock.wallMs() + 1000);
    await world.advance(1000);
    expect(plane.problems()[0].nextTryMs).toBe(world.clock.wallMs() + 2000);
    world.vault.trouble = null;
    await world.advance(2000);
    expect(plane.volumes.get('secret', false).state).toBe('available');
    expect(plane.problems()).toEqual([]);
  });

  it('refuses damaged volumes one by one', async () => {
    await plane.volumes.create(request('sick', FAST), TESTER);
    await plane.volumes.create(request('gone', FAST), TESTER);
    await plane.volumes.create(request('well', FAST), TESTER);
    await plane.close();
    world.host.store.get(1)!.damage = 'records 5 to 9 are unreadable';
    world.host.store.delete(2);
    await start();
    expect(plane.volumes.get('sick', false)).toMatchObject({
      state: 'damaged',
      stateReason: 'records 5 to 9 are unreadable',
      replicas: { current: 0 },
    });
    expect(plane.volumes.get('gone', false).stateReason).toContain('not in the store');
    expect(plane.volumes.get('well', false).state).toBe('available');
    await plane.volumes.delete('gone', true, TESTER);
    await plane.volumes.delete('sick', true, TESTER);
    expect(plane.problems()).toEqual([]);
  });

  it('opens later what could not be opened while the store was busy', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await plane.volumes.export('web', false, TESTER);
    await plane.close();
    world.host.failOpen = 'the store is reopening';
    await start();
    expect(plane.volumes.get('web', false)).toMatchObject({ state: 'damaged', stateReason: 'the store is reopening' });
    expect(plane.problems()[0].nextTryMs).toBe(world.clock.wallMs() + 1000);
    world.host.failOpen = null;
    await world.advance(1000);
    expect(plane.volumes.get('web', false).state).toBe('available');
    expect(world.exports.offered.size).toBe(1);
    expect(plane.problems()).toEqual([]);
  });

  it('removes no layer and no name while a record cannot be read', async () => {
    const { id } = await plane.volumes.create(request('web'), TESTER);
    await plane.close();
    world.meta.damaged = [`control/volume/${id}`];
    await start();
    expect(world.host.store.size).toBe(1);
    expect(world.vault.files.size).toBe(1);
    expect(plane.problems()[0].reason).toContain('cannot be read');
    await expect(plane.volumes.create(request('web'), TESTER)).rejects.toMatchObject({ code: 'EXISTS' });
    world.meta.damaged = [];
    await restart();
    expect(plane.volumes.get('web', false).state).toBe('available');
  });

  it('removes nothing when the records of volumes have vanished', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await plane.close();
    const all = await world.meta.list('control/');
    await world.meta.transaction({ delete: all.entries.map((entry) => entry.key) });
    await start();
    expect(world.host.store.size).toBe(1);
    expect(world.vault.files.size).toBe(1);
    expect(plane.problems()[0].subject).toBe('meta');
    await plane.volumes.create(request('new'), TESTER);
    expect([...world.vault.files.keys()]).toEqual([1, 2]);
  });

  it('heals the record of a key from the vault', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await plane.close();
    await world.meta.transaction({ delete: ['control/data-key/1'] });
    await start();
    expect(plane.volumes.get('web', false).state).toBe('available');
    expect(await world.meta.get('control/data-key/1')).not.toBeNull();
    expect(new Set(world.host.store.get(1)!.secrets).size).toBe(1);
  });
});

describe('closing', () => {
  it('closes handles, ends imports and refuses new volumes', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await plane.volumes.beginImport(request('image'), TESTER);
    expect(world.host.handles.size).toBe(2);
    await plane.close();
    expect(world.host.handles.size).toBe(0);
    expect(world.host.store.size).toBe(1);
    await expect(plane.volumes.create(request('late'), TESTER)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await plane.close();
    await settle();
    expect(world.clock.pending).toBe(0);
  });
});
