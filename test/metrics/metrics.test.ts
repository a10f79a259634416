import { afterEach, describe, expect, it } from 'vitest';
import { CloseStack } from '../../src/base/lifecycle.js';
import { Operation } from '../../src/device/block-device.js';
import { DeviceStatistics, LATENCY_BOUNDS_MS } from '../../src/device/device-statistics.js';
import type { Health, StoreMeasure, VolumeMeasure } from '../../src/metrics/measures.js';
import { MetricsRegistry } from '../../src/metrics/metrics-registry.js';
import { MetricsServer } from '../../src/metrics/metrics-server.js';
import { SampleFamily } from '../../src/metrics/sample-family.js';

const opened = new CloseStack();
afterEach(() => opened.close());

const OPERATION_NAMES = ['read', 'write', 'flush', 'trim', 'write_zeroes', 'cache'];

function storeMeasure(): StoreMeasure {
  const syncBuckets = new Float64Array(LATENCY_BOUNDS_MS.length + 1);
  syncBuckets[4] = 3;
  syncBuckets[LATENCY_BOUNDS_MS.length] = 1;
  return {
    state: 'ready',
    liveBytes: 1,
    journalBytes: 2,
    replayBytes: 3,
    freeBytes: 4,
    totalBytes: 5,
    mapCacheHits: 6,
    mapCacheMisses: 7,
    mapCacheBytes: 8,
    appendedBytes: 9,
    checkpoints: 10,
    checkpointMsLast: 250,
    syncs: 4,
    syncMsSum: 20_003,
    syncBuckets,
    cleaned: { segments: 12, blocks: 13, bytes: 14 },
    unauthenticBlocks: 11,
  };
}

function volume(counters: DeviceStatistics | null, name = 'web'): VolumeMeasure {
  return {
    ...{
      id: 'id-1',
      name,
      state: 'in-use',
      sizeBytes: 8192,
      allocatedBytes: 4096,
      connections: 2,
      snapshots: 3,
      counters,
    },
    throttle: null,
  };
}

function registry(volumes: () => VolumeMeasure[]): MetricsRegistry {
  return new MetricsRegistry(
    { operationNames: OPERATION_NAMES, latencyBoundsMs: LATENCY_BOUNDS_MS, version: '1.2.3' },
    {
      volumes,
      store: storeMeasure,
      scrubs: () => ({
        readBytes: 4160,
        volumes: [{ id: 'id-9', name: 'scrubbed', running: true, badBlocks: 3, lastEndedAtMs: 5000 }],
      }),
    },
  );
}

