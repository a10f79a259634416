import { describe, expect, it } from 'vitest';
import { latencyQuantile } from '../../src/control/volume-stats.js';
import { Operation } from '../../src/device/block-device.js';
import { LATENCY_BOUNDS_MS } from '../../src/device/device-statistics.js';
import { settle } from '../base/waiting.js';
import { eachWithPlane, plane, restart, world } from './each-with-plane.js';
import { request, TESTER } from './fake-world.js';

eachWithPlane();

const GOLD = JSON.stringify({
  name: 'gold',
  provisioner: 'galleonfs',
  parameters: { encryption: true },
  reclaim_policy: 'Delete',
});

describe('storage classes', () => {
  it('are there from the start, and stay after a restart when made', async () => {
    expect(plane.classes.list().map((entry) => entry.name)).toEqual(['encrypted-storage', 'fast-local-ssd']);
    await plane.classes.create(GOLD, 'gold.json', TESTER);
    await restart();
    expect(plane.classes.get('gold').reclaimPolicy).toBe('Delete');
    expect(plane.classes.get('').name).toBe('encrypted-storage');
    expect((await plane.volumes.create(request('v', { storageClass: 'gold' }), TESTER)).reclaimPolicy).toBe('Delete');
  });

  it('are refused when they exist or are wrong', async () => {
    await plane.classes.create(GOLD, 'gold.json', TESTER);
    await expect(plane.classes.create(GOLD, 'gold.json', TESTER)).rejects.toMatchObject({ code: 'EXISTS' });
    await expect(plane.classes.create('{"name":"x","colour":"red"}', 'x.json', TESTER)).rejects.toMatchObject({
      code: 'DOCUMENT',
    });
  });

  it('go only when no volume needs them', async () => {
    await plane.classes.create(GOLD, 'gold.json', TESTER);
    await plane.volumes.create(request('v', { storageClass: 'gold' }), TESTER);
    await expect(plane.classes.delete('gold', TESTER)).rejects.toMatchObject({
      fault: { reason: 'class-in-use' },
      message: expect.stringContaining('v'),
    });
    await expect(plane.classes.delete('fast-local-ssd', TESTER)).rejects.toMatchObject({
      fault: { reason: 'built-in' },
    });
    await expect(plane.classes.delete('silver', TESTER)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await plane.volumes.delete('v', false, TESTER);
    const creating = plane.volumes.create(request('w', { storageClass: 'gold' }), TESTER);
    await expect(plane.classes.delete('gold', TESTER)).rejects.toMatchObject({ fault: { reason: 'class-in-use' } });
    await creating;
    await plane.volumes.delete('w', false, TESTER);
    await plane.classes.delete('gold', TESTER);
    expect(plane.classes.find('gold')).toBeUndefined();
  });
});

describe('statistics', () => {
  it('are rates over the interval, not since the start', async () => {
    const { id } = await plane.volumes.create(request('web'), TESTER);
    const { statistics } = [...world.host.handles.values()][0];
    const serve = (count: number): void => {
      for (let index = 0; index < count; index += 1) {
        statistics.started();
        statistics.finished(Operation.READ, 4096, 0.15, false);
      }
    };
    serve(1000);
    const client = new AbortController();
    const stream = plane.sampleStats({ volume: 'web', intervalMs: 2000, samples: 2 }, client.signal);
    const first = stream.next();
    await settle();
    serve(10);
    world.exports.connect(id, 'unix:1');
    await world.advance(2000);
    const { value } = await first;
    expect(value).toMatchObject({
      seconds: 2,
      volumes: [{ name: 'web', readIops: 5, readBytesPerSecond: 20_480, reads: 10, writes: 0, clients: 1 }],
    });
    const second = stream.next();
    await settle();
    await world.advance(2000);
    expect((await second).value).toMatchObject({ volumes: [{ readIops: 0, readLatencyMsP99: 0 }] });
    expect((await stream.next()).done).toBe(true);
  });

  it('are one sample since the start without an interval', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await world.advance(10_000);
    const samples = [];
    for await (const sample of plane.sampleStats(
      { volume: '', intervalMs: 0, samples: 0 },
      new AbortController().signal,
    ))
      samples.push(sample);
    expect(samples).toMatchObject([{ seconds: 10, volumes: [{ name: 'web' }] }]);
  });

  it('refuse an interval that is too short, and end when the client goes', async () => {
    await expect(
      plane.sampleStats({ volume: '', intervalMs: 1, samples: 0 }, new AbortController().signal).next(),
    ).rejects.toMatchObject({ code: 'INVALID' });
    const client = new AbortController();
    const next = plane.sampleStats({ volume: '', intervalMs: 1000, samples: 0 }, client.signal).next();
    await settle();
    client.abort();
    expect((await next).done).toBe(true);
  });

  it('estimate quantiles inside a bucket', () => {
    const counts = new Array<number>(LATENCY_BOUNDS_MS.length + 1).fill(0);
    expect(latencyQuantile(counts, 0.5)).toBe(0);
    counts[2] = 100; // 0.1 to 0.2 ms
    expect(latencyQuantile(counts, 0.5)).toBeCloseTo(0.15);
    counts[LATENCY_BOUNDS_MS.length] = 900;
    expect(latencyQuantile(counts, 0.99)).toBe(10_000);
  });
});
