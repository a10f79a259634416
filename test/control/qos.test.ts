import { describe, expect, it } from 'vitest';
import { ModelError } from '../../src/model/model-error.js';
import { NO_QOS } from '../../src/model/qos-settings.js';
import { eachWithPlane, plane, restart, start, world } from './each-with-plane.js';
import { request, TESTER } from './fake-world.js';
import type { FakeHandle } from './fake-host.js';

eachWithPlane();

const MIB = 1024 * 1024;
const GOLD = JSON.stringify({ name: 'gold', parameters: { iops: 5000, throughput: '100M', guaranteed_iops: 100 } });
const BRISK = JSON.stringify({ name: 'brisk', parameters: { encryption: false, qos_policy: 'gold' } });
const GOLD_SETTINGS = { ...NO_QOS, iops: 5000, throughput: 100 * MIB, guaranteedIops: 100 };

function handle(): FakeHandle {
  return [...world.host.handles.values()][0];
}

describe('the limits of a volume', () => {
  it('are in effect at once, are shown, and survive a restart', async () => {
    const { id } = await plane.volumes.create(request('web'), TESTER);
    expect(handle().qos).toBeNull();
    const state = await plane.qos.set('web', { policy: '', change: { iops: 100, throughput: MIB } }, TESTER);
    expect(state).toMatchObject({ id, name: 'web', qos: { policy: '', settings: { iops: 100, throughput: MIB } } });
    expect(handle().qos).toEqual({ ...NO_QOS, iops: 100, throughput: MIB });
    await plane.qos.set('web', { policy: '', change: { throughput: 0, writeIops: 50 } }, TESTER);
    const settings = { ...NO_QOS, iops: 100, writeIops: 50 };
    expect(handle().qos).toEqual(settings);
    await restart();
    expect(handle().qos).toEqual(settings);
    expect(plane.volumes.get('web', false).qos).toEqual({ policy: '', settings });
    const sample = await plane
      .sampleStats({ volume: 'web', intervalMs: 0, samples: 0 }, new AbortController().signal)
      .next();
    expect(sample.value).toMatchObject({ volumes: [{ qos: { settings }, waiting: 0, throttledSeconds: 0 }] });
  });

  it('are taken away, and that survives too', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await plane.qos.set('web', { policy: '', change: { iops: 100 } }, TESTER);
    expect((await plane.qos.clear('web', TESTER)).qos).toBeNull();
    expect((await plane.qos.clear('web', TESTER)).qos).toBeNull();
    expect(handle().qos).toBeNull();
    await restart();
    expect([handle().qos, plane.qos.get('web').qos]).toEqual([null, null]);
  });

  it('are none when the last of them goes', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await plane.qos.set('web', { policy: '', change: { iops: 100 } }, TESTER);
    expect((await plane.qos.set('web', { policy: '', change: { iops: 0 } }, TESTER)).qos).toBeNull();
  });

  it('are refused by field, and nothing changes then', async () => {
    await plane.volumes.create(request('web'), TESTER);
    const set = (change: object) => plane.qos.set('web', { policy: '', change }, TESTER);
    await expect(set({ burstMultiplier: 2 })).rejects.toMatchObject({
      fault: { code: 'QOS', fields: ['burst_multiplier'] },
    });
    await expect(set({ iops: 5, readIops: 6 })).rejects.toThrow(ModelError);
    await expect(set({})).rejects.toMatchObject({ code: 'INVALID' });
    await expect(plane.qos.set('nobody', { policy: '', change: { iops: 5 } }, TESTER)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await expect(plane.qos.set('web', { policy: 'none' }, TESTER)).rejects.toMatchObject({
      fault: { code: 'NOT_FOUND', what: 'policy' },
    });
    expect(handle().qos).toBeNull();
  });

  it.each([
    [true, null],
    [false, 5],
  ])('are what the record says after a crash (before it was written: %s)', async (before, iops) => {
    await plane.volumes.create(request('web'), TESTER);
    world.crash.arm(0, before);
    await expect(plane.qos.set('web', { policy: '', change: { iops: 5 } }, TESTER)).rejects.toThrow();
    // What is not known to be durable is not in effect.
    expect(handle().qos).toBeNull();
    world.kill();
    await start();
    expect(plane.qos.get('web').qos?.settings.iops ?? null).toBe(iops);
    expect(handle().qos?.iops ?? null).toBe(iops);
  });

  it('can be there from the start', async () => {
    await plane.volumes.create(request('web', { qos: { policy: '', change: { readIops: 7 } } }), TESTER);
    expect(handle().qos).toEqual({ ...NO_QOS, readIops: 7 });
    await expect(
      plane.volumes.create(request('bad', { qos: { policy: '', change: { iops: -7 } } }), TESTER),
    ).rejects.toMatchObject({ code: 'QOS' });
    expect(plane.volumes.list({}, false).map(({ name }) => name)).toEqual(['web']);
  });

  it('come as events, with who asked for them', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await plane.qos.policies.create(GOLD, 'gold.json', TESTER);
    await plane.qos.set('web', { policy: 'gold' }, TESTER);
    const last = plane.events.recent(1, '')[0];
    expect(last).toMatchObject({ kind: 'volume.qos', actor: 'test', volume: 'web' });
    expect(last.message).toBe('volume web: policy gold: 5000 iops, 100 MiB/s, at least 100 iops');
  });
});