describe('the metrics registry', () => {
  it('shows what scrubs have read and found', async () => {
    const text = await registry(() => []).text();
    expect(text).toContain('galleonfs_scrub_read_bytes_total 4160\n');
    expect(text).toContain('galleonfs_volume_scrub_bad_blocks{volume="scrubbed",volume_id="id-9"} 3\n');
    expect(text).toContain('galleonfs_volume_scrub_running{volume="scrubbed",volume_id="id-9"} 1\n');
    expect(text).toContain('galleonfs_volume_scrub_last_end_timestamp_seconds{volume="scrubbed",volume_id="id-9"} 5\n');
  });

  it('shows counters, errors and cumulative latency buckets of a volume', async () => {
    const statistics = new DeviceStatistics();
    statistics.started();
    statistics.started();
    statistics.started();
    statistics.finished(Operation.READ, 4096, 0.15, false);
    statistics.finished(Operation.READ, 4096, 30_000, true);
    const lines = (await registry(() => [volume(statistics)]).text()).split('\n');
    const labels = 'volume="web",volume_id="id-1"';
    expect(lines).toContain(`galleonfs_volume_operations_total{${labels},operation="read"} 2`);
    expect(lines).toContain(`galleonfs_volume_operation_errors_total{${labels},operation="read"} 1`);
    expect(lines).toContain(`galleonfs_volume_read_bytes_total{${labels}} 4096`);
    expect(lines).toContain(`galleonfs_volume_in_flight_operations{${labels}} 1`);
    const bucket = 'galleonfs_volume_operation_duration_seconds_bucket';
    expect(lines).toContain(`${bucket}{${labels},operation="read",le="0.0001"} 0`);
    expect(lines).toContain(`${bucket}{${labels},operation="read",le="0.0002"} 1`);
    expect(lines).toContain(`${bucket}{${labels},operation="read",le="10"} 1`);
    expect(lines).toContain(`${bucket}{${labels},operation="read",le="+Inf"} 2`);
    expect(lines).toContain(`galleonfs_volume_operation_duration_seconds_count{${labels},operation="read"} 2`);
    expect(lines.some((line) => line.startsWith(bucket) && line.includes('operation="trim"'))).toBe(false);
  });

  it('shows the limits of a volume, and what they make its requests wait', async () => {
    const waited = { throttledMs: 1500, waitedMs: 90_000, throttledRequests: 60, waiting: 5 };
    const limits = [{ name: 'write_iops', perSecond: 100 }];
    const volumes = [
      { ...volume(null), throttle: { ...waited, limits } },
      {
        ...volume(null, 'free'),
        throttle: { throttledMs: 0, waitedMs: 0, throttledRequests: 0, waiting: 0, limits: [] },
      },
    ];
    const lines = (await registry(() => volumes).text()).split('\n');
    const labels = 'volume="web",volume_id="id-1"';
    expect(lines).toContain(`galleonfs_volume_qos_limit{${labels},limit="write_iops"} 100`);
    expect(lines).toContain(`galleonfs_volume_throttled_seconds_total{${labels}} 1.5`);
    expect(lines).toContain(`galleonfs_volume_throttle_wait_seconds_total{${labels}} 90`);
    expect(lines).toContain(`galleonfs_volume_throttled_operations_total{${labels}} 60`);
    expect(lines).toContain(`galleonfs_volume_throttled_in_flight_operations{${labels}} 5`);
    expect(lines.some((line) => line.includes('thrott') && line.includes('"free"'))).toBe(false);
  });

  it('shows the store in base units, and the process', async () => {
    const text = await registry(() => []).text();
    expect(text).toContain('galleonfs_store_checkpoint_duration_seconds 0.25\n');
    expect(text).toContain('galleonfs_store_sync_duration_seconds_sum 20.003\n');
    expect(text).toContain('galleonfs_store_sync_duration_seconds_bucket{le="+Inf"} 4\n');
    expect(text).toContain('# TYPE galleonfs_store_sync_duration_seconds histogram\n');
    expect(text).toContain('galleonfs_build_info{version="1.2.3"} 1\n');
    expect(text).toContain('process_resident_memory_bytes');
  });

  it('forgets volumes that are gone', async () => {
    const volumes = [volume(null)];
    const metrics = registry(() => volumes);
    expect(await metrics.text()).toContain('galleonfs_volume_size_bytes{volume="web"');
    expect(await metrics.text()).toMatch(/galleonfs_volume_snapshots\{volume="web".*\} 3/);
    volumes.pop();
    expect(await metrics.text()).not.toContain('volume="web"');
  });

  it('refuses a counter that is not named like one', () => {
    expect(() => new SampleFamily('galleonfs_things', 'counter', 'x')).toThrow('named as its kind asks');
  });
});

describe('the metrics server', () => {
  async function start(health: () => Health): Promise<string> {
    const server = await MetricsServer.listen(
      { host: '127.0.0.1', port: 0 },
      { registry: registry(() => [volume(null)]), health },
    );
    opened.push(server);
    return `http://${server.address}`;
  }

  it('answers /metrics in the exposition format', async () => {
    const base = await start(() => ({ healthy: true, reason: 'ready' }));
    const reply = await fetch(`${base}/metrics`);
    expect(reply.status).toBe(200);
    expect(reply.headers.get('content-type')).toContain('text/plain; version=0.0.4');
    expect(await reply.text()).toContain('galleonfs_volume_connections{volume="web",volume_id="id-1"} 2\n');
  });

  it('says on /healthz whether it is ready, and why not', async () => {
    let health: Health = { healthy: false, reason: 'the store is reopening: fdatasync failed' };
    const base = await start(() => health);
    const sick = await fetch(`${base}/healthz`);
    expect(sick.status).toBe(503);
    expect(await sick.text()).toBe('the store is reopening: fdatasync failed\n');
    health = { healthy: true, reason: 'ready' };
    expect((await fetch(`${base}/healthz`)).status).toBe(200);
  });

  it('refuses other paths and methods', async () => {
    const base = await start(() => ({ healthy: true, reason: 'ready' }));
    expect((await fetch(`${base}/etc/passwd`)).status).toBe(404);
    const post = await fetch(`${base}/metrics`, { method: 'POST', body: 'x' });
    expect(post.status).toBe(405);
    expect(post.headers.get('allow')).toBe('GET, HEAD');
  });

  it('rejects when the port is taken', async () => {
    const base = await start(() => ({ healthy: true, reason: 'ready' }));
    const port = Number(new URL(base).port);
    const second = MetricsServer.listen(
      { host: '127.0.0.1', port },
      { registry: registry(() => []), health: () => ({ healthy: true, reason: '' }) },
    );
    await expect(second).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });
});