describe('a policy', () => {
  it('gives its settings to volumes, which keep them', async () => {
    await plane.qos.policies.create(GOLD, 'gold.json', TESTER);
    await plane.volumes.create(request('web', { qos: { policy: 'gold' } }), TESTER);
    expect(plane.qos.get('web').qos).toEqual({ policy: 'gold', settings: GOLD_SETTINGS });
    await plane.qos.policies.delete('gold', TESTER);
    await restart();
    expect(plane.qos.policies.list()).toEqual([]);
    expect(handle().qos).toEqual(GOLD_SETTINGS);
    // What is changed by hand is not the policy any more.
    const { qos } = await plane.qos.set('web', { policy: '', change: { iops: 200 } }, TESTER);
    expect(qos).toEqual({ policy: '', settings: { ...GOLD_SETTINGS, iops: 200 } });
  });

  it('is there after a restart, once', async () => {
    const made = await plane.qos.policies.create(GOLD, 'gold.json', TESTER);
    await restart();
    expect(plane.qos.policies.get('gold')).toEqual(made);
    await expect(plane.qos.policies.create(GOLD, 'gold.json', TESTER)).rejects.toMatchObject({ code: 'EXISTS' });
    await expect(plane.qos.policies.delete('silver', TESTER)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('is what volumes of its class are born with, and stays while the class names it', async () => {
    await expect(plane.classes.create(BRISK, 'brisk.json', TESTER)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await plane.qos.policies.create(GOLD, 'gold.json', TESTER);
    await plane.classes.create(BRISK, 'brisk.json', TESTER);
    await expect(plane.qos.policies.delete('gold', TESTER)).rejects.toMatchObject({
      fault: { code: 'REFUSED', reason: 'policy-in-use' },
    });
    await plane.volumes.create(request('web', { storageClass: 'brisk' }), TESTER);
    expect(plane.qos.get('web').qos).toEqual({ policy: 'gold', settings: GOLD_SETTINGS });
    const change = { iops: 300, guaranteedIops: 0 };
    await plane.volumes.create(request('api', { storageClass: 'brisk', qos: { policy: '', change } }), TESTER);
    expect(plane.qos.get('api').qos?.settings).toMatchObject({ iops: 300, throughput: 100 * MIB, guaranteedIops: 0 });
  });

  it('whose record is damaged is named, and can be got rid of', async () => {
    await plane.qos.policies.create(GOLD, 'gold.json', TESTER);
    await plane.close();
    await world.meta.transaction({ set: [{ key: 'control/qos-policy/gold', value: new Uint8Array([1]) }] });
    await start();
    expect(plane.problems()).toMatchObject([{ subject: 'policy gold' }]);
    await plane.qos.policies.delete('gold', TESTER);
    expect(plane.problems()).toEqual([]);
    await plane.qos.policies.create(GOLD, 'gold.json', TESTER);
  });
});
